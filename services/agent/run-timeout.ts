import type { Clock } from "../../runtime/clock.js";
import { runTimedOut } from "./errors.js";

/** Made once, for making an error with its stack costs. */
const ENDED = new Error("the run has ended");

/** A signal that aborts with the caller's, or after `timeoutMs` with DEADLINE_EXCEEDED. `clear` when the run has ended. */
export function runTimeout(caller: AbortSignal, timeoutMs: number, clock: Clock): { signal: AbortSignal; clear: () => void } {
  const timeout = new AbortController();
  const ended = new AbortController();
  clock.sleep(timeoutMs, ended.signal).then(
    () => timeout.abort(runTimedOut(timeoutMs / 1000)),
    () => {},
  );
  return { signal: AbortSignal.any([caller, timeout.signal]), clear: () => ended.abort(ENDED) };
}
