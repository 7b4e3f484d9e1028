import { openDecoding, SNIFFED_BYTES, type TextDecoding } from "./decode.js";

export interface TextStreamOptions {
  /** The encoding that came with the file. */
  readonly declared?: string | undefined;
  /** Called with the encoding that was found, at the end. */
  readonly onEncoding?: (encoding: string) => void;
}

/**
 * The characters of a text file piece by piece, as decodeText and normalizeText would give them altogether: for files that are
 * too large to be held in memory.
 * @throws ExtractionError BINARY_CONTENT or INVALID_ENCODING
 */
export async function* decodeTextStream(bytes: AsyncIterable<Uint8Array>, { declared, onEncoding }: TextStreamOptions = {}): AsyncGenerator<string> {
  let decoding: TextDecoding | undefined;
  let held: Uint8Array = new Uint8Array();
  // A carriage return at a piece's end: whether a line feed follows is not known yet.
  let pending = "";

  const normalize = (text: string, last: boolean): string => {
    const joined = pending + text;
    pending = !last && joined.endsWith("\r") ? "\r" : "";
    const whole = pending === "" ? joined : joined.slice(0, -1);
    return whole.replace(/\r\n?/g, "\n").replaceAll("\0", "");
  };

  for await (const part of bytes) {
    if (decoding !== undefined) {
      yield normalize(decoding.decode(part), false);
      continue;
    }
    held = Buffer.concat([held, part]);
    if (held.length < SNIFFED_BYTES) continue;
    decoding = openDecoding(held, declared);
    yield normalize(decoding.decode(held), false);
  }
  if (decoding === undefined) {
    decoding = openDecoding(held, declared);
    yield normalize(decoding.decode(held), false);
  }
  yield normalize(decoding.decode(), true);
  onEncoding?.(decoding.encoding);
}
