import { Tombstones } from "../index/tombstones.js";
import type { IndexStore, SegmentEntry } from "../store/store.js";
import { SegmentGoneError } from "./search-index.js";

/** Which chunks of a segment are deleted, and the version of the tombstones that say so. */
export interface Deleted {
  readonly deleted: Tombstones;
  readonly tombstoneVersion: number;
}

/**
 * The deleted chunks of a manifest's segments: those that are known in their version, the others from the store. They may be newer
 * than the manifest: then what was deleted since is dead to this replica a moment early.
 */
export async function readDeleted(
  store: IndexStore,
  collection: number,
  entries: readonly SegmentEntry[],
  known: ReadonlyMap<number, Deleted>,
): Promise<Map<number, Deleted>> {
  const result = new Map<number, Deleted>();
  const moved: SegmentEntry[] = [];
  for (const entry of entries) {
    const before = known.get(entry.id);
    if (before !== undefined && before.tombstoneVersion >= entry.tombstoneVersion) result.set(entry.id, before);
    else if (entry.tombstoneVersion === 0) result.set(entry.id, { deleted: Tombstones.none(entry.chunkCount), tombstoneVersion: 0 });
    else moved.push(entry);
  }
  if (moved.length === 0) return result;
  const read = await store.readTombstones(collection, moved.map(({ id }) => id));
  for (const { id, chunkCount } of moved) {
    const found = read.get(id);
    if (found === undefined) throw new SegmentGoneError();
    result.set(id, { deleted: Tombstones.decode(found.bits, chunkCount), tombstoneVersion: found.version });
  }
  return result;
}
