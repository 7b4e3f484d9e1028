import { isAscii, isUtf8 } from "node:buffer";
import { ExtractionError } from "./extracted.js";
import { decodeMixed, incompleteTail } from "./mixed-encoding.js";

/** Bytes looked at to tell the encoding, and a binary file from a text. */
export const SNIFFED_BYTES = 8_192;

const byteOrderMarks = [
  { encoding: "utf-8", bytes: [0xef, 0xbb, 0xbf] },
  { encoding: "utf-16le", bytes: [0xff, 0xfe] },
  { encoding: "utf-16be", bytes: [0xfe, 0xff] },
];

/** Characters of a text file that comes in parts. */
export interface TextDecoding {
  /** The characters of the next part; the last ones come when there is none. @throws ExtractionError */
  decode(part?: Uint8Array): string;
  /** What the bytes so far were read as: "utf-8", "windows-1252", "utf-8, windows-1252" or the name of another encoding. */
  readonly encoding: string;
}

/** The characters of a text file, and the encoding they were in; see openDecoding. @throws ExtractionError */
export function decodeText(bytes: Uint8Array, declared?: string): { text: string; encoding: string } {
  const decoding = openDecoding(bytes, declared);
  const text = decoding.decode(bytes) + decoding.decode();
  return { text, encoding: decoding.encoding };
}

/**
 * Reads a text in the encoding that its byte order mark names, else in the declared one, else in UTF-8 where its bytes are UTF-8
 * and in windows-1252 where they are not: a file may hold both, as one does that was put together of others.
 * @param start the file's first SNIFFED_BYTES, or all of it
 * @param declared a label as in a charset parameter; one that nobody knows is no declaration
 * @throws ExtractionError BINARY_CONTENT
 */
export function openDecoding(start: Uint8Array, declared?: string): TextDecoding {
  const marked = encodingOfMark(start);
  const encoding = marked ?? unmarkedUtf16(start) ?? known(declared);
  if (encoding === undefined || !encoding.startsWith("utf-16")) refuseBinary(start);
  return encoding === undefined || encoding === "utf-8" ? new Utf8Decoding(hasControls(start)) : new NamedDecoding(encoding);
}

/** The encoding that a byte order mark at the start names, or undefined. */
export function encodingOfMark(bytes: Uint8Array): string | undefined {
  return byteOrderMarks.find((mark) => mark.bytes.every((byte, i) => bytes[i] === byte))?.encoding;
}

/** True for bytes that are no text. */
export function looksBinary(bytes: Uint8Array): boolean {
  return encodingOfMark(bytes) === undefined && unmarkedUtf16(bytes) === undefined && bytes.subarray(0, SNIFFED_BYTES).includes(0);
}

function refuseBinary(bytes: Uint8Array): void {
  if (looksBinary(bytes)) throw binary("zero bytes");
}

/** UTF-16 of mostly Western text: nearly every second byte is zero, and none of the others. Programs of Windows write such files. */
function unmarkedUtf16(bytes: Uint8Array): string | undefined {
  const sniffed = bytes.subarray(0, SNIFFED_BYTES & ~1);
  const pairs = sniffed.length >> 1;
  if (pairs === 0) return undefined;
  const zeros = [0, 0];
  for (let i = 0; i < pairs * 2; i += 1) if (sniffed[i] === 0) zeros[i & 1]! += 1;
  const [first, second] = zeros as [number, number];
  const encoding = first === 0 && second > pairs * 0.8 ? "utf-16le" : second === 0 && first > pairs * 0.8 ? "utf-16be" : undefined;
  // Small numbers in a binary file look alike, but for the characters that they would be.
  return encoding !== undefined && !CONTROLS.test(new TextDecoder(encoding).decode(sniffed)) ? encoding : undefined;
}

/**
 * Whether a label names an encoding to hold to. Of windows-1252, which "latin1" and "ascii" are names of too, every file would be
 * one: servers that know nothing send it, so the bytes decide.
 */
function known(label: string | undefined): string | undefined {
  if (label === undefined) return undefined;
  try {
    const { encoding } = new TextDecoder(label);
    return encoding === "windows-1252" ? undefined : encoding;
  } catch {
    return undefined;
  }
}

/** UTF-8, and windows-1252 for what is not. */
class Utf8Decoding implements TextDecoding {
  readonly #hasControls: boolean;
  readonly #kinds = new Set<"utf-8" | "windows-1252">();
  #held: Uint8Array = new Uint8Array();
  #position = 0;

  constructor(hasControlCharacters: boolean) {
    this.#hasControls = hasControlCharacters;
  }

  get encoding(): string {
    return this.#kinds.has("windows-1252") ? [...this.#kinds].sort().join(", ") : "utf-8";
  }

  decode(part?: Uint8Array): string {
    const bytes = part === undefined || this.#held.length === 0 ? (part ?? this.#held) : Buffer.concat([this.#held, part]);
    const whole = part === undefined ? bytes.length : bytes.length - incompleteTail(bytes);
    this.#held = bytes.subarray(whole);
    const text = this.#decode(bytes.subarray(0, whole));
    const isMarked = this.#position === 0 && text.startsWith("\ufeff");
    this.#position += whole;
    return isMarked ? text.slice(1) : text;
  }

  #decode(bytes: Uint8Array): string {
    if (isUtf8(bytes)) {
      if (!isAscii(bytes)) this.#kinds.add("utf-8");
      return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf8");
    }
    // Every byte is a character of windows-1252, also those of a program.
    if (this.#hasControls) throw binary("control characters");
    return decodeMixed(bytes, this.#position, (kind) => this.#kinds.add(kind));
  }
}

class NamedDecoding implements TextDecoding {
  readonly encoding: string;
  readonly #decoder: InstanceType<typeof TextDecoder>;

  constructor(encoding: string) {
    this.encoding = encoding;
    this.#decoder = new TextDecoder(encoding, { fatal: true });
  }

  decode(part?: Uint8Array): string {
    try {
      return this.#decoder.decode(part, { stream: part !== undefined });
    } catch (cause) {
      throw new ExtractionError(
        "INVALID_ENCODING",
        `The document is not valid ${this.encoding.toUpperCase()}, which it says it is; convert it to UTF-8, for example with iconv.`,
        { cause },
      );
    }
  }
}

/** Control characters that no text has. */
const CONTROLS = /[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]/;

function hasControls(start: Uint8Array): boolean {
  return CONTROLS.test(Buffer.from(start.subarray(0, SNIFFED_BYTES)).toString("latin1"));
}

function binary(what: string): ExtractionError {
  return new ExtractionError(
    "BINARY_CONTENT",
    `The document holds ${what}, so it is a binary file, not text; give its true MIME type or extension, or convert it to UTF-8.`,
  );
}
