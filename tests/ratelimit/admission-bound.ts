import type { LimitWindow } from "../../services/ratelimit/limit.js";

/** Requests that were let pass: when, in milliseconds of one clock, and at which cost. */
export interface Admission {
  atMs: number;
  cost: number;
}

/**
 * By how many tokens a history exceeds "admitted <= capacity + rate x time" in the worst of all its intervals; negative
 * when there was room in every one. All intervals are covered at once: a bucket that drains at the rate and is filled by
 * each admission is above the capacity exactly when the interval since it was last empty breaks the bound.
 */
export function excessOf(history: readonly Admission[], window: LimitWindow): number {
  let level = 0;
  let last = Number.NEGATIVE_INFINITY;
  let worst = Number.NEGATIVE_INFINITY;
  for (const { atMs, cost } of [...history].sort((a, b) => a.atMs - b.atMs)) {
    level = Math.max(0, level - ((atMs - last) * window.limit) / window.periodMs) + cost;
    last = atMs;
    worst = Math.max(worst, level - window.capacity);
  }
  return worst;
}
