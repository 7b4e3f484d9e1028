import { type Clock, systemClock } from "../clock.js";

/** Why items were given up. */
export type DropReason = "full" | "refused" | "shutdown";

/** What became of a batch that was sent. */
export type Delivery =
  /** The receiver has it. */
  | { outcome: "taken" }
  /** It may go well later; the receiver said when, or did not, in milliseconds. */
  | { outcome: "later"; afterMs?: number }
  /** The receiver will never take it as it is. */
  | { outcome: "refused" };

export interface OutboxOptions<Item> {
  /** Delivers a batch; must not throw. Called for one batch at a time. */
  send: (batch: readonly Item[], signal: AbortSignal) => Promise<Delivery>;
  onDrop: (count: number, reason: DropReason) => void;
  clock?: Clock;
  /** Items waiting at most; more are dropped. Default 10,000. */
  capacity?: number;
  /** Items a batch. Default 200. */
  maxBatch?: number;
  /** Time that a batch may fill, in milliseconds. Default 500. */
  delayMs?: number;
}

const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 30_000;

/**
 * Items on their way to a receiver that may be slow, refuse or be gone: they wait in bounded memory, go in batches in the
 * order they came, and are sent again until they are taken. `add` never blocks and never fails.
 */
export class Outbox<Item> {
  readonly #options: Required<OutboxOptions<Item>>;
  #waiting: Item[] = [];
  #working: Promise<void> | undefined;
  /** Ends the waits when everything is to go out now. */
  #hurry = new AbortController();
  readonly #abandoned = new AbortController();

  constructor(options: OutboxOptions<Item>) {
    this.#options = { clock: systemClock, capacity: 10_000, maxBatch: 200, delayMs: 500, ...options };
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(item: Item): void {
    const { capacity, onDrop } = this.#options;
    if (this.#abandoned.signal.aborted) return onDrop(1, "shutdown");
    if (this.#waiting.length >= capacity) return onDrop(1, "full");
    this.#waiting.push(item);
    this.#start();
  }

  /** Sends what is waiting without delay, for at most `withinMs`; what is left then is dropped. The outbox takes nothing afterwards. */
  async close(withinMs: number): Promise<void> {
    this.#hurry.abort();
    let timer: NodeJS.Timeout | undefined;
    const outOfTime = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    await Promise.race([this.#working, outOfTime]);
    clearTimeout(timer);
    this.#abandoned.abort();
    const left = this.#waiting.splice(0).length;
    if (left > 0) this.#options.onDrop(left, "shutdown");
  }

  #start(): void {
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined;
      // What came as the work was ending.
      if (this.#waiting.length > 0 && !this.#abandoned.signal.aborted) this.#start();
    });
  }

  async #work(): Promise<void> {
    const { maxBatch, delayMs } = this.#options;
    let retryMs = FIRST_RETRY_MS;
    let size = maxBatch;
    await this.#pause(delayMs, this.#hurry.signal);
    while (this.#waiting.length > 0 && !this.#abandoned.signal.aborted) {
      const batch = this.#waiting.slice(0, size);
      const delivery = await this.#options.send(batch, this.#abandoned.signal);
      // Closed meanwhile: what was waiting is counted as dropped already.
      if (this.#abandoned.signal.aborted) return;
      if (delivery.outcome === "later") {
        await this.#pause(delivery.afterMs ?? retryMs, this.#abandoned.signal);
        retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
      } else if (delivery.outcome === "refused" && batch.length > 1) {
        // One bad item must not cost its neighbours: halves, until it stands alone.
        size = Math.ceil(batch.length / 2);
      } else {
        if (delivery.outcome === "refused") this.#options.onDrop(1, "refused");
        this.#waiting.splice(0, batch.length);
        retryMs = FIRST_RETRY_MS;
        size = delivery.outcome === "taken" ? Math.min(maxBatch, size * 2) : size;
        if (this.#waiting.length < size) await this.#pause(delayMs, this.#hurry.signal);
      }
    }
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    // An aborted wait is over: that is all that its end means.
    await this.#options.clock.sleep(ms, signal).catch(() => {});
  }
}
