import { LRUCache } from "lru-cache";
import type { Clock } from "../../runtime/clock.js";
import { threadQuotaExceeded } from "./errors.js";
import type { CheckpointStore, ThreadKey } from "./store.js";

/** Threads that were seen lately need not be looked for again. */
const REMEMBERED_THREADS = 100_000;

/** Bounds the threads of each tenant. Threads that begin at the same moment may get past it together. */
export class ThreadQuota {
  readonly #store: Pick<CheckpointStore, "thread" | "stats">;
  readonly #clock: Clock;
  readonly #limit: number;
  readonly #known = new LRUCache<string, true>({ max: REMEMBERED_THREADS });

  /** @param options.limit threads of a tenant; 0: no limit */
  constructor(options: { store: Pick<CheckpointStore, "thread" | "stats">; clock: Clock; limit: number }) {
    this.#store = options.store;
    this.#clock = options.clock;
    this.#limit = options.limit;
  }

  /** Throws RESOURCE_EXHAUSTED QUOTA_EXCEEDED when the thread is new and its tenant has as many as it may. */
  async admit(thread: ThreadKey): Promise<void> {
    if (this.#limit === 0) return;
    const name = nameOf(thread);
    if (this.#known.has(name)) return;
    if ((await this.#store.thread(thread, new Date(this.#clock.now()))) === undefined) {
      const { threads } = await this.#store.stats(thread.tenant);
      if (threads >= this.#limit) throw threadQuotaExceeded(this.#limit);
    }
    this.#known.set(name, true);
  }

  /** The thread was deleted. */
  forget(thread: ThreadKey): void {
    this.#known.delete(nameOf(thread));
  }
}

function nameOf({ tenant, threadId }: ThreadKey): string {
  return JSON.stringify([tenant, threadId]);
}
