import { hash as oneShotHash } from "node:crypto";
import { deflateRawSync, inflateRawSync } from "node:zlib";

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

/** What is stored for a segment: one byte that says how, then its bytes, deflated when that pays. */
export function packContent(data: Uint8Array): Buffer {
  if (data.length >= MIN_COMPRESSED_BYTES) {
    const deflated = deflateRawSync(data, { level: 1 });
    if (deflated.length <= data.length * WORTHWHILE_RATIO) return Buffer.concat([Buffer.of(DEFLATED), deflated]);
  }
  return Buffer.concat([Buffer.of(RAW), data]);
}

/** A segment's bytes from what is stored. Throws DamagedContentError unless they have this hash. */
export function unpackContent(hash: Uint8Array, stored: Buffer): Buffer {
  const data = inflate(stored);
  if (!hashOf(data).equals(hash)) throw new DamagedContentError("a segment does not have its hash");
  return data;
}

function inflate(stored: Buffer): Buffer {
  if (stored[0] === RAW) return stored.subarray(1);
  if (stored[0] !== DEFLATED) throw new DamagedContentError("a segment is stored in an unknown form");
  try {
    return inflateRawSync(stored.subarray(1));
  } catch (cause) {
    throw new DamagedContentError("a segment cannot be inflated", { cause });
  }
}
