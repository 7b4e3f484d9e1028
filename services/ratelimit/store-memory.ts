import type { Clock } from "../../runtime/clock.js";
import { type BucketOutcome, type BucketState, decide, forgetAfterMs } from "./bucket.js";
import type { Limit } from "./limit.js";
import { type BucketStore, StoreUnavailableError } from "./store.js";

export interface MemoryStoreOptions {
  clock: Clock;
  /** Most keys with tokens out. Default 1,000,000. */
  maxKeys?: number;
}

interface Kept {
  state: BucketState;
  forgetAt: number;
}

const DEFAULT_MAX_KEYS = 1_000_000;
/** Other keys that a new key looks at, to forget those that have drained: faster than keys can be added. */
const SWEPT_PER_NEW_KEY = 4;

/** Buckets in this process's memory: for one replica. A restart forgets them, as the loss of a store does. */
export function openMemoryStore({ clock, maxKeys = DEFAULT_MAX_KEYS }: MemoryStoreOptions): BucketStore {
  const kept = new Map<string, Kept>();
  const startedAt = clock.now();
  let sweep = kept.entries();

  function forgetDrained(now: number): void {
    for (let i = 0; i < SWEPT_PER_NEW_KEY; i += 1) {
      const step = sweep.next();
      if (step.done === true) {
        sweep = kept.entries();
        return;
      }
      const [key, { forgetAt }] = step.value;
      if (forgetAt <= now) kept.delete(key);
    }
  }

  return {
    async decide(key, limit, op): Promise<BucketOutcome> {
      const now = clock.now();
      const known = kept.get(key);
      if (known === undefined) {
        forgetDrained(now);
        if (kept.size >= maxKeys) throw new StoreUnavailableError(`more than ${maxKeys} keys have tokens out`);
      }
      const lostAt = lossOf(limit, startedAt);
      const { state, outcome } = decide(known?.state, limit, op, now, lostAt);
      kept.set(key, { state, forgetAt: state.at + forgetAfterMs(state, limit) });
      return outcome;
    },
    ping: () => Promise.resolve(),
    async close() {
      kept.clear();
    },
  };
}

/** From when on state counts: an open limit takes any, a closed one only what was written since the last possible loss. */
export function lossOf(limit: Limit, lostAt: number): number {
  return limit.onFailure === "closed" ? lostAt : 0;
}
