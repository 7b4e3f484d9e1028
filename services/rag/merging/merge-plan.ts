import { countChunks } from "../store/chunk-runs.js";
import type { Manifest, SegmentEntry } from "../store/store.js";

/** Segments of one level that become one of the next. */
export const DEFAULT_FAN_IN = 10;
/** Larger segments are not merged any more: a merge holds its inputs in memory. */
const MAX_CHUNKS = 250_000;
/** A segment with more dead chunks than this part, and this number, is written anew without them. */
const DEAD_PART = 0.5;
const MIN_DEAD = 100;

/** The segments to merge next, and the level of what they become; undefined when all is well. */
export function planMerge({ segments }: Manifest, fanIn = DEFAULT_FAN_IN): { inputs: SegmentEntry[]; level: number } | undefined {
  // Neighbours in the order of their chunks: what belongs together stays in few runs.
  const ordered = segments.toSorted((a, b) => a.runs[0]!.first - b.runs[0]!.first);
  const levels = [...new Set(segments.map(({ level }) => level))].sort((a, b) => a - b);
  for (const level of levels) {
    const inputs = ordered.filter((segment) => segment.level === level).slice(0, fanIn);
    const live = inputs.reduce((sum, { runs, deadCount }) => sum + countChunks(runs) - deadCount, 0);
    if (inputs.length === fanIn && live <= MAX_CHUNKS) return { inputs, level: level + 1 };
  }
  const dead = segments.find(({ chunkCount, deadCount }) => deadCount >= MIN_DEAD && deadCount > chunkCount * DEAD_PART);
  return dead && { inputs: [dead], level: dead.level };
}
