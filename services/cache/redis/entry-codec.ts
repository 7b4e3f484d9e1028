import { crc32 } from "node:zlib";
import type { StoredValue } from "../store.js";

/**
 * An entry in Redis: the generation of its scope (which only Redis knows when it is put), then a mark, flags, CRC-32,
 * expiry, and the value. The sum covers flags, expiry and value.
 */
export const GENERATION_CHARS = 11;

const MARK = 0xc5;
const DEFLATED = 1;
/** Places in what follows the generation. */
const FLAGS_AT = 1;
const SUM_AT = 2;
const EXPIRY_AT = 6;
const HEAD_BYTES = 14;

/**
 * What stands between generation and value.
 * @param expiresAt in milliseconds since the Unix epoch.
 */
export function encodeHead(value: StoredValue, expiresAt: number): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head[0] = MARK;
  head[FLAGS_AT] = value.deflated ? DEFLATED : 0;
  head.writeDoubleBE(expiresAt, EXPIRY_AT);
  head.writeUInt32BE(crc32(value.bytes, crc32(head.subarray(EXPIRY_AT), head[FLAGS_AT])), SUM_AT);
  return head;
}

export interface DecodedEntry {
  value: StoredValue;
  expiresAt: number;
}

/** The entry, or undefined when the bytes are not as they were written. */
export function decodeEntry(bytes: Buffer): DecodedEntry | undefined {
  const start = GENERATION_CHARS;
  if (bytes.length < start + HEAD_BYTES || bytes[start] !== MARK) return undefined;
  const flags = bytes[start + FLAGS_AT]!;
  if (crc32(bytes.subarray(start + EXPIRY_AT), flags) !== bytes.readUInt32BE(start + SUM_AT)) return undefined;
  return {
    value: { bytes: bytes.subarray(start + HEAD_BYTES), deflated: flags === DEFLATED },
    expiresAt: bytes.readDoubleBE(start + EXPIRY_AT),
  };
}
