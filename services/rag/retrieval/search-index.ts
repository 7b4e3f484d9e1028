import type { Hit } from "../index/fusion.js";
import type { SearchRequest } from "../index/searcher.js";
import type { IndexStore, Manifest } from "../store/store.js";

/** What an index is made with. */
export interface SearchIndexOptions {
  readonly store: IndexStore;
  /** The collection's uid. */
  readonly collection: number;
  /** Components of a model's vectors. */
  readonly dimensionOf: (model: string) => number;
}

/** A collection's index as this replica holds it. */
export interface SearchIndex {
  /** The collection's epoch that a search now answers from; -1 before the first update. */
  readonly epoch: number;
  /** The model whose vectors a search now compares; it changes with the epoch. */
  readonly model: string;
  /** Bytes of memory, about. */
  readonly byteLength: number;
  /** Brings it to a manifest. Rejects with SegmentGoneError when that is out of date already. */
  update(manifest: Manifest): Promise<void>;
  /** Resolves at once where all is in memory. Rejects with SegmentGoneError when a merge came between. */
  search(request: SearchRequest): Hit[] | Promise<Hit[]>;
  /** Gives the memory back. */
  release(): void;
}

/** A segment has been merged away since the manifest was read: read the manifest again. */
export class SegmentGoneError extends Error {
  override name = "SegmentGoneError";
}
