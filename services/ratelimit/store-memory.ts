import type { Clock } from "../../runtime/clock.js";
import { type BucketState, decide, forgetAfterMs } from "./bucket.js";
import { ForgettingMap } from "./forgetting-map.js";
import type { Limit } from "./limit.js";
import { type BucketStore, StoreUnavailableError } from "./store.js";

export interface MemoryStoreOptions {
  clock: Clock;
  /** Most keys with tokens out. Default 1,000,000. */
  maxKeys?: number;
}

export const DEFAULT_MAX_KEYS = 1_000_000;

/** Buckets in this process's memory: for one replica. A restart forgets them, as the loss of a store does. */
export function openMemoryStore({ clock, maxKeys = DEFAULT_MAX_KEYS }: MemoryStoreOptions): BucketStore {
  const states = new ForgettingMap<BucketState>(maxKeys);
  const startedAt = clock.now();

  return {
    async decide(key, limit, op) {
      const now = clock.now();
      if (!states.hasRoomFor(key, now)) throw new StoreUnavailableError(`more than ${maxKeys} keys have tokens out`);
      const { state, outcome } = decide(states.get(key), limit, op, now, lossOf(limit, startedAt));
      states.set(key, state, state.at + forgetAfterMs(state, limit));
      return outcome;
    },
    ping: () => Promise.resolve(),
    async close() {
      states.clear();
    },
  };
}

/** From when on state counts: an open limit takes any, a closed one only what was written since the last possible loss. */
export function lossOf(limit: Limit, lostAt: number): number {
  return limit.onFailure === "closed" ? lostAt : 0;
}
