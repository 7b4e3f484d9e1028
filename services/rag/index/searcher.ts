/**
 * The search index of a collection, in memory: what a replica has loaded of it, ready for questions.
 *
 *   const searcher = new Searcher({ lexical: [{ segment: new Segment(bytes), deleted }], vectors: [...], alpha: alphaOf(model) });
 *   const hits = searcher.search({ terms: analyzer.terms(text), vector, mode: "hybrid", k: 5 });
 *
 * - A collection is any number of segments (segment.ts) and of blocks of vectors (vectors.ts), each with tombstones. Chunk ids
 *   connect them; both lists are searched on their own, so terms and vectors may be cut into parts differently.
 * - A searcher never changes. What was added or deleted since makes a new one over the same loaded parts, which costs as much as
 *   the parts are many. Whoever loads vectors releases them when no searcher uses them any more.
 * - Both arms are exact. In hybrid mode each gives its best candidates, and each candidate is scored on both (fusion.ts).
 * - `allow` restricts both arms before they are cut to k: k hits come back when k allowed chunks match.
 * - A search is synchronous: a few milliseconds over 100,000 chunks.
 */
import { type Allowed, LexicalIndex } from "./bm25.js";
import { type Candidate, fuse, type Hit, type Mode } from "./fusion.js";
import type { LexicalPart } from "./segment.js";
import type { Scored } from "./top-k.js";
import { VectorIndex, type VectorPart } from "./vectors.js";

/** Candidates of each arm in hybrid mode, at least: what is far down in both rankings could not reach the top. */
const MIN_CANDIDATES = 100;

/** How many candidates each arm gives for the k best. */
export function candidatesFor(mode: Mode, k: number): number {
  return mode === "hybrid" ? Math.max(2 * k, MIN_CANDIDATES) : k;
}

export interface SearcherParts {
  lexical: readonly LexicalPart[];
  /** Of one embedding model. */
  vectors: readonly VectorPart[];
  /** The weight of the model's cosine in hybrid mode: see alphaOf in fusion.ts. */
  alpha: number;
}

export interface SearchRequest {
  /** The question's terms, read by the rules that the segments were built with. */
  terms: readonly string[];
  /** The question's vector, of the model that the vectors are of; absent or zero leaves the words alone to decide. */
  vector?: Float32Array | undefined;
  mode: Mode;
  /** Most hits. */
  k: number;
  /** The chunks that may be answered with; absent means all. A set of few is much faster than a predicate. */
  allow?: Allowed | undefined;
}

export class Searcher {
  readonly #lexical: LexicalIndex;
  readonly #vectors: VectorIndex;
  readonly #alpha: number;

  /** @throws RangeError when vectors differ in dimension. */
  constructor({ lexical, vectors, alpha }: SearcherParts) {
    this.#lexical = new LexicalIndex(lexical);
    this.#vectors = new VectorIndex(vectors);
    this.#alpha = alpha;
  }

  /** Bytes of memory that questions take beside the segments and vectors. */
  get byteLength(): number {
    return this.#lexical.byteLength;
  }

  /** Live chunks. */
  get chunkCount(): number {
    return this.#lexical.chunkCount;
  }

  /**
   * The best chunks, the best first. Keyword mode finds only chunks that hold a term, semantic mode only those that have a
   * vector; hybrid mode without a vector is keyword mode, without a known term semantic mode.
   * @throws RangeError when the vector does not have the index's dimension.
   */
  search({ terms, vector, mode, k, allow }: SearchRequest): Hit[] {
    const depth = candidatesFor(mode, k);
    const words = mode === "semantic" ? undefined : this.#lexical.score(terms);
    const meaning = mode === "keyword" || vector === undefined ? undefined : this.#vectors.score(vector);
    const byWords = words?.top(depth, allow) ?? [];
    const byMeaning = meaning?.top(depth, allow) ?? [];

    // An arm's own candidates have its score already; only the other arm is asked for them.
    const candidates = new Map<number, Candidate>();
    byMeaning.forEach(({ chunkId, score }, i) => candidates.set(chunkId, { chunkId, bm25: 0, cosine: score, ranks: { cosine: i + 1 } }));
    byWords.forEach(({ chunkId, score }, i) => {
      const known = candidates.get(chunkId);
      if (known === undefined) candidates.set(chunkId, { chunkId, bm25: score, cosine: meaning?.of(chunkId), ranks: { bm25: i + 1 } });
      else candidates.set(chunkId, { ...known, bm25: score, ranks: { bm25: i + 1, ...known.ranks } });
    });
    if (words !== undefined) {
      for (const candidate of candidates.values()) if (candidate.ranks.bm25 === undefined) candidate.bm25 = words.of(candidate.chunkId);
    }
    return fuse(candidates, { alpha: this.#alphaFor(mode, byWords, byMeaning), best: byWords[0]?.score ?? 0, k });
  }

  #alphaFor(mode: Mode, byWords: readonly Scored[], byMeaning: readonly Scored[]): number {
    // An arm without an answer has no vote: the scores stay comparable with those of its own mode.
    if (mode === "keyword" || byMeaning.length === 0) return 0;
    if (mode === "semantic" || byWords.length === 0) return 1;
    return this.#alpha;
  }
}
