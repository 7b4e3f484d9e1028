import { alphaOf, type Hit } from "../index/fusion.js";
import { Searcher, type SearchRequest } from "../index/searcher.js";
import { Segment } from "../index/segment.js";
import { Tombstones } from "../index/tombstones.js";
import { LoadedVectors } from "../index/vectors.js";
import type { CollectionRecord, IndexStore, Manifest, SegmentEntry } from "../store/store.js";
import { type SearchIndex, SegmentGoneError } from "./search-index.js";
import { readDeleted } from "./read-deleted.js";
import { alignVectors } from "./vector-rows.js";

interface LoadedSegment {
  readonly segment: Segment;
  readonly vectors: LoadedVectors;
}

interface LivingSegment extends LoadedSegment {
  readonly deleted: Tombstones;
  readonly tombstoneVersion: number;
}

/** Memory that a manifest's index takes when it is loaded, in bytes, about. */
export function loadedBytes({ segments }: Manifest, dimension: number): number {
  return segments.reduce((sum, { bytes, chunkCount }) => sum + 1.2 * bytes + chunkCount * (dimension + 40), 0);
}

/**
 * The index of one collection in memory. Segments never change, so an update loads what is new, drops what is gone, and reads the
 * tombstones that moved.
 */
export class LoadedIndex implements SearchIndex {
  readonly #store: IndexStore;
  readonly #collection: CollectionRecord;
  readonly #dimension: number;
  #segments = new Map<number, LivingSegment>();
  #searcher: Searcher;
  #epoch = -1;

  constructor(store: IndexStore, collection: CollectionRecord, dimension: number) {
    this.#store = store;
    this.#collection = collection;
    this.#dimension = dimension;
    this.#searcher = this.#makeSearcher();
  }

  get epoch(): number {
    return this.#epoch;
  }

  get byteLength(): number {
    let sum = 0;
    for (const { segment, vectors } of this.#segments.values()) sum += segment.byteLength + vectors.byteLength;
    return sum;
  }

  search(request: SearchRequest): Hit[] {
    return this.#searcher.search(request);
  }

  async update({ epoch, segments }: Manifest): Promise<void> {
    const deleted = await readDeleted(this.#store, this.#collection.uid, segments, this.#segments);
    const before = this.#segments;
    const after = new Map<number, LivingSegment>();
    try {
      for (const entry of segments) {
        const { segment, vectors } = before.get(entry.id) ?? (await this.#load(entry));
        after.set(entry.id, { segment, vectors, ...deleted.get(entry.id)! });
      }
    } catch (error) {
      for (const [id, { vectors }] of after) if (!before.has(id)) vectors.release();
      throw error;
    }
    this.#segments = after;
    this.#searcher = this.#makeSearcher();
    this.#epoch = epoch;
    for (const [id, { vectors }] of before) if (!after.has(id)) vectors.release();
  }

  release(): void {
    for (const { vectors } of this.#segments.values()) vectors.release();
    this.#segments = new Map();
    this.#searcher = this.#makeSearcher();
    this.#epoch = -1;
  }

  async #load({ id, runs }: SegmentEntry): Promise<LoadedSegment> {
    const { uid, settings } = this.#collection;
    const bytes = await this.#store.readSegment(uid, id);
    if (bytes === undefined) throw new SegmentGoneError();
    const segment = new Segment(new Uint8Array(bytes));
    const last = runs.at(-1)!;
    const rows = await this.#store.readVectors(uid, settings.embeddingModel, runs[0]!.first, last.first + last.count - 1);
    // In the order of the segment's chunks, so that the segment's tombstones hold for the vectors too.
    return { segment, vectors: new LoadedVectors(alignVectors(segment.chunkIds, this.#dimension, rows)) };
  }

  #makeSearcher(): Searcher {
    const parts = [...this.#segments.values()];
    return new Searcher({
      lexical: parts.map(({ segment, deleted }) => ({ segment, deleted })),
      vectors: parts.map(({ vectors, deleted }) => ({ vectors, deleted })),
      alpha: alphaOf(this.#collection.settings.embeddingModel),
    });
  }
}
