import { Code } from "@connectrpc/connect";
import type { Clock } from "../../runtime/clock.js";
import { hasCode } from "../../runtime/errors.js";
import type { CacheCalls, Lease, ServiceKey } from "./cache-calls.js";
import type { Filled } from "./cache-client.js";
import type { Found } from "./lookup-batcher.js";

export interface FillOptions {
  key: ServiceKey;
  calls: Pick<CacheCalls, "extend" | "release">;
  clock: Clock;
  /** How long to wait for another process's value, in milliseconds. */
  maxWaitMs: number;
  /** Looks for the value, and for a lease where there is none. */
  find: () => Promise<Found>;
  compute: () => Promise<Uint8Array>;
  /** Stores a value that was made here; whether it is stored. Never rejects. */
  store: (value: Uint8Array, leaseToken?: string) => Promise<boolean>;
}

/** Waits between two looks for another process's value, in milliseconds: short at first, for values made quickly. */
const FIRST_LOOK_MS = 5;
const LAST_LOOK_MS = 50;
/** Part of a lease's time after which it is extended, so that two extensions may fail before it ends. */
const EXTEND_AFTER = 1 / 3;

/** Finds a value, or makes it under a lease that keeps every other process from making it too. */
export async function fill(options: FillOptions): Promise<Filled> {
  const { clock, find, compute, store } = options;
  const deadline = clock.monotonic() + options.maxWaitMs;
  for (let pauseMs = FIRST_LOOK_MS; ; pauseMs = Math.min(LAST_LOOK_MS, pauseMs * 1.5)) {
    const found = await find();
    switch (found.state) {
      case "hit":
        return { value: found.value, cached: true };
      case "leased":
        return { value: await computeUnderLease(options, found.lease), cached: false };
      case "filling":
        if (clock.monotonic() + pauseMs <= deadline) {
          await clock.sleep(pauseMs);
          continue;
        }
    }
    // No cache, or nobody finished in time: what follows is what a caller without a cache does.
    const value = await compute();
    await store(value);
    return { value, cached: false };
  }
}

async function computeUnderLease({ key, calls, clock, compute, store }: FillOptions, lease: Lease): Promise<Uint8Array> {
  const done = new AbortController();
  void keepLease({ key, calls, clock }, lease, done.signal);
  let stored = false;
  try {
    const value = await compute();
    stored = await store(value, lease.token);
    return value;
  } finally {
    done.abort();
    // Others must not wait for a value that does not come.
    if (!stored) calls.release(key, lease).catch(() => {});
  }
}

/** Extends the lease until `done`. A holder that dies stops doing so, and another caller takes over. */
async function keepLease(
  { key, calls, clock }: Pick<FillOptions, "key" | "calls" | "clock">,
  lease: Lease,
  done: AbortSignal,
): Promise<void> {
  while (!done.aborted) {
    await clock.sleep(lease.ttlMs * EXTEND_AFTER, done).catch(() => {});
    if (done.aborted) return;
    const lost = await calls.extend(key, lease).then(
      () => false,
      (error: unknown) => hasCode(error, Code.FailedPrecondition),
    );
    if (lost) return;
  }
}
