import { LRUCache } from "lru-cache";
import type { Viewer } from "../../../runtime/identity/viewer.js";
import type { IndexStore, StoredChunk } from "../store/store.js";

/** Memory for texts that are found again and again, in bytes, about. */
const BUDGET_BYTES = 64_000_000;
/** What a chunk takes beside its text. */
const CHUNK_BYTES = 1_000;
const BYTES_A_CHARACTER = 2;

/** Where chunks were found, and for whom. */
export interface Found {
  readonly collection: number;
  /** The epoch of the index that they were found in. */
  readonly epoch: number;
  readonly viewer: Viewer;
  /** Whether everyone may read all that there is at that epoch. */
  readonly isOpen: boolean;
}

/**
 * Reads the chunks that were found; those that are found again at the same epoch come from memory. Whatever is shown of a chunk
 * moves the epoch when it changes, and every question names the epoch that it found at, so nothing is shown that was gone, or
 * another's, before the question came. What not everyone may read is read each time.
 */
export class FoundChunks {
  readonly #store: Pick<IndexStore, "readChunks">;
  readonly #kept: LRUCache<string, StoredChunk>;

  constructor(store: Pick<IndexStore, "readChunks">, budgetBytes = BUDGET_BYTES) {
    this.#store = store;
    this.#kept = new LRUCache({ maxSize: budgetBytes, sizeCalculation: ({ text }) => CHUNK_BYTES + BYTES_A_CHARACTER * text.length });
  }

  /** Those of the chunks that exist and that the viewer may read, by id. */
  async read({ collection, epoch, viewer, isOpen }: Found, ids: readonly number[]): Promise<Map<number, StoredChunk>> {
    const keyOf = (id: number) => `${collection}:${epoch}:${id}`;
    const found = new Map<number, StoredChunk>();
    const missing: number[] = [];
    for (const id of ids) {
      const kept = isOpen ? this.#kept.get(keyOf(id)) : undefined;
      if (kept === undefined) missing.push(id);
      else found.set(id, kept);
    }
    if (missing.length === 0) return found;
    for (const chunk of await this.#store.readChunks(collection, viewer, missing)) {
      found.set(chunk.id, chunk);
      if (isOpen) this.#kept.set(keyOf(chunk.id), chunk);
    }
    return found;
  }
}
