import { randomUUID } from "node:crypto";
import type { PriorityQueue, RequestPriority } from "../../clients/ratelimit/index.js";
import { currentCall, runDetached } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { unlessAborted } from "../../runtime/unless-aborted.js";
import { overloaded } from "./errors.js";

export interface RunSlotsOptions {
  /** Runs at the same time. */
  limit: number;
  /** Runs that wait for a slot at the same time; what is beyond is refused at once. */
  maxWaiting: number;
  /** Where runs wait that find no slot. */
  queue: Pick<PriorityQueue, "enqueue" | "cancel" | "work">;
  /** The priority of the callers of a tier; NORMAL for those of other tiers. */
  priorities: ReadonlyMap<string, RequestPriority>;
  /** Longest time in the queue, in milliseconds. */
  maxWaitMs: number;
  clock: Clock;
}

/** How often a queue is reminded of those that wait in it, in milliseconds: it may have been started anew. */
const REMIND_MS = 5_000;

/**
 * Bounds the runs of this replica. What is beyond waits in the rate limit service's priority queue, in the order of its
 * caller's tier; without that service it is refused at once, for another replica or a later try.
 */
export class RunSlots {
  readonly limit: number;
  readonly #options: RunSlotsOptions;
  readonly #closing = new AbortController();
  readonly #waiting = new Map<string, () => void>();
  #taken = 0;
  #working: Promise<void> | undefined;
  #freed: () => void = () => {};

  constructor(options: RunSlotsOptions) {
    this.limit = options.limit;
    this.#options = options;
  }

  get taken(): number {
    return this.#taken;
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  /** Runs `work` in a slot. Throws RESOURCE_EXHAUSTED OVERLOADED when all are taken and as many wait as may, or there is no queue. */
  async *hold<T>(signal: AbortSignal, work: () => AsyncIterable<T>): AsyncGenerator<T> {
    if (this.#taken < this.limit && this.#waiting.size === 0) this.#taken += 1;
    else await this.#turn(signal);
    try {
      yield* work();
    } finally {
      this.#free();
    }
  }

  /** Ends the work on the queue. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.#working;
  }

  /** Resolves with a slot taken, when the queue says that it is this run's turn. */
  async #turn(signal: AbortSignal): Promise<void> {
    const { queue, maxWaiting } = this.#options;
    if (this.#waiting.size >= maxWaiting) throw overloaded(this.limit);
    const ticket = randomUUID();
    const given = new Promise<void>((resolve) => this.#waiting.set(ticket, resolve));
    const over = new AbortController();
    let item: string | undefined;
    try {
      item = await this.#enqueue(ticket);
      this.#working ??= runDetached(() => this.#work());
      void this.#remind(ticket, over.signal);
      await unlessAborted(given, signal);
    } catch (error) {
      const isWaiting = this.#waiting.delete(ticket);
      // Its turn came at the same moment: the next one takes it.
      if (!isWaiting) this.#free();
      else this.#freed();
      if (isWaiting && item !== undefined) queue.cancel(item).catch(() => {});
      throw error;
    } finally {
      over.abort();
    }
  }

  async #enqueue(ticket: string): Promise<string> {
    const { queue, priorities, maxWaitMs, limit } = this.#options;
    const priority = priorities.get(currentCall()?.identity.tier ?? "default") ?? "NORMAL";
    return queue.enqueue(ticket, { priority, ttl: maxWaitMs, idempotencyKey: ticket }).catch(() => {
      throw overloaded(limit);
    });
  }

  /** A queue that has forgotten the ticket takes it anew; one that knows it is not changed by its key. */
  async #remind(ticket: string, over: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    for (;;) {
      const goesOn = await clock.sleep(REMIND_MS, over).then(
        () => true,
        () => false,
      );
      if (!goesOn) return;
      await this.#enqueue(ticket).catch(() => {});
    }
  }

  async #work(): Promise<void> {
    const { signal } = this.#closing;
    signal.addEventListener("abort", () => this.#freed(), { once: true });
    const handler = async ({ payload }: { payload: Uint8Array }) => {
      const ticket = Buffer.from(payload).toString();
      while (this.#waiting.has(ticket) && this.#taken >= this.limit && !signal.aborted) {
        await new Promise<void>((resolve) => {
          this.#freed = resolve;
        });
      }
      const give = this.#waiting.get(ticket);
      if (give === undefined || signal.aborted) return;
      this.#waiting.delete(ticket);
      this.#taken += 1;
      give();
    };
    await this.#options.queue.work(handler, { concurrency: 1, signal }).catch(() => {});
    this.#working = undefined;
  }

  #free(): void {
    this.#taken -= 1;
    this.#freed();
  }
}
