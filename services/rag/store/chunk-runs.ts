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

/** The same chunks in as few runs as can be; the runs are in the order of their ids. */
export function joinRuns(runs: readonly ChunkRun[]): ChunkRun[] {
  const joined: { first: number; count: number }[] = [];
  for (const { first, count } of runs) {
    const last = joined.at(-1);
    if (last !== undefined && last.first + last.count === first) last.count += count;
    else joined.push({ first, count });
  }
  return joined;
}

/** The ids of the runs, in their order. */
export function* chunkIds(runs: readonly ChunkRun[]): Generator<number> {
  for (const { first, count } of runs) for (let i = 0; i < count; i += 1) yield first + i;
}

/** Sets in `bits` the places that the ids of `deleted` have among those of `runs`, both ascending. */
export function markDeleted(bits: Uint8Array, runs: readonly ChunkRun[], deleted: readonly ChunkRun[]): void {
  let base = 0;
  let next = 0;
  for (const run of runs) {
    const end = run.first + run.count;
    while (next < deleted.length && deleted[next]!.first + deleted[next]!.count <= run.first) next += 1;
    for (let i = next; i < deleted.length && deleted[i]!.first < end; i += 1) {
      const gone = deleted[i]!;
      const last = Math.min(end, gone.first + gone.count);
      for (let id = Math.max(run.first, gone.first); id < last; id += 1) {
        const place = base + (id - run.first);
        bits[place >> 3]! |= 1 << (place & 7);
      }
    }
    base += run.count;
  }
}

/** The ids whose places are set in `bits` but not in `before`, which may be shorter. */
export function* idsOfSetBits(runs: readonly ChunkRun[], bits: Uint8Array, before: Uint8Array): Generator<number> {
  let place = 0;
  for (const id of chunkIds(runs)) {
    const byte = (bits[place >> 3] ?? 0) & ~(before[place >> 3] ?? 0);
    if ((byte & (1 << (place & 7))) !== 0) yield id;
    place += 1;
  }
}
