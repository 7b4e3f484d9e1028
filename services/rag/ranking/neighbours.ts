import type { StoredChunk } from "../store/store.js";

/** White space between two chunks beyond which they are not taken together. */
const MAX_GAP = 1_000;

/** Ids of the chunks around a chunk: a document's chunks have consecutive ids. */
export function neighbourIds({ id }: Pick<StoredChunk, "id">, distance: number): number[] {
  const ids = [];
  for (let other = id - distance; other <= id + distance; other += 1) if (other !== id && other > 0) ids.push(other);
  return ids;
}

/**
 * A chunk with the text around it: as far as the chunks that were read follow each other without a gap. White space between two
 * chunks belongs to none and is not kept: as many line breaks stand for it, so that offsets hold.
 */
export function withNeighbours<T extends StoredChunk>(chunk: T, read: ReadonlyMap<number, StoredChunk>, distance: number): T {
  let expanded = chunk;
  for (const step of [-1, 1]) {
    for (let i = 1; i <= distance; i += 1) {
      const other = read.get(chunk.id + step * i);
      // Ids around a large document's windows may be another document's.
      if (other === undefined || other.document.id !== chunk.document.id || other.ordinal !== chunk.ordinal + step * i) break;
      if ((step < 0 ? expanded.start - other.end : other.start - expanded.end) > MAX_GAP) break;
      expanded = { ...expanded, ...(step < 0 ? joined(other, expanded) : joined(expanded, other)), page: step < 0 ? other.page : expanded.page };
    }
  }
  return expanded;
}

type Stretch = Pick<StoredChunk, "start" | "end" | "text">;

function joined(first: Stretch, second: Stretch): Stretch {
  const gap = second.start - first.end;
  const text = gap >= 0 ? first.text + "\n".repeat(gap) + second.text : first.text + second.text.slice(-gap);
  return { start: first.start, end: Math.max(first.end, second.end), text };
}
