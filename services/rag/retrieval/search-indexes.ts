import type { Hit } from "../index/fusion.js";
import type { SearchRequest } from "../index/searcher.js";
import type { CollectionRecord, IndexStore } from "../store/store.js";
import { LoadedIndex, loadedBytes } from "./loaded-index.js";
import { type SearchIndex, SegmentGoneError } from "./search-index.js";
import { UnloadedIndex } from "./unloaded-index.js";

/** A question to an index; its vector depends on the model that the index has, and what may be answered with on its epoch. */
export interface IndexQuestion extends Omit<SearchRequest, "allow" | "vector"> {
  /** The question's vector by a model; undefined for none. */
  readonly vectorBy: (model: string) => Promise<Float32Array | undefined>;
  /** The chunks that may be answered with at an epoch; undefined for all. */
  readonly allowAt: (epoch: number) => Promise<ReadonlySet<number> | undefined>;
}

export interface IndexAnswer {
  readonly hits: Hit[];
  /** The collection's epoch that was searched. */
  readonly epoch: number;
}

export interface SearchIndexesOptions {
  /** Memory for all indexes together, in bytes. */
  readonly budgetBytes: number;
  /** Components of a model's vectors. */
  readonly dimensionOf: (model: string) => number;
}

/**
 * The indexes that this replica holds. Over the memory's budget those that were asked least recently go; a collection that alone
 * is larger is searched without being loaded.
 */
export class SearchIndexes {
  readonly #store: IndexStore;
  readonly #options: SearchIndexesOptions;
  /** By the collection's uid, least recently used first. */
  readonly #indexes = new Map<number, SearchIndex>();
  readonly #updating = new Map<number, Promise<void>>();

  constructor(store: IndexStore, options: SearchIndexesOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Searches what was committed when the collection's row was read, or later. */
  async search(collection: CollectionRecord, { vectorBy, allowAt, ...request }: IndexQuestion): Promise<IndexAnswer> {
    for (;;) {
      const index = await this.#current(collection);
      const { epoch, model } = index;
      const [vector, allow] = await Promise.all([vectorBy(model), allowAt(epoch)]);
      // That took its time: the index may have moved on, to another model even, or gone.
      if (index.epoch !== epoch) continue;
      try {
        return { epoch, hits: await index.search({ ...request, vector, allow }) };
      } catch (error) {
        if (!(error instanceof SegmentGoneError)) throw error;
        await this.refresh(collection);
      }
    }
  }

  /** Brings the collection's index to what is committed now, or joins who is doing that. */
  refresh(collection: CollectionRecord): Promise<void> {
    const { uid } = collection;
    const updating = this.#updating.get(uid) ?? this.#update(collection).finally(() => this.#updating.delete(uid));
    this.#updating.set(uid, updating);
    return updating;
  }

  /** Forgets a collection that was deleted. */
  drop(uid: number): void {
    // One that is being updated finds out by itself that it is empty now, and goes when room is needed.
    if (this.#updating.has(uid)) return;
    this.#indexes.get(uid)?.release();
    this.#indexes.delete(uid);
  }

  /** Bytes of memory, about. */
  get byteLength(): number {
    let sum = 0;
    for (const index of this.#indexes.values()) sum += index.byteLength;
    return sum;
  }

  async #current(collection: CollectionRecord): Promise<SearchIndex> {
    const { uid, epoch } = collection;
    for (;;) {
      const index = this.#indexes.get(uid);
      if (index !== undefined && index.epoch >= epoch) {
        this.#indexes.delete(uid);
        this.#indexes.set(uid, index);
        return index;
      }
      await this.refresh(collection);
    }
  }

  async #update(collection: CollectionRecord): Promise<void> {
    const { uid, settings } = collection;
    const { budgetBytes, dimensionOf } = this.#options;
    for (;;) {
      // A collection that was deleted is empty to who still holds its row.
      const manifest = (await this.#store.manifest(uid)) ?? { epoch: Number.MAX_SAFE_INTEGER, model: settings.embeddingModel, segments: [] };
      const Kind = loadedBytes(manifest, dimensionOf(manifest.model)) <= budgetBytes ? LoadedIndex : UnloadedIndex;
      const known = this.#indexes.get(uid);
      const index = known instanceof Kind ? known : new Kind({ store: this.#store, collection: uid, dimensionOf });
      try {
        await index.update(manifest);
      } catch (error) {
        if (index !== known) index.release();
        if (error instanceof SegmentGoneError) continue;
        throw error;
      }
      if (index !== known) {
        this.#indexes.set(uid, index);
        known?.release();
      }
      this.#evict(index);
      return;
    }
  }

  /** Drops others until all fit. The one just updated stays: it is about to be searched. */
  #evict(updated: SearchIndex): void {
    let bytes = this.byteLength;
    for (const [uid, index] of this.#indexes) {
      if (bytes <= this.#options.budgetBytes) return;
      if (index === updated || this.#updating.has(uid)) continue;
      bytes -= index.byteLength;
      this.#indexes.delete(uid);
      index.release();
    }
  }
}
