import { currentCall, runBeyondCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { unlessAborted } from "../../runtime/unless-aborted.js";
import { AdaptiveBatches } from "./adaptive-batches.js";

export interface CallerBatchesOptions<In, Out> {
  /** Does a batch, in its order and in the name of its caller. */
  run: (batch: readonly In[]) => Promise<readonly Out[]>;
  clock: Clock;
  /** Told the size of each batch. */
  onBatch: (size: number) => void;
}

/** Callers whose arrivals are remembered. */
const MAX_CALLERS = 1_000;

/** Does things together that come close together, those of one caller and one kind: what one may see, the next one may not. */
export class CallerBatches<In, Out> {
  readonly #options: CallerBatchesOptions<In, Out>;
  readonly #callers = new Map<string, AdaptiveBatches<In, Out>>();

  constructor(options: CallerBatchesOptions<In, Out>) {
    this.#options = options;
  }

  /**
   * Rejects as `run` does, and with the signal's reason when that aborts first: what it costs is not taken back then, others may share it.
   * @param kind things of other kinds are done apart
   */
  async add(item: In, { kind = "", signal }: { kind?: string; signal?: AbortSignal | undefined } = {}): Promise<Out> {
    signal?.throwIfAborted();
    const done = this.#batchesOf(JSON.stringify([currentCall()?.identity, kind])).add(item);
    return signal === undefined ? done : unlessAborted(done, signal);
  }

  #batchesOf(key: string): AdaptiveBatches<In, Out> {
    let batches = this.#callers.get(key);
    if (batches === undefined) {
      for (const [other, { isIdle }] of this.#callers) if (isIdle && this.#callers.size > MAX_CALLERS) this.#callers.delete(other);
      const { run, clock, onBatch } = this.#options;
      batches = new AdaptiveBatches({ run: (batch) => runBeyondCall(() => run(batch)), clock, onBatch });
      this.#callers.set(key, batches);
    }
    return batches;
  }
}
