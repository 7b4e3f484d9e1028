import { LRUCache } from "lru-cache";
import type { Segments } from "./segments.js";

/** Bytes of segments that are kept. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Threads that are remembered, and segments of one. */
const MAX_THREADS = 1_000;
const MAX_SEGMENTS = 50_000;

/**
 * The segments that this client sent or received: which of a thread's the
 * service has, so that they are not sent again, and the bytes of the latest, so
 * that they are not asked for again. The service may have lost some since, when
 * a thread was pruned: it then says what it misses.
 */
export class SegmentCache {
  readonly #threads = new LRUCache<string, Set<string>>({ max: MAX_THREADS });
  /** By hash, which is the same in every thread. */
  readonly #bytes = new LRUCache<string, Uint8Array>({ maxSize: MAX_BYTES, sizeCalculation: ({ length }, key) => length + key.length });

  /** Whether the service has segments of this thread that came by here. */
  knows(threadId: string): boolean {
    return this.#threads.has(threadId);
  }

  /** Whether the service has this segment of the thread. */
  has(threadId: string, key: string): boolean {
    return this.#threads.get(threadId)?.has(key) ?? false;
  }

  get(key: string): Uint8Array | undefined {
    return this.#bytes.get(key);
  }

  /** The service has these segments of the thread. */
  add(threadId: string, segments: Segments): void {
    let known = this.#threads.get(threadId);
    if (known === undefined || known.size > MAX_SEGMENTS) {
      known = new Set();
      this.#threads.set(threadId, known);
    }
    for (const key of segments.keys()) known.add(key);
    // Later: nobody who puts or reads now waits for it.
    setImmediate(() => this.#keep(segments));
  }

  #keep(segments: Segments): void {
    for (const [key, data] of segments) {
      // A copy: a segment that arrived is a part of its whole message.
      if (!this.#bytes.has(key)) this.#bytes.set(key, Buffer.from(data));
    }
  }

  forget(threadId: string): void {
    this.#threads.delete(threadId);
  }
}
