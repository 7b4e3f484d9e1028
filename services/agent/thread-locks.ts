import { threadBusy } from "./errors.js";

/** Lets one run at a time write a thread. */
export interface ThreadLocks {
  /** Runs `work` as the thread's only writer. Throws ABORTED THREAD_BUSY when there is another. */
  hold<T>(thread: { tenant: string; id: string }, work: () => AsyncIterable<T>): AsyncGenerator<T>;
}

/** Locks among the runs of this process. */
export class LocalThreadLocks implements ThreadLocks {
  readonly #held = new Set<string>();

  async *hold<T>({ tenant, id }: { tenant: string; id: string }, work: () => AsyncIterable<T>): AsyncGenerator<T> {
    const key = `${tenant.length} ${tenant}${id}`;
    if (this.#held.has(key)) throw threadBusy(id);
    this.#held.add(key);
    try {
      yield* work();
    } finally {
      this.#held.delete(key);
    }
  }
}
