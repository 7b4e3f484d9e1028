import { describe, expect, test } from "vitest";
import { decodeText } from "./decode.js";
import { normalizeText } from "./extracted.js";
import { decodeTextStream } from "./text-stream.js";

async function decoded(bytes: Uint8Array, pieceSize: number): Promise<string> {
  async function* pieces() {
    for (let at = 0; at < bytes.length; at += pieceSize) yield bytes.subarray(at, at + pieceSize);
  }
  let text = "";
  for await (const piece of decodeTextStream(pieces())) text += piece;
  return text;
}

describe("a text decoded piece by piece", () => {
  const text = "Zwölf Boxkämpfer\r\njagen 😀 Viktor\rquer\n\0über ".repeat(600);
  const utf16 = Buffer.from(`\ufeff${text}`, "utf16le");

  test.each([
    ["UTF-8", Buffer.from(text.replaceAll("\0", ""))],
    ["UTF-8 with a mark", Buffer.from(`\ufeff${text}`)],
    ["UTF-16LE", utf16],
    ["UTF-16BE", Buffer.from(utf16).swap16()],
    ["an empty file", Buffer.alloc(0)],
  ])("is what it is altogether: %s", async (_, bytes) => {
    const whole = normalizeText(decodeText(bytes));
    for (const size of [1, 7, 1_000, 1_000_000]) expect(await decoded(bytes, size)).toBe(whole);
  });

  test("is refused where its bytes are no UTF-8, wherever they stand", async () => {
    const bytes = Buffer.concat([Buffer.from("a".repeat(20_000)), Buffer.from([0xe4, 0x20])]);
    await expect(decoded(bytes, 1_000)).rejects.toMatchObject({ kind: "INVALID_ENCODING" });
    await expect(decoded(Buffer.from([0x61, 0xc3]), 1)).rejects.toMatchObject({ kind: "INVALID_ENCODING" });
  });

  test("is refused when it is binary", async () => {
    await expect(decoded(Buffer.from([1, 0, 2, 0]), 1)).rejects.toMatchObject({ kind: "BINARY_CONTENT" });
  });
});
