import { Segment } from "./segment.js";
import { encodeSegment, type TermPostings } from "./segment-format.js";
import type { Tombstones } from "./tombstones.js";

export interface MergeInput {
  segment: Segment;
  deleted?: Tombstones | undefined;
}

/**
 * The bytes of one segment with the chunks of several that are not deleted: the same bytes as if it had been built of
 * these chunks at once. Runs long for large segments; meant for a worker thread.
 * @throws RangeError when two segments hold the same chunk.
 */
export function mergeSegments(inputs: readonly MergeInput[]): Uint8Array {
  const { chunkIds, lengths, places } = mergeChunks(inputs);
  return encodeSegment({ chunkIds, lengths }, mergeTerms(inputs, places));
}

/** `places` gives for each input and local number the number in the merged segment, or -1 for what is deleted. */
function mergeChunks(inputs: readonly MergeInput[]): { chunkIds: Float64Array; lengths: Uint32Array; places: Int32Array[] } {
  const places = inputs.map(({ segment }) => new Int32Array(segment.chunkIds.length).fill(-1));
  const live: { chunkId: number; length: number; input: number; local: number }[] = [];
  inputs.forEach(({ segment, deleted }, input) => {
    segment.chunkIds.forEach((chunkId, local) => {
      if (deleted?.has(local) !== true) live.push({ chunkId, length: segment.lengths[local]!, input, local });
    });
  });
  live.sort((a, b) => a.chunkId - b.chunkId);
  live.forEach(({ chunkId, input, local }, place) => {
    if (chunkId === live[place - 1]?.chunkId) throw new RangeError(`The chunk ${chunkId} is in two segments.`);
    places[input]![local] = place;
  });
  return {
    chunkIds: Float64Array.from(live, ({ chunkId }) => chunkId),
    lengths: Uint32Array.from(live, ({ length }) => length),
    places,
  };
}

function* mergeTerms(inputs: readonly MergeInput[], places: readonly Int32Array[]): Generator<TermPostings> {
  const cursors = inputs.map(({ segment }, input) => {
    const terms = segment.terms();
    return { input, terms, next: terms.next().value };
  });
  for (;;) {
    let term: string | undefined;
    for (const { next } of cursors) if (next !== undefined && (term === undefined || next.term < term)) term = next.term;
    if (term === undefined) return;
    const chunks: number[] = [];
    const frequencies: number[] = [];
    let ascending = true;
    for (const cursor of cursors) {
      const { next } = cursor;
      if (next === undefined || next.term !== term) continue;
      const placeOf = places[cursor.input]!;
      for (let i = 0; i < next.chunks.length; i++) {
        const place = placeOf[next.chunks[i]!]!;
        if (place < 0) continue;
        ascending &&= chunks.length === 0 || place > chunks.at(-1)!;
        chunks.push(place);
        frequencies.push(next.frequencies[i]!);
      }
      cursor.next = cursor.terms.next().value;
    }
    if (chunks.length > 0) yield { term, ...(ascending ? { chunks, frequencies } : sortedByChunk(chunks, frequencies)) };
  }
}

/** Segments are mostly of ids that follow each other; only where they interleave is there something to sort. */
function sortedByChunk(chunks: readonly number[], frequencies: readonly number[]): Pick<TermPostings, "chunks" | "frequencies"> {
  const order = chunks.map((_, i) => i).sort((a, b) => chunks[a]! - chunks[b]!);
  return { chunks: order.map((i) => chunks[i]!), frequencies: order.map((i) => frequencies[i]!) };
}
