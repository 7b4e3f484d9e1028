import { encodingOfMark, invalidEncoding, refuseBinary } from "./decode.js";

/** Bytes looked at to tell the encoding, and a binary file from a text. */
const SNIFFED_BYTES = 8_192;

/**
 * The characters of a text file piece by piece, as decodeText and normalizeText would give them altogether: for files that are
 * too large to be held in memory.
 * @throws ExtractionError BINARY_CONTENT or INVALID_ENCODING
 */
export async function* decodeTextStream(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let decoder: InstanceType<typeof TextDecoder> | undefined;
  let encoding = "utf-8";
  let held: Uint8Array = new Uint8Array();
  // A carriage return at a piece's end: whether a line feed follows is not known yet.
  let pending = "";

  const decode = (part?: Uint8Array): string => {
    try {
      return decoder!.decode(part, { stream: part !== undefined });
    } catch (cause) {
      throw invalidEncoding(encoding, "", cause);
    }
  };
  const normalize = (text: string, last: boolean): string => {
    const joined = pending + text;
    pending = !last && joined.endsWith("\r") ? "\r" : "";
    const whole = pending === "" ? joined : joined.slice(0, -1);
    return whole.replace(/\r\n?/g, "\n").replaceAll("\0", "");
  };
  const open = (): void => {
    const marked = encodingOfMark(held);
    if (marked === undefined) refuseBinary(held);
    encoding = marked ?? "utf-8";
    decoder = new TextDecoder(encoding, { fatal: true });
  };

  for await (const part of bytes) {
    if (decoder !== undefined) {
      yield normalize(decode(part), false);
      continue;
    }
    held = Buffer.concat([held, part]);
    if (held.length < SNIFFED_BYTES) continue;
    open();
    yield normalize(decode(held), false);
  }
  if (decoder === undefined) {
    open();
    yield normalize(decode(held), false);
  }
  yield normalize(decode(), true);
}
