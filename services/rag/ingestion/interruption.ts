import type { Clock } from "../../../runtime/clock.js";
import { EmbeddingError } from "../../../runtime/embedding/embedder.js";
import { LeaseLostError, ModelChangedError } from "../store/store.js";
import { retrying } from "./retrying.js";

/** Workers that a job may cost before it is given up: what kills one kills the next. */
export const MAX_FRUITLESS_ATTEMPTS = 5;

/** Something that all of a job needs fails: nothing in it is at fault, it is tried again later. */
class JobInterruptedError extends Error {
  override name = "JobInterruptedError";
}

/** Whether an error ends this run of a job, and not what the run was at. */
export function isInterruption(error: unknown): boolean {
  return error instanceof LeaseLostError || error instanceof ModelChangedError || error instanceof JobInterruptedError;
}

/** No repetition changes it: an interruption, or a model that answers what it must not. */
function isDecided(error: unknown): boolean {
  return isInterruption(error) || error instanceof EmbeddingError;
}

/** Runs what needs store or model, again when it fails. Rejects with an interruption of the job when it keeps failing. */
export async function retryOrInterrupt<T>(work: () => Promise<T>, { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal }): Promise<T> {
  try {
    return await retrying(work, { clock, signal, isFinal: isDecided });
  } catch (cause) {
    if (isDecided(cause) || signal.aborted) throw cause;
    throw new JobInterruptedError("store or embedding model keep failing", { cause });
  }
}
