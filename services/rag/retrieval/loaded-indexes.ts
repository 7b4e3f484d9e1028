import type { CollectionRecord, IndexStore } from "../store/store.js";
import { LoadedIndex } from "./loaded-index.js";

/** The indexes that this replica has in memory; over its budget, those that were asked least recently go. */
export class LoadedIndexes {
  readonly #store: IndexStore;
  readonly #budgetBytes: number;
  readonly #dimensionOf: (model: string) => number;
  /** By the collection's uid, least recently used first. */
  readonly #indexes = new Map<number, LoadedIndex>();

  constructor(store: IndexStore, options: { budgetBytes: number; dimensionOf: (model: string) => number }) {
    this.#store = store;
    this.#budgetBytes = options.budgetBytes;
    this.#dimensionOf = options.dimensionOf;
  }

  /** The collection's index at its epoch or a later one. Search it at once. */
  async open(collection: CollectionRecord): Promise<LoadedIndex> {
    for (;;) {
      const index = this.#touch(collection);
      if (index.epoch >= collection.epoch) return index;
      await index.reach(collection.epoch);
      this.#evict(index);
    }
  }

  /** Forgets a collection that was deleted. */
  drop(uid: number): void {
    const index = this.#indexes.get(uid);
    // One that is being loaded finds out by itself that it is empty now, and goes when room is needed.
    if (index === undefined || index.isUpdating) return;
    this.#indexes.delete(uid);
    index.release();
  }

  /** Bytes of memory, about. */
  get byteLength(): number {
    let sum = 0;
    for (const index of this.#indexes.values()) sum += index.byteLength;
    return sum;
  }

  #touch(collection: CollectionRecord): LoadedIndex {
    const { uid, settings } = collection;
    const index = this.#indexes.get(uid) ?? new LoadedIndex(this.#store, collection, this.#dimensionOf(settings.embeddingModel));
    this.#indexes.delete(uid);
    this.#indexes.set(uid, index);
    return index;
  }

  /** Drops others until all fit. The one just loaded stays even if it alone is too large: it is about to be searched. */
  #evict(loaded: LoadedIndex): void {
    let bytes = this.byteLength;
    for (const [uid, index] of this.#indexes) {
      if (bytes <= this.#budgetBytes) return;
      if (index === loaded || index.isUpdating) continue;
      bytes -= index.byteLength;
      this.#indexes.delete(uid);
      index.release();
    }
  }
}
