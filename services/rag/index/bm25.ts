import { LRUCache } from "lru-cache";
import { type LexicalPart, positionOf } from "./segment.js";
import { type Scored, TopK } from "./top-k.js";

/** How soon more occurrences of a term stop to count, and how much a chunk's length does: the values of the literature. */
export const K1 = 1.2;
export const B = 0.75;

/** Memory for terms that are asked for again and again, in bytes for each chunk: half of what its own terms take. */
const KEPT_BYTES = 96;
/** What a kept term takes beside its postings, in bytes, about. */
const TERM_BYTES = 500;
/** What a question needs of each chunk in numbers of its own, in bytes. */
const WORKING_BYTES = 16;
/** Memory that a loaded index has for questions, beside its segments, in bytes for each chunk. */
export const QUESTION_BYTES = KEPT_BYTES + WORKING_BYTES;

/** The chunks that may be answered with; absent means all. */
export type Allowed = ReadonlySet<number> | ((chunkId: number) => boolean);

export function predicateOf(allowed: Allowed): (chunkId: number) => boolean {
  return typeof allowed === "function" ? allowed : (chunkId) => allowed.has(chunkId);
}

/** Where a term occurs among the live chunks of all parts: their places in the scores, ascending, and how often in each. */
interface LivingPostings {
  readonly places: Uint32Array;
  readonly frequencies: Uint32Array;
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
  /** Chunks of all parts, deleted ones among them. */
  readonly #size: number;
  /** Of the terms that were asked for last: many questions share their common terms, which are the long ones to read. */
  readonly #kept: LRUCache<string, LivingPostings>;
  /** Kept from question to question: as long as the index is used, its memory is needed again at once. */
  #scores: Float64Array | undefined;
  #saturations: Float64Array | undefined;

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
    this.#size = total;
    this.#kept = new LRUCache({
      maxSize: Math.max(1, total * KEPT_BYTES),
      sizeCalculation: ({ places }) => TERM_BYTES + 2 * places.byteLength,
    });
    this.chunkCount = live;
    this.averageLength = live === 0 ? 0 : length / live;
  }

  /** Bytes of memory that it takes beside the parts. */
  get byteLength(): number {
    return (this.#scores?.byteLength ?? 0) + (this.#saturations?.byteLength ?? 0) + this.#kept.calculatedSize;
  }

  /**
   * Scores every chunk that holds one of the terms; a term that is given twice counts twice. The result can be asked until the
   * index is asked for other terms.
   */
  score(terms: readonly string[]): LexicalScores {
    const counts = new Map<string, number>();
    for (const term of terms) counts.set(term, (counts.get(term) ?? 0) + 1);
    this.#scores = this.#scores?.fill(0) ?? new Float64Array(this.#size);
    for (const [term, count] of counts) this.#addTerm(term, count, this.#scores);
    return new LexicalScores(this.#parts, this.#bases, this.#scores);
  }

  #addTerm(term: string, count: number, scores: Float64Array): void {
    const { places, frequencies } = this.#living(term);
    const documentFrequency = places.length;
    const idf = Math.log(1 + (this.chunkCount - documentFrequency + 0.5) / (documentFrequency + 0.5));
    const weight = count * idf * (K1 + 1);
    const saturations = (this.#saturations ??= this.#saturationsOf());
    for (let i = 0; i < documentFrequency; i++) {
      const place = places[i]!;
      const frequency = frequencies[i]!;
      scores[place]! += (weight * frequency) / (frequency + saturations[place]!);
    }
  }

  /** What is added to a term's frequency in each chunk, by the chunk's length. */
  #saturationsOf(): Float64Array {
    const shortest = K1 * (1 - B);
    const perTerm = (K1 * B) / this.averageLength;
    const saturations = new Float64Array(this.#size);
    this.#parts.forEach(({ segment: { lengths } }, part) => {
      const base = this.#bases[part]!;
      for (let local = 0; local < lengths.length; local++) saturations[base + local] = shortest + perTerm * lengths[local]!;
    });
    return saturations;
  }

  #living(term: string): LivingPostings {
    const kept = this.#kept.get(term);
    if (kept !== undefined) return kept;
    const found = this.#parts.map(({ segment }) => segment.postings(term));
    const all = found.reduce((sum, postings) => sum + (postings?.chunks.length ?? 0), 0);
    const places = new Uint32Array(all);
    const frequencies = new Uint32Array(all);
    let count = 0;
    found.forEach((postings, part) => {
      if (postings === undefined) return;
      const { deleted } = this.#parts[part]!;
      const base = this.#bases[part]!;
      const { chunks } = postings;
      for (let i = 0; i < chunks.length; i++) {
        const local = chunks[i]!;
        if (deleted?.has(local) === true) continue;
        places[count] = base + local;
        frequencies[count++] = postings.frequencies[i]!;
      }
    });
    const living = count === all ? { places, frequencies } : { places: places.slice(0, count), frequencies: frequencies.slice(0, count) };
    this.#kept.set(term, living);
    return living;
  }
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
      // A chunk without any of the terms has no score.
      let threshold = Math.max(best.threshold, Number.MIN_VALUE);
      for (let local = 0; local < ids.length; local++) {
        const score = scores[base + local]!;
        if (score < threshold) continue;
        if (isAllowed !== undefined && !isAllowed(ids[local]!)) continue;
        best.offer(ids[local]!, score);
        threshold = Math.max(best.threshold, Number.MIN_VALUE);
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
