import type { Clock } from "../../runtime/clock.js";

export interface AdaptiveBatchesOptions<In, Out> {
  /** Answers a batch, in its order. */
  run: (batch: readonly In[]) => Promise<readonly Out[]>;
  clock: Clock;
  /** Most items of a batch. Default 8. */
  maxSize?: number;
  /** Longest time that an item waits for others, in milliseconds. Default 100. */
  maxWaitMs?: number;
  /** Told the size of each batch. */
  onBatch?: (size: number) => void;
}

interface Waiting<In, Out> {
  readonly item: In;
  readonly resolve: (out: Out) => void;
  readonly reject: (error: unknown) => void;
}

const MAX_SIZE = 8;
const MAX_WAIT_MS = 100;
/** Weight of the latest observation in the averages. */
const LATEST = 0.2;
/** Why a wait ends early; made once, for making an error with its stack costs. */
const SENT = new Error("the batch was sent");
/** Part of a batch's own time that it is worth to wait for others. */
const WORTH_WAITING = 0.5;

/**
 * Does things of one kind together while there is much to do. When nothing is under way an item goes out at once, alone;
 * else it waits until nothing is, for as many others as arrivals of late let expect, or for a time that follows how long
 * batches take: whichever comes first.
 */
export class AdaptiveBatches<In, Out> {
  readonly #options: Required<Omit<AdaptiveBatchesOptions<In, Out>, "onBatch">> & Pick<AdaptiveBatchesOptions<In, Out>, "onBatch">;
  #waiting: Waiting<In, Out>[] = [];
  #underWay = 0;
  /** Ends the wait for others; undefined while nothing waits for a time. */
  #patience: AbortController | undefined;
  /** Averages of how long a batch takes and of the time between two arrivals, in milliseconds. */
  #batchMs = 0;
  #betweenMs = MAX_WAIT_MS;
  #lastArrival: number | undefined;

  constructor(options: AdaptiveBatchesOptions<In, Out>) {
    this.#options = { maxSize: MAX_SIZE, maxWaitMs: MAX_WAIT_MS, ...options };
  }

  /** How long an item waits for others now, when something is under way, in milliseconds. */
  get windowMs(): number {
    return Math.min(this.#options.maxWaitMs, this.#batchMs * WORTH_WAITING);
  }

  /** How many items are waited for now. */
  get size(): number {
    return Math.max(1, Math.min(this.#options.maxSize, Math.ceil(this.windowMs / Math.max(this.#betweenMs, 0.001))));
  }

  /** Nothing waits and nothing is under way. */
  get isIdle(): boolean {
    return this.#underWay === 0 && this.#waiting.length === 0;
  }

  add(item: In): Promise<Out> {
    this.#observeArrival();
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      const { size } = this;
      if (this.#underWay === 0 || this.#waiting.length >= this.#options.maxSize || (size > 1 && this.#waiting.length >= size)) this.#send();
      else if (this.#waiting.length === 1) this.#sendLater(size);
    });
  }

  #sendLater(size: number): void {
    // Nobody is expected; those that come in the same turn of the event loop go along all the same.
    if (size === 1) return void setImmediate(() => this.#send());
    this.#patience = new AbortController();
    this.#options.clock.sleep(this.windowMs, this.#patience.signal).then(
      () => this.#send(),
      () => {},
    );
  }

  #send(): void {
    this.#patience?.abort(SENT);
    this.#patience = undefined;
    const batch = this.#waiting.splice(0, this.#options.maxSize);
    if (batch.length > 0) void this.#run(batch);
  }

  async #run(batch: readonly Waiting<In, Out>[]): Promise<void> {
    const { run, clock, onBatch } = this.#options;
    const started = clock.monotonic();
    this.#underWay += 1;
    onBatch?.(batch.length);
    try {
      const results = await run(batch.map(({ item }) => item));
      for (const [i, { resolve }] of batch.entries()) resolve(results[i] as Out);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
    this.#batchMs = average(this.#batchMs, clock.monotonic() - started);
    this.#underWay -= 1;
    if (this.#underWay === 0) this.#send();
  }

  #observeArrival(): void {
    const now = this.#options.clock.monotonic();
    // A pause says that there is little to do, however long it was.
    if (this.#lastArrival !== undefined) this.#betweenMs = average(this.#betweenMs, Math.min(now - this.#lastArrival, this.#options.maxWaitMs));
    this.#lastArrival = now;
  }
}

function average(before: number, latest: number): number {
  return before + LATEST * (latest - before);
}
