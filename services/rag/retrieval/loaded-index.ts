import { alphaOf } from "../index/fusion.js";
import { Searcher } from "../index/searcher.js";
import { Segment } from "../index/segment.js";
import { Tombstones } from "../index/tombstones.js";
import { decodeVectors } from "../index/vector-format.js";
import { LoadedVectors } from "../index/vectors.js";
import type { CollectionRecord, IndexStore, Manifest, SegmentEntry } from "../store/store.js";

interface LoadedSegment {
  readonly segment: Segment;
  readonly vectors: LoadedVectors;
  readonly tombstoneVersion: number;
  readonly deleted: Tombstones;
}

/** A manifest named a segment that has been merged away since: read the manifest again. */
class SegmentGoneError extends Error {
  override name = "SegmentGoneError";
}

/**
 * The index of one collection as this replica has loaded it. Segments never change, so an update loads what is new, drops what
 * is gone, and reads the tombstones that moved.
 */
export class LoadedIndex {
  readonly #store: IndexStore;
  readonly #collection: CollectionRecord;
  readonly #dimension: number;
  #segments = new Map<number, LoadedSegment>();
  #searcher: Searcher;
  #epoch = -1;
  #updating: Promise<void> | undefined;

  constructor(store: IndexStore, collection: CollectionRecord, dimension: number) {
    this.#store = store;
    this.#collection = collection;
    this.#dimension = dimension;
    this.#searcher = this.#makeSearcher();
  }

  /** The epoch that a search now answers from. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Answers from what is loaded. To be used at once: an update releases the memory that an older searcher reads. */
  get searcher(): Searcher {
    return this.#searcher;
  }

  /** Bytes of memory, about. */
  get byteLength(): number {
    let sum = 0;
    for (const { segment, vectors } of this.#segments.values()) sum += segment.byteLength + vectors.byteLength;
    return sum;
  }

  /** An update is under way: the memory must not be given back. */
  get isUpdating(): boolean {
    return this.#updating !== undefined;
  }

  /** Brings the index to `epoch` or a later one. */
  async reach(epoch: number): Promise<void> {
    while (this.#epoch < epoch) await this.refresh();
  }

  /** Brings the index to what is committed now, or joins who is doing that. */
  refresh(): Promise<void> {
    this.#updating ??= this.#update().finally(() => {
      this.#updating = undefined;
    });
    return this.#updating;
  }

  /** Gives the memory of the vectors back. */
  release(): void {
    for (const { vectors } of this.#segments.values()) vectors.release();
    this.#segments = new Map();
    this.#searcher = this.#makeSearcher();
    this.#epoch = -1;
  }

  async #update(): Promise<void> {
    for (;;) {
      const manifest = await this.#store.manifest(this.#collection.uid);
      // A collection that was deleted is empty to who still holds it.
      const { epoch, segments } = manifest ?? { epoch: Number.MAX_SAFE_INTEGER, segments: [] };
      try {
        this.#replace(await this.#load(segments));
        this.#epoch = epoch;
        return;
      } catch (error) {
        if (!(error instanceof SegmentGoneError)) throw error;
      }
    }
  }

  async #load(entries: Manifest["segments"]): Promise<Map<number, LoadedSegment>> {
    const loaded = new Map<number, LoadedSegment>();
    const moved = entries.filter(({ id, tombstoneVersion }) => tombstoneVersion > 0 && this.#segments.get(id)?.tombstoneVersion !== tombstoneVersion);
    const tombstones = moved.length === 0 ? new Map() : await this.#store.readTombstones(this.#collection.uid, moved.map(({ id }) => id));
    const fresh: LoadedVectors[] = [];
    try {
      for (const entry of entries) {
        const known = this.#segments.get(entry.id);
        const parts = known ?? (await this.#loadSegment(entry));
        if (known === undefined) fresh.push(parts.vectors);
        const read = tombstones.get(entry.id);
        if (read === undefined && moved.includes(entry)) throw new SegmentGoneError();
        const size = parts.segment.chunkIds.length;
        loaded.set(entry.id, {
          segment: parts.segment,
          vectors: parts.vectors,
          // Read after the manifest, so perhaps newer: what is deleted is then dead to this replica a moment early.
          tombstoneVersion: read?.version ?? entry.tombstoneVersion,
          deleted: read === undefined ? (known?.deleted ?? Tombstones.none(size)) : Tombstones.decode(read.bits, size),
        });
      }
    } catch (error) {
      for (const vectors of fresh) vectors.release();
      throw error;
    }
    return loaded;
  }

  async #loadSegment({ id, runs }: SegmentEntry): Promise<{ segment: Segment; vectors: LoadedVectors }> {
    const { uid, settings } = this.#collection;
    const bytes = await this.#store.readSegment(uid, id);
    if (bytes === undefined) throw new SegmentGoneError();
    const segment = new Segment(new Uint8Array(bytes));
    const rows = await this.#store.readVectors(uid, settings.embeddingModel, runs[0]!.first, runs.at(-1)!.first + runs.at(-1)!.count - 1);
    return { segment, vectors: new LoadedVectors(alignVectors(segment.chunkIds, this.#dimension, rows.map(({ bytes: row }) => row))) };
  }

  #replace(segments: Map<number, LoadedSegment>): void {
    const before = this.#segments;
    this.#segments = segments;
    this.#searcher = this.#makeSearcher();
    for (const [id, { vectors }] of before) if (!segments.has(id)) vectors.release();
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

/** Rows of documents as one block in the order of a segment's chunks, so that the segment's tombstones hold for both. */
function alignVectors(chunkIds: Float64Array, dimension: number, rows: readonly Uint8Array[]) {
  const scales = new Float32Array(chunkIds.length);
  const values = new Int8Array(chunkIds.length * dimension);
  // Both ascend, so one pass finds every place; chunks of other segments between are passed over.
  let place = 0;
  for (const bytes of rows) {
    const row = decodeVectors(bytes);
    row.chunkIds.forEach((chunkId, i) => {
      while (place < chunkIds.length && chunkIds[place]! < chunkId) place += 1;
      if (chunkIds[place] !== chunkId) return;
      scales[place] = row.scales[i]!;
      values.set(row.values.subarray(i * dimension, (i + 1) * dimension), place * dimension);
    });
  }
  return { dimension, chunkIds, scales, values };
}
