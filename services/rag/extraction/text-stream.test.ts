import { describe, expect, test } from "vitest";
import { decodeText } from "./decode.js";
import { normalizeText } from "./extracted.js";
import { decodeTextStream } from "./text-stream.js";

async function decoded(bytes: Uint8Array, pieceSize: number): Promise<{ text: string; encoding: string }> {
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += pieceSize) yield bytes.subarray(at, at + pieceSize);
  }
  let text = "";
  let encoding = "";
  for await (const piece of decodeTextStream(pieces(), { onEncoding: (found) => (encoding = found) })) text += piece;
  return { text, encoding };
}

describe("a text decoded piece by piece", () => {
  const text = "Zwölf Boxkämpfer\r\njagen 😀 Viktor\rquer\n\0über ".repeat(600);
  const utf16 = Buffer.from(`\ufeff${text}`, "utf16le");
  const western = text.replaceAll("😀", "x").replaceAll("\0", "");

  test.each([
    ["UTF-8", Buffer.from(text.replaceAll("\0", ""))],
    ["Latin-1", Buffer.from(western, "latin1")],
    ["UTF-8, then Latin-1", Buffer.concat([Buffer.from(western), Buffer.from(western, "latin1")])],
    ["UTF-16LE without a mark", Buffer.from(western, "utf16le")],
    ["UTF-8 with a mark", Buffer.from(`\ufeff${text}`)],
    ["UTF-16LE", utf16],
    ["UTF-16BE", Buffer.from(utf16).swap16()],
    ["an empty file", Buffer.alloc(0)],
  ])("is what it is altogether: %s", async (_, bytes) => {
    const { text: whole, encoding } = decodeText(bytes);
    for (const size of [1, 7, 1_000, 1_000_000]) expect(await decoded(bytes, size)).toEqual({ text: normalizeText(whole), encoding });
  });

  test("is refused where a byte is in no encoding that it could be in, wherever it stands", async () => {
    const bytes = Buffer.concat([Buffer.from("a".repeat(20_000)), Buffer.from([0x8f, 0x20])]);
    await expect(decoded(bytes, 1_000)).rejects.toMatchObject({ kind: "INVALID_ENCODING", message: expect.stringContaining("byte 20000") });
  });

  test("that ends within a character keeps what there is of it", async () => {
    expect(await decoded(Buffer.from([0x61, 0xc3]), 1)).toEqual({ text: "aÃ", encoding: "windows-1252" });
  });

  test("is refused when it is binary", async () => {
    await expect(decoded(Buffer.from([1, 0, 2, 0]), 1)).rejects.toMatchObject({ kind: "BINARY_CONTENT" });
  });
});
