import type { StoredChunk } from "../store/store.js";

export interface Choice {
  readonly k: number;
  /** The most of one document; undefined for no limit. */
  readonly maxPerDocument: number | undefined;
  /** Chunks on each side that come with a chosen one: those are not chosen again. */
  readonly neighbours: number;
  /** Maximal marginal relevance; undefined for the ranking's own order. */
  readonly mmr: { readonly lambda: number; readonly vectors: readonly Float32Array[] } | undefined;
}

/**
 * The best k of a ranking under the limits, by maximal marginal relevance where that is asked for: the next is always the one with
 * the largest `lambda * relevance - (1 - lambda) * (largest cosine with a chosen one)` (Carbonell and Goldstein 1998), where
 * relevance is the score from 0 to 1 among the candidates.
 * @param ranked the best first; `mmr.vectors` in the same order, of unit length or zero.
 */
export function choose<T extends Pick<StoredChunk, "ordinal" | "document"> & { readonly score: number }>(ranked: readonly T[], choice: Choice): T[] {
  const { k, maxPerDocument, neighbours, mmr } = choice;
  const chosen: T[] = [];
  const perDocument = new Map<string, T[]>();
  const admits = ({ document, ordinal }: T) => {
    const others = perDocument.get(document.id) ?? [];
    if (maxPerDocument !== undefined && others.length >= maxPerDocument) return false;
    return neighbours === 0 || others.every((other) => Math.abs(other.ordinal - ordinal) > neighbours);
  };
  const take = (candidate: T) => {
    chosen.push(candidate);
    perDocument.set(candidate.document.id, [...(perDocument.get(candidate.document.id) ?? []), candidate]);
  };
  if (mmr === undefined) {
    for (const candidate of ranked) {
      if (chosen.length === k) break;
      if (admits(candidate)) take(candidate);
    }
    return chosen;
  }

  const best = ranked[0]?.score ?? 0;
  const range = best - (ranked.at(-1)?.score ?? 0);
  const relevance = ranked.map(({ score }) => (range === 0 ? 1 : 1 - (best - score) / range));
  const likeness = new Float64Array(ranked.length);
  const open = new Set(ranked.keys());
  while (chosen.length < k && open.size > 0) {
    let next = -1;
    let value = -Infinity;
    for (const i of open) {
      const worth = mmr.lambda * relevance[i]! - (1 - mmr.lambda) * likeness[i]!;
      if (worth > value) [next, value] = [i, worth];
    }
    open.delete(next);
    if (!admits(ranked[next]!)) continue;
    take(ranked[next]!);
    for (const i of open) likeness[i] = Math.max(likeness[i]!, dot(mmr.vectors[i]!, mmr.vectors[next]!));
  }
  return chosen;
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i]! * b[i]!;
  return sum;
}
