import { QUESTION_BYTES } from "../index/bm25.js";
import { alphaOf, type Hit } from "../index/fusion.js";
import { Searcher, type SearchRequest } from "../index/searcher.js";
import { Segment } from "../index/segment.js";
import { Tombstones } from "../index/tombstones.js";
import { LoadedVectors } from "../index/vectors.js";
import type { Manifest, SegmentEntry } from "../store/store.js";
import { type SearchIndex, type SearchIndexOptions, SegmentGoneError } from "./search-index.js";
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
  return segments.reduce((sum, { bytes, chunkCount }) => sum + 1.2 * bytes + chunkCount * (dimension + 40 + QUESTION_BYTES), 0);
}

/**
 * The index of one collection in memory. Segments never change, so an update loads what is new, drops what is gone, and reads the
 * tombstones that moved. When the collection has another model, the segments' texts stay and their vectors are loaded anew.
 */
export class LoadedIndex implements SearchIndex {
  readonly #options: SearchIndexOptions;
  #segments = new Map<number, LivingSegment>();
  #searcher: Searcher;
  #epoch = -1;
  #model = "";

  constructor(options: SearchIndexOptions) {
    this.#options = options;
    this.#searcher = this.#makeSearcher();
  }

  get epoch(): number {
    return this.#epoch;
  }

  get model(): string {
    return this.#model;
  }

  get byteLength(): number {
    let sum = this.#searcher.byteLength;
    for (const { segment, vectors } of this.#segments.values()) sum += segment.byteLength + vectors.byteLength;
    return sum;
  }

  search(request: SearchRequest): Hit[] {
    return this.#searcher.search(request);
  }

  async update({ epoch, model, segments }: Manifest): Promise<void> {
    const { store, collection } = this.#options;
    const dead = await readDeleted(store, collection, segments, this.#segments);
    const before = this.#segments;
    const isSameModel = model === this.#model;
    const after = new Map<number, LivingSegment>();
    try {
      for (const entry of segments) {
        const known = before.get(entry.id);
        const segment = known?.segment ?? (await this.#loadSegment(entry));
        const vectors = known !== undefined && isSameModel ? known.vectors : await this.#loadVectors(entry, segment, model);
        const { deleted, tombstoneVersion } = dead.get(entry.id)!;
        after.set(entry.id, { segment, vectors, deleted, tombstoneVersion });
      }
    } catch (error) {
      releaseOthers(after, before);
      throw error;
    }
    this.#segments = after;
    this.#model = model;
    this.#searcher = this.#makeSearcher();
    this.#epoch = epoch;
    releaseOthers(before, after);
  }

  release(): void {
    for (const { vectors } of this.#segments.values()) vectors.release();
    this.#segments = new Map();
    this.#searcher = this.#makeSearcher();
    this.#epoch = -1;
  }

  async #loadSegment({ id }: SegmentEntry): Promise<Segment> {
    const { store, collection } = this.#options;
    const bytes = await store.readSegment(collection, id);
    if (bytes === undefined) throw new SegmentGoneError();
    return new Segment(new Uint8Array(bytes));
  }

  async #loadVectors({ runs }: SegmentEntry, { chunkIds }: Segment, model: string): Promise<LoadedVectors> {
    const { store, collection, dimensionOf } = this.#options;
    const last = runs.at(-1)!;
    const rows = await store.readVectors(collection, model, runs[0]!.first, last.first + last.count - 1);
    // In the order of the segment's chunks, so that the segment's tombstones hold for the vectors too.
    return new LoadedVectors(alignVectors(chunkIds, dimensionOf(model), rows));
  }

  #makeSearcher(): Searcher {
    const parts = [...this.#segments.values()];
    return new Searcher({
      lexical: parts.map(({ segment, deleted }) => ({ segment, deleted })),
      vectors: parts.map(({ vectors, deleted }) => ({ vectors, deleted })),
      alpha: alphaOf(this.#model),
    });
  }
}

/** Gives back the vectors of segments that are not held by `kept` too. */
function releaseOthers(segments: ReadonlyMap<number, LoadedSegment>, kept: ReadonlyMap<number, LoadedSegment>): void {
  for (const [id, { vectors }] of segments) if (kept.get(id)?.vectors !== vectors) vectors.release();
}
