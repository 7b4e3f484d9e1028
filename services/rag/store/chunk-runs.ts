import type { ChunkRun } from "./store.js";

/** How many chunks the runs hold. */
export function countChunks(runs: readonly ChunkRun[]): number {
  return runs.reduce((sum, run) => sum + run.count, 0);
}

/** Ids in ascending order as runs of consecutive ones. */
export function toRuns(ids: Iterable<number>): ChunkRun[] {
  const runs: { first: number; count: number }[] = [];
  for (const id of ids) {
    const last = runs.at(-1);
    if (last !== undefined && last.first + last.count === id) last.count += 1;
    else runs.push({ first: id, count: 1 });
  }
  return runs;
}

/** The ids of the runs, in their order. */
export function* chunkIds(runs: readonly ChunkRun[]): Generator<number> {
  for (const { first, count } of runs) for (let i = 0; i < count; i += 1) yield first + i;
}

/** Sets in `bits` the places that the ids of `deleted` have among those of `runs`, both ascending; returns how many were not set. */
export function markDeleted(bits: Uint8Array, runs: readonly ChunkRun[], deleted: readonly ChunkRun[]): number {
  let marked = 0;
  let base = 0;
  for (const run of runs) {
    for (const gone of deleted) {
      const from = Math.max(run.first, gone.first);
      const to = Math.min(run.first + run.count, gone.first + gone.count);
      for (let id = from; id < to; id += 1) {
        const place = base + (id - run.first);
        if ((bits[place >> 3]! & (1 << (place & 7))) !== 0) continue;
        bits[place >> 3]! |= 1 << (place & 7);
        marked += 1;
      }
    }
    base += run.count;
  }
  return marked;
}
