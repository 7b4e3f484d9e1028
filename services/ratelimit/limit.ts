/** One window of a limit: a token bucket of `capacity` tokens, into which `limit` tokens come back in each `periodMs`. */
export interface LimitWindow {
  readonly periodMs: number;
  readonly limit: number;
  readonly capacity: number;
}

/** What happens while the store does not answer, and to buckets whose state may have been lost with it. */
export type FailureChoice = "open" | "closed";

/** Several windows that are decided at once: a request passes when all of them have its cost. */
export interface Limit {
  /** At least one, shortest period first, no period twice. */
  readonly windows: readonly LimitWindow[];
  /**
   * open: requests pass, and lost buckets are full again (one more burst for each loss).
   * closed: requests are refused, and lost buckets count as empty, so that no loss admits more than the limit.
   */
  readonly onFailure: FailureChoice;
}

/** The largest cost that can ever pass. */
export function largestCost(limit: Limit): number {
  return Math.min(...limit.windows.map((window) => window.capacity));
}
