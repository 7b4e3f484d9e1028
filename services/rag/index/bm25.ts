import { type LexicalPart, positionOf } from "./segment.js";
import type { Postings } from "./segment-format.js";
import { type Scored, TopK } from "./top-k.js";

/** How soon more occurrences of a term stop to count, and how much a chunk's length does: the values of the literature. */
export const K1 = 1.2;
export const B = 0.75;

/** The chunks that may be answered with; absent means all. */
export type Allowed = ReadonlySet<number> | ((chunkId: number) => boolean);

export function predicateOf(allowed: Allowed): (chunkId: number) => boolean {
  return typeof allowed === "function" ? allowed : (chunkId) => allowed.has(chunkId);
}

/**
 * Exact BM25 over the live chunks of any number of segments:
 * the sum over the query's terms of ln(1 + (N - df + .5) / (df + .5)) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * length / average)).
 * What is deleted counts nowhere, so the scores are those of an index that was built without it.
 * (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", with the idf of Lucene, which is never negative.)
 */
export class LexicalIndex {
  /** Live chunks. */
  readonly chunkCount: number;
  /** Of the live chunks, in terms. */
  readonly averageLength: number;
  readonly #parts: readonly LexicalPart[];
  /** Where each part's chunks begin in the scores. */
  readonly #bases: readonly number[];
  /** Kept from question to question: as long as the index is used, its memory is needed again at once. */
  #scores: Float64Array | undefined;

  constructor(parts: readonly LexicalPart[]) {
    this.#parts = parts;
    let total = 0;
    let live = 0;
    let length = 0;
    this.#bases = parts.map(({ segment, deleted }) => {
      const base = total;
      total += segment.chunkIds.length;
      live += segment.chunkIds.length - (deleted?.count ?? 0);
      length += segment.totalLength;
      for (const local of deleted ?? []) length -= segment.lengths[local]!;
      return base;
    });
    this.chunkCount = live;
    this.averageLength = live === 0 ? 0 : length / live;
  }

  /**
   * Scores every chunk that holds one of the terms; a term that is given twice counts twice. The result can be asked until the
   * index is asked for other terms.
   */
  score(terms: readonly string[]): LexicalScores {
    const counts = new Map<string, number>();
    for (const term of terms) counts.set(term, (counts.get(term) ?? 0) + 1);
    this.#scores = this.#scores?.fill(0) ?? new Float64Array(this.#parts.reduce((sum, { segment }) => sum + segment.chunkIds.length, 0));
    for (const [term, count] of counts) this.#addTerm(term, count, this.#scores);
    return new LexicalScores(this.#parts, this.#bases, this.#scores);
  }

  #addTerm(term: string, count: number, scores: Float64Array): void {
    const found = this.#parts.map(({ segment }) => segment.postings(term));
    let documentFrequency = 0;
    found.forEach((postings, part) => (documentFrequency += liveCount(postings, this.#parts[part]!)));
    if (documentFrequency === 0) return;
    const idf = Math.log(1 + (this.chunkCount - documentFrequency + 0.5) / (documentFrequency + 0.5));
    const weight = count * idf * (K1 + 1);
    const shortest = K1 * (1 - B);
    const perTerm = (K1 * B) / this.averageLength;
    found.forEach((postings, part) => {
      if (postings === undefined) return;
      const { segment, deleted } = this.#parts[part]!;
      const { lengths } = segment;
      const { chunks, frequencies } = postings;
      const base = this.#bases[part]!;
      for (let i = 0; i < chunks.length; i++) {
        const local = chunks[i]!;
        if (deleted?.has(local) === true) continue;
        const frequency = frequencies[i]!;
        scores[base + local]! += (weight * frequency) / (frequency + shortest + perTerm * lengths[local]!);
      }
    });
  }
}

function liveCount(postings: Postings | undefined, { deleted }: LexicalPart): number {
  if (postings === undefined) return 0;
  if (deleted === undefined || deleted.count === 0) return postings.chunks.length;
  let live = 0;
  for (let i = 0; i < postings.chunks.length; i++) if (!deleted.has(postings.chunks[i]!)) live++;
  return live;
}

/** What one question's terms scored. */
export class LexicalScores {
  readonly #parts: readonly LexicalPart[];
  readonly #bases: readonly number[];
  readonly #scores: Float64Array;

  constructor(parts: readonly LexicalPart[], bases: readonly number[], scores: Float64Array) {
    this.#parts = parts;
    this.#bases = bases;
    this.#scores = scores;
  }

  /** The k best chunks that hold a term, the best first. */
  top(k: number, allowed?: Allowed): Scored[] {
    const best = new TopK(k);
    const isAllowed = allowed && predicateOf(allowed);
    const scores = this.#scores;
    this.#parts.forEach(({ segment }, part) => {
      const base = this.#bases[part]!;
      const ids = segment.chunkIds;
      let threshold = best.threshold;
      for (let local = 0; local < ids.length; local++) {
        const score = scores[base + local]!;
        if (score === 0 || score < threshold) continue;
        if (isAllowed !== undefined && !isAllowed(ids[local]!)) continue;
        best.offer(ids[local]!, score);
        threshold = best.threshold;
      }
    });
    return best.sorted();
  }

  /** A chunk's score; 0 when it holds none of the terms or is not there. */
  of(chunkId: number): number {
    for (let part = 0; part < this.#parts.length; part++) {
      const { segment, deleted } = this.#parts[part]!;
      const local = positionOf(segment.chunkIds, chunkId);
      // A chunk that was written again under its id is deleted in one segment and lives in another.
      if (local >= 0 && deleted?.has(local) !== true) return this.#scores[this.#bases[part]! + local]!;
    }
    return 0;
  }
}
