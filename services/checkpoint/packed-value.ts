import { DamagedContentError, HASH_BYTES } from "./content.js";
import type { SegmentRef } from "./segment-tree.js";

/** Bytes of a reference: its level and its hash. */
export const REF_BYTES = 1 + HASH_BYTES;

/** A value as stored: how its writer encoded it, the segments and nodes it names, and the bytes after them. */
export interface StoredValue {
  readonly encoding: string;
  readonly refs: readonly SegmentRef[];
  readonly tail: Uint8Array;
}

/**
 * One value in one column: the count of its references (1 byte), the references
 * (17 bytes each, where SQL and Lua find them too), the length of its
 * encoding's name (1 byte), the name, the tail.
 */
export function packValue(value: StoredValue): Buffer {
  const name = Buffer.from(value.encoding);
  const refs = value.refs.flatMap(({ level, hash }) => [Buffer.of(level), hash]);
  return Buffer.concat([Buffer.of(value.refs.length), ...refs, Buffer.of(name.length), name, value.tail]);
}

/** Throws DamagedContentError when the bytes are not a packed value. */
export function unpackValue(packed: Buffer): StoredValue {
  const count = packed[0] ?? 0;
  const nameAt = 1 + count * REF_BYTES;
  const nameLength = packed[nameAt];
  if (nameLength === undefined || packed.length < nameAt + 1 + nameLength) {
    throw new DamagedContentError("a value is cut off");
  }
  const refs = Array.from({ length: count }, (_, i) => {
    const at = 1 + i * REF_BYTES;
    return { level: packed[at] as number, hash: packed.subarray(at + 1, at + REF_BYTES) };
  });
  const tailAt = nameAt + 1 + nameLength;
  return { encoding: packed.toString("utf8", nameAt + 1, tailAt), refs, tail: packed.subarray(tailAt) };
}
