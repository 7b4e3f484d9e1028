import type { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { runBeyondCall } from "../../runtime/call-context.js";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { threadBusy } from "./errors.js";

/** Lets one run at a time write a thread, whichever replica it runs on. */
export class ThreadLocks {
  readonly #saver: Pick<GrpcCheckpointSaver, "acquireLease">;

  constructor(saver: Pick<GrpcCheckpointSaver, "acquireLease">) {
    this.#saver = saver;
  }

  /**
   * Runs `work` as the thread's only writer. Throws ABORTED THREAD_BUSY while another run is.
   * @param work is given a signal that aborts when the right to write was lost.
   */
  async *hold<T>(thread: string, work: (lost: AbortSignal) => AsyncIterable<T>): AsyncGenerator<T> {
    const lease = await this.#saver.acquireLease(thread).catch((error: unknown) => {
      throw reasonOf(error) === "THREAD_LEASED" ? threadBusy(thread, retryAfterMsOf(error)) : error;
    });
    try {
      yield* work(lease.lost);
    } finally {
      // Given back even when the caller has gone; a lease that cannot be given back ends by itself.
      await runBeyondCall(() => lease.release()).catch(() => {});
    }
  }
}
