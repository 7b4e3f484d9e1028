import { LRUCache } from "lru-cache";
import { hashKey, unpackContent } from "./content.js";
import { childrenOf, type SegmentRef } from "./segment-tree.js";
import type { CheckpointStore, ThreadKey } from "./store.js";

/** What a segment costs in memory beside its bytes. */
const ENTRY_BYTES = 150;

/** What is in memory of a thread. */
interface Remembered {
  readonly segments: Map<string, Buffer>;
  bytes: number;
}

/**
 * Reads segments and nodes. What was read or stored lately is in memory: it is
 * named by its hash, so that it can be forgotten but never be wrong.
 */
export class SegmentReader {
  readonly #store: CheckpointStore;
  readonly #threads: LRUCache<string, Remembered>;

  constructor(store: CheckpointStore, options: { maxBytes: number }) {
    this.#store = store;
    this.#threads = new LRUCache({ maxSize: options.maxBytes, sizeCalculation: ({ bytes }) => bytes });
  }

  /**
   * All that `refs` name and all that is below, by hashKey, but for the segments
   * in `skip`. What is gone or damaged is not in the answer.
   */
  async read(thread: ThreadKey, refs: readonly SegmentRef[], skip?: Pick<ReadonlySet<string>, "has">): Promise<ReadonlyMap<string, Buffer>> {
    const remembered = this.#threads.get(keyOf(thread))?.segments;
    const found = new Map<string, Buffer>();
    const missing: SegmentRef[] = [];
    const visit = (level: number, hash: Buffer) => {
      const key = hashKey(hash);
      if (found.has(key) || (level === 0 && skip?.has(key))) return;
      const data = remembered?.get(key);
      if (data === undefined) {
        missing.push({ level, hash });
        return;
      }
      found.set(key, data);
      if (level > 0) for (const child of childrenOf(data)) visit(level - 1, child);
    };
    for (const { level, hash } of refs) visit(level, hash);
    if (missing.length === 0) return found;
    const loaded: [string, Buffer][] = [];
    for (const [key, stored] of await this.#store.contents(thread, missing)) {
      const data = unpackContent(stored);
      if (data !== undefined) loaded.push([key, data]);
    }
    this.remember(thread, loaded);
    for (const [key, data] of loaded) found.set(key, data);
    return found;
  }

  /** Keeps what was just stored or read. */
  remember(thread: ThreadKey, segments: Iterable<readonly [string, Buffer]>): void {
    const key = keyOf(thread);
    const entry = this.#threads.get(key) ?? { segments: new Map<string, Buffer>(), bytes: ENTRY_BYTES };
    for (const [hash, data] of segments) {
      if (entry.segments.has(hash)) continue;
      entry.segments.set(hash, data);
      entry.bytes += data.length + ENTRY_BYTES;
    }
    this.#threads.set(key, entry);
  }

  /** For a thread that was deleted. */
  forget(thread: ThreadKey): void {
    this.#threads.delete(keyOf(thread));
  }
}

function keyOf({ tenant, threadId }: ThreadKey): string {
  return JSON.stringify([tenant, threadId]);
}
