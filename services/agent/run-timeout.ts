import { runTimedOut } from "./errors.js";

/** A signal that aborts with the caller's, or after `timeoutMs` with DEADLINE_EXCEEDED. `clear` when the run has ended. */
export function runTimeout(caller: AbortSignal, timeoutMs: number): { signal: AbortSignal; clear: () => void } {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(runTimedOut(timeoutMs / 1000)), timeoutMs);
  return { signal: AbortSignal.any([caller, controller.signal]), clear: () => clearTimeout(timer) };
}
