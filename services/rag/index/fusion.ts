import { TopK } from "./top-k.js";

/**
 * One ranking of two arms: `alpha * cosine + (1 - alpha) * bm25 / max(bm25 of this question)`, over every candidate of either
 * arm, each scored on both. Measured on three collections, it was never below the better arm; reciprocal ranks and min-max
 * scaling were.
 */
export const modes = ["hybrid", "semantic", "keyword"] as const;
export type Mode = (typeof modes)[number];

/** How much a model's cosine weighs beside BM25. The built-in one has a minority vote, a model with context leads. */
const alphas: ReadonlyMap<string, number> = new Map([
  ["static-256", 0.3],
  ["all-MiniLM-L6-v2", 0.7],
]);
const DEFAULT_ALPHA = 0.5;

/** The weight of a model's cosine, from 0 to 1. */
export function alphaOf(model: string): number {
  return alphas.get(model) ?? DEFAULT_ALPHA;
}

export interface Candidate {
  chunkId: number;
  /** 0 when the chunk holds none of the question's terms. */
  bm25: number;
  /** Undefined when the chunk or the question has no vector. */
  cosine: number | undefined;
  /** Its place in the arm's own ranking, from 1; undefined when it is not among that arm's candidates. */
  ranks: { bm25?: number; cosine?: number };
}

export interface Hit extends Candidate {
  /** From -1 to 1; 1 is the best by both arms. */
  score: number;
}

/**
 * The k best of candidates by chunk id, the best first; of equal scores the lower id.
 * @param alpha 0 counts BM25 alone, 1 the cosine alone.
 * @param best the highest BM25 of this question; 0 when no chunk holds its terms.
 */
export function fuse(candidates: ReadonlyMap<number, Candidate>, { alpha, best, k }: { alpha: number; best: number; k: number }): Hit[] {
  const chosen = new TopK(k);
  for (const candidate of candidates.values()) {
    const lexical = best > 0 ? candidate.bm25 / best : 0;
    chosen.offer(candidate.chunkId, alpha * (candidate.cosine ?? 0) + (1 - alpha) * lexical);
  }
  return chosen.sorted().map(({ chunkId, score }) => ({ ...candidates.get(chunkId)!, score }));
}
