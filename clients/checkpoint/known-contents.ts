import { LRUCache } from "lru-cache";

/** Threads that are remembered, and segments of one. */
const MAX_THREADS = 1_000;
const MAX_SEGMENTS = 50_000;

/**
 * Which segments the service has, as far as this client has sent or received
 * them. It may be wrong after a thread was pruned: the service then says what
 * it misses.
 */
export class KnownContents {
  readonly #threads = new LRUCache<string, Set<string>>({ max: MAX_THREADS });

  has(threadId: string, key: string): boolean {
    return this.#threads.get(threadId)?.has(key) ?? false;
  }

  add(threadId: string, keys: Iterable<string>): void {
    let known = this.#threads.get(threadId);
    if (known === undefined || known.size > MAX_SEGMENTS) {
      known = new Set();
      this.#threads.set(threadId, known);
    }
    for (const key of keys) known.add(key);
  }

  forget(threadId: string): void {
    this.#threads.delete(threadId);
  }
}
