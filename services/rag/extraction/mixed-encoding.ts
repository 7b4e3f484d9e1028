import { ExtractionError } from "./extracted.js";
import { decode1252, undefinedIn1252 } from "./windows-1252.js";

type Kind = "utf-8" | "windows-1252";

/**
 * Characters of bytes that are UTF-8 here and windows-1252 there: what can be a character of UTF-8 is one. `onKind` is told of
 * each encoding that characters beyond ASCII were in.
 * @param position of the bytes in their file, for the message
 * @throws ExtractionError INVALID_ENCODING for a byte that is in neither
 */
export function decodeMixed(bytes: Uint8Array, position: number, onKind: (kind: Kind) => void): string {
  let text = "";
  let start = 0;
  let kind: Kind | undefined;
  const flush = (end: number) => {
    const run = bytes.subarray(start, end);
    if (kind === "windows-1252") {
      const wrong = undefinedIn1252(run);
      if (wrong >= 0) throw inNeither(position + start + wrong);
      text += decode1252(run);
    } else {
      text += Buffer.from(run.buffer, run.byteOffset, run.length).toString("utf8");
    }
    if (kind !== undefined) onKind(kind);
    start = end;
  };
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at]! < 0x80) {
      at += 1;
      continue;
    }
    const length = characterLength(bytes, at);
    const here: Kind = length === 0 ? "windows-1252" : "utf-8";
    if (kind !== here) {
      flush(at);
      kind = here;
    }
    at += length || 1;
  }
  flush(bytes.length);
  return text;
}

/** How many bytes at the end may be the beginning of a character of UTF-8: none to three. */
export function incompleteTail(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back]!;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return back < expectedLength(byte) ? back : 0;
  }
  return 0;
}

/** Bytes of the character of UTF-8 that begins at `at`; 0 when none does. By the table of the Unicode standard, 3-7. */
function characterLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  const length = expectedLength(first);
  if (length === 0 || at + length > bytes.length) return 0;
  const second = bytes[at + 1]!;
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return 0;
  for (let i = 2; i < length; i += 1) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  return length;
}

function expectedLength(first: number): number {
  if (first >= 0xc2 && first <= 0xdf) return 2;
  if (first >= 0xe0 && first <= 0xef) return 3;
  return first >= 0xf0 && first <= 0xf4 ? 4 : 0;
}

function inNeither(position: number): ExtractionError {
  return new ExtractionError(
    "INVALID_ENCODING",
    `The document is neither UTF-8 nor windows-1252 (byte ${position}); give its encoding with its type, such as "text/plain; ` +
      `charset=shift_jis", or convert it to UTF-8, for example with iconv.`,
  );
}
