import { LexicalIndex } from "../index/bm25.js";
import { alphaOf, type Hit } from "../index/fusion.js";
import { candidatesFor, Searcher, type SearchRequest } from "../index/searcher.js";
import { positionOf } from "../index/segment.js";
import { TopK } from "../index/top-k.js";
import { LoadedVectors, VectorIndex } from "../index/vectors.js";
import { decodeVectors } from "../index/vector-format.js";
import type { Manifest, VectorRow } from "../store/store.js";
import { readPartialSegments, readSkeleton, type SegmentSkeleton } from "./partial-segment.js";
import { type Deleted, readDeleted } from "./read-deleted.js";
import type { SearchIndex, SearchIndexOptions } from "./search-index.js";
import { alignVectors } from "./vector-rows.js";

/** Vectors that are in memory at once while all of them are compared. */
const BLOCK_CHUNKS = 20_000;

interface LivingSkeleton extends SegmentSkeleton, Deleted {}

/**
 * The index of a collection that does not fit into memory. Only the chunks' ids and lengths and an index of the terms are held; a
 * question reads its own terms' postings, and all vectors block by block. Its answers are those of a loaded index.
 */
export class UnloadedIndex implements SearchIndex {
  readonly #options: SearchIndexOptions;
  #segments: ReadonlyMap<number, LivingSkeleton> = new Map();
  #epoch = -1;
  #model = "";

  constructor(options: SearchIndexOptions) {
    this.#options = options;
  }

  get epoch(): number {
    return this.#epoch;
  }

  get model(): string {
    return this.#model;
  }

  get byteLength(): number {
    let sum = 0;
    for (const { byteLength } of this.#segments.values()) sum += byteLength;
    return sum;
  }

  async update({ epoch, model, segments }: Manifest): Promise<void> {
    const { store, collection } = this.#options;
    const deleted = await readDeleted(store, collection, segments, this.#segments);
    const after = new Map<number, LivingSkeleton>();
    for (const { id, bytes } of segments) {
      const skeleton = this.#segments.get(id) ?? (await readSkeleton(store, collection, id, bytes));
      after.set(id, { ...skeleton, ...deleted.get(id)! });
    }
    this.#segments = after;
    this.#model = model;
    this.#epoch = epoch;
  }

  async search(request: SearchRequest): Promise<Hit[]> {
    const { store, collection, dimensionOf } = this.#options;
    const { terms, vector, mode, k, allow } = request;
    // An update may come while this reads.
    const model = this.#model;
    const skeletons = [...this.#segments.values()];
    const wanted = mode === "semantic" ? [] : [...new Set(terms)];
    const partial = await readPartialSegments(store, collection, skeletons, wanted);
    const lexical = partial.map((segment, i) => ({ segment, deleted: skeletons[i]!.deleted }));
    const alpha = alphaOf(model);
    if (mode === "keyword" || vector === undefined) return new Searcher({ lexical, vectors: [], alpha }).search(request);

    const depth = candidatesFor(mode, k);
    const isLiving = (chunkId: number) => skeletons.some(({ chunkIds, deleted }) => isIn(chunkIds, chunkId, (place) => !deleted.has(place)));
    const isAllowed = allow === undefined ? () => true : typeof allow === "function" ? allow : (chunkId: number) => allow.has(chunkId);
    const near = await this.#nearest(model, vector, depth, (chunkId) => isAllowed(chunkId) && isLiving(chunkId));
    const worded = mode === "semantic" ? [] : new LexicalIndex(lexical).score(terms).top(depth, allow);
    // With the vectors of both arms' candidates alone the ranking is the same: no other chunk is in it.
    const candidates = Float64Array.from(new Set([...near, ...worded].map(({ chunkId }) => chunkId))).sort();
    const rows = await store.readVectorsOf(collection, model, [...candidates]);
    const vectors = new LoadedVectors(alignVectors(candidates, dimensionOf(model), rows));
    try {
      return new Searcher({ lexical, vectors: [{ vectors }], alpha }).search(request);
    } finally {
      vectors.release();
    }
  }

  release(): void {
    this.#segments = new Map();
    this.#epoch = -1;
  }

  /** The nearest chunks of all, comparing every vector, a block of them in memory at a time. */
  async #nearest(model: string, vector: Float32Array, depth: number, isAllowed: (chunkId: number) => boolean) {
    const { store, collection, dimensionOf } = this.#options;
    const best = new TopK(depth);
    let after = -1;
    for (;;) {
      const rows = await store.readVectorBlock(collection, model, after, BLOCK_CHUNKS);
      const last = rows.at(-1);
      if (last === undefined) return best.sorted();
      after = last.firstChunk;
      const vectors = new LoadedVectors(blockOf(rows, dimensionOf(model)));
      try {
        for (const { chunkId, score } of new VectorIndex([{ vectors }]).score(vector)?.top(depth, isAllowed) ?? []) best.offer(chunkId, score);
      } finally {
        vectors.release();
      }
    }
  }
}

function isIn(chunkIds: Float64Array, chunkId: number, condition: (place: number) => boolean): boolean {
  const place = positionOf(chunkIds, chunkId);
  return place >= 0 && condition(place);
}

function blockOf(rows: readonly VectorRow[], dimension: number) {
  const ids = rows.flatMap(({ bytes }) => [...decodeVectors(bytes).chunkIds]);
  return alignVectors(Float64Array.from(ids), dimension, rows);
}
