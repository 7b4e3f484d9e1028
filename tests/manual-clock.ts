import type { Clock } from "../runtime/clock.js";

/** A clock that stands still until a test moves it. */
export class ManualClock implements Clock {
  #ms = 0;
  #sleepers: { until: number; wake: () => void }[] = [];
  /** What now() shows at the start, in milliseconds since the Unix epoch. */
  readonly #epochMs: number;

  constructor(epochMs = Date.UTC(2026, 0, 1)) {
    this.#epochMs = epochMs;
  }

  now(): number {
    return this.#epochMs + this.#ms;
  }

  monotonic(): number {
    return this.#ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      this.#sleepers.push({ until: this.#ms + ms, wake: resolve });
    });
  }

  /** Moves the time on and wakes, in order, those whose sleep is over; resolves when what they do at once is done. */
  async advance(ms: number): Promise<void> {
    // What was started just before may not have gone to sleep yet.
    await new Promise((resolve) => setImmediate(resolve));
    const end = this.#ms + ms;
    for (;;) {
      this.#sleepers.sort((a, b) => a.until - b.until);
      const next = this.#sleepers[0];
      if (next === undefined || next.until > end) break;
      this.#sleepers.shift();
      this.#ms = Math.max(this.#ms, next.until);
      next.wake();
      await new Promise((resolve) => setImmediate(resolve));
    }
    this.#ms = end;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
