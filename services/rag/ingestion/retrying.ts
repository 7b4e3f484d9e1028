import type { Clock } from "../../../runtime/clock.js";

/** Tries after the first one. */
const RETRIES = 3;
const FIRST_DELAY_MS = 200;

export interface RetryOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Errors that no repetition mends. */
  readonly isFinal: (error: unknown) => boolean;
}

/** Runs `work` again up to three times when it fails, after 0.2, 0.8 and 3.2 seconds. Rejects with its last error. */
export async function retrying<T>(work: () => Promise<T>, { clock, signal, isFinal }: RetryOptions): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      if (attempt === RETRIES || isFinal(error)) throw error;
      await clock.sleep(FIRST_DELAY_MS * 4 ** attempt, signal);
    }
  }
}
