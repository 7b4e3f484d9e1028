import { hash as oneShotHash } from "node:crypto";
import { crc32, deflateRawSync, inflateRawSync } from "node:zlib";

/** Bytes of a hash: half a SHA-256. Contents are a thread's own, so that nobody gains by making two collide. */
export const HASH_BYTES = 16;

/** Below this, compression saves less than it costs. */
const MIN_COMPRESSED_BYTES = 2048;
/** Compressed contents are kept when they are this much smaller. */
const WORTHWHILE_RATIO = 0.85;

const RAW = 0;
const DEFLATED = 1;

/** Stored bytes that are not what was stored. */
export class DamagedContentError extends Error {
  override name = "DamagedContentError";
}

/** The name of a segment: the first 16 bytes of its SHA-256. */
export function hashOf(data: Uint8Array): Buffer {
  return oneShotHash("sha256", data, "buffer").subarray(0, HASH_BYTES);
}

/** A hash as the key of a Map. */
export function hashKey(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, hash.byteLength).toString("latin1");
}

/** Bytes before a stored segment's: how it is stored, and the CRC-32 of its bytes. */
export const CONTENT_HEADER_BYTES = 5;

/** What is stored for a segment: a header, then its bytes, deflated when that pays. */
export function packContent(data: Uint8Array): Buffer {
  const header = Buffer.allocUnsafe(CONTENT_HEADER_BYTES);
  header.writeUInt32BE(crc32(data), 1);
  if (data.length >= MIN_COMPRESSED_BYTES) {
    const deflated = deflateRawSync(data, { level: 1 });
    if (deflated.length <= data.length * WORTHWHILE_RATIO) {
      header[0] = DEFLATED;
      return Buffer.concat([header, deflated]);
    }
  }
  header[0] = RAW;
  return Buffer.concat([header, data]);
}

/** A segment's bytes from what is stored; undefined when they are not what was stored. */
export function unpackContent(stored: Buffer): Buffer | undefined {
  if (stored.length < CONTENT_HEADER_BYTES) return undefined;
  const data = inflate(stored[0], stored.subarray(CONTENT_HEADER_BYTES));
  // Not the hash: this finds what disks and bugs do to bytes, at a tenth of the time.
  return data !== undefined && crc32(data) === stored.readUInt32BE(1) ? data : undefined;
}

function inflate(form: number | undefined, payload: Buffer): Buffer | undefined {
  if (form === RAW) return payload;
  if (form !== DEFLATED) return undefined;
  try {
    return inflateRawSync(payload);
  } catch {
    return undefined;
  }
}
