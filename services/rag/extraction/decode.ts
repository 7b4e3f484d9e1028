import { ExtractionError } from "./extracted.js";

/** Bytes looked at to tell a binary file from a text. */
const SNIFFED_BYTES = 8_192;

const byteOrderMarks = [
  { encoding: "utf-8", bytes: [0xef, 0xbb, 0xbf] },
  { encoding: "utf-16le", bytes: [0xff, 0xfe] },
  { encoding: "utf-16be", bytes: [0xfe, 0xff] },
];

/**
 * The characters of a text file: in the encoding that its byte order mark names, else in the declared one, else UTF-8.
 * @throws ExtractionError BINARY_CONTENT or INVALID_ENCODING
 */
export function decodeText(bytes: Uint8Array, declared = "utf-8"): string {
  const marked = encodingOfMark(bytes);
  if (marked === undefined) refuseBinary(bytes);
  const encoding = marked ?? declared;
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (cause) {
    throw invalidEncoding(encoding, positionOfFault(bytes, encoding), cause);
  }
}

/** @param position where in the document, such as " (byte 7)"; may be empty. */
export function invalidEncoding(encoding: string, position: string, cause: unknown): ExtractionError {
  return new ExtractionError(
    "INVALID_ENCODING",
    `The document is not valid ${encoding.toUpperCase()}${position}; convert it to UTF-8, for example with iconv -f ISO-8859-1 -t UTF-8.`,
    { cause },
  );
}

/** The encoding that a byte order mark at the start names, or undefined. */
export function encodingOfMark(bytes: Uint8Array): string | undefined {
  return byteOrderMarks.find((mark) => mark.bytes.every((byte, i) => bytes[i] === byte))?.encoding;
}

/** True for bytes that are no text in any encoding without a byte order mark. */
export function looksBinary(bytes: Uint8Array): boolean {
  return encodingOfMark(bytes) === undefined && bytes.subarray(0, SNIFFED_BYTES).includes(0);
}

/** @throws ExtractionError BINARY_CONTENT for bytes that are no text. */
export function refuseBinary(bytes: Uint8Array): void {
  if (!looksBinary(bytes)) return;
  throw new ExtractionError(
    "BINARY_CONTENT",
    "The document holds zero bytes, so it is a binary file or UTF-16 without a byte order mark, not text; give its true MIME " +
      "type or extension, or convert it to UTF-8.",
  );
}

function positionOfFault(bytes: Uint8Array, encoding: string): string {
  if (encoding !== "utf-8") return "";
  // Every fault shows as U+FFFD; one that the document spells out itself is read from the bytes EF BF BD.
  const text = new TextDecoder("utf-8").decode(bytes);
  let offset = bytes[0] === 0xef && bytes[1] === 0xbb ? 3 : 0;
  for (const character of text) {
    if (character === "\ufffd" && !(bytes[offset] === 0xef && bytes[offset + 1] === 0xbf && bytes[offset + 2] === 0xbd)) {
      return ` (byte ${offset})`;
    }
    offset += Buffer.byteLength(character);
  }
  return "";
}
