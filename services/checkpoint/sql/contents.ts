import { HASH_BYTES, hashKey } from "../content.js";
import { REF_BYTES } from "../packed-value.js";
import type { SegmentRef } from "../segment-tree.js";
import type { Addition, StoredContents } from "../store.js";

/** p_required, p_hashes, p_sizes and p_contents of the functions in schema.ts. */
export function additionParameters({ contents, required }: Addition): unknown[] {
  return [
    Buffer.concat(required),
    Buffer.concat(contents.map(({ hash }) => hash)),
    contents.map(({ stored }) => stored.length),
    Buffer.concat(contents.map(({ stored }) => stored)),
  ];
}

/** p_refs of the functions in schema.ts. */
export function packRefs(refs: readonly SegmentRef[]): Buffer {
  return Buffer.concat(refs.flatMap(({ level, hash }) => [Buffer.of(level), hash]), refs.length * REF_BYTES);
}

/** Hashes that stand one after the other. */
export function splitHashes(hashes: Buffer): Buffer[] {
  return Array.from({ length: hashes.length / HASH_BYTES }, (_, i) => hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
}

/** What checkpoint.read_contents puts together. */
export function splitContents(packed: Buffer): StoredContents {
  const contents = new Map<string, Buffer>();
  for (let at = 0; at < packed.length; ) {
    const dataAt = at + HASH_BYTES + 4;
    const end = dataAt + packed.readUInt32BE(at + HASH_BYTES);
    contents.set(hashKey(packed.subarray(at, at + HASH_BYTES)), packed.subarray(dataAt, end));
    at = end;
  }
  return contents;
}

