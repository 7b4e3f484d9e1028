import { promisify } from "node:util";
import { deflate, inflate } from "node:zlib";
import { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";
import type { StoredValue } from "./store.js";

const deflateAsync = promisify(deflate);
const inflateAsync = promisify(inflate);

/** A value whose deflated form is not smaller than this part of it is stored as it is. */
const WORTHWHILE = 0.9;
/** Level 3 of zlib: on JSON nearly as small as the default and twice as fast. */
const LEVEL = 3;
/** The schema's limit of a value: more comes out of corrupt bytes only. */
const MAX_VALUE_BYTES = 1024 * 1024;

/** The form in which a value is stored: deflated from `fromBytes` on where that pays. Vectors are packed already. */
export async function compress(kind: CacheKind, value: Uint8Array, fromBytes: number): Promise<StoredValue> {
  if (kind === CacheKind.EMBEDDING || value.length < fromBytes) return { bytes: value, deflated: false };
  const bytes = await deflateAsync(value, { level: LEVEL });
  return bytes.length < value.length * WORTHWHILE ? { bytes, deflated: true } : { bytes: value, deflated: false };
}

/** The value; undefined when the bytes are not what compress() made. */
export async function decompress(stored: StoredValue): Promise<Uint8Array | undefined> {
  if (!stored.deflated) return stored.bytes;
  return inflateAsync(stored.bytes, { maxOutputLength: MAX_VALUE_BYTES }).catch(() => undefined);
}
