import { randomUUID } from "node:crypto";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { GrpcCheckpointSaver, LeaseOptions, ThreadLease } from "../../clients/checkpoint/index.js";
import { currentTenant, runBeyondCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { runCancelled, threadBusy } from "./errors.js";
import type { WhenBusy } from "./run.js";

export interface ThreadLocksOptions {
  saver: Pick<GrpcCheckpointSaver, "acquireLease" | "acquireLeaseWithHead">;
  clock: Clock;
  /** How long a thread stays with a replica that has died, in milliseconds. */
  leaseMs: number;
}

/** Longest pause before a thread that another run has is tried again, in milliseconds. */
const TRY_AGAIN_MS = 100;

type Acquire<L> = (options: LeaseOptions) => Promise<L>;
type LeaseWithHead = Awaited<ReturnType<GrpcCheckpointSaver["acquireLeaseWithHead"]>>;

/** A run of this replica that writes a thread. */
interface Holder {
  readonly stop: AbortController;
  readonly ended: Promise<void>;
}

/** Lets one run at a time write a thread, whichever replica it runs on. */
export class ThreadLocks {
  readonly #options: ThreadLocksOptions;
  readonly #holders = new Map<string, Set<Holder>>();
  /** The ends of those that wait, so that they go on in the order in which they came to this replica. */
  readonly #queues = new Map<string, Promise<void>>();

  constructor(options: ThreadLocksOptions) {
    this.#options = options;
  }

  /**
   * Runs `work` as the thread's only writer. While another run is, throws ABORTED THREAD_BUSY, or waits for its end, or
   * ends it.
   * @param work is given a signal that aborts when the right to write was lost, or the run was cancelled.
   * @param attempt how often a replica that is gone has had the run before
   */
  async *hold<T>(thread: string, whenBusy: WhenBusy, signal: AbortSignal, work: (stopped: AbortSignal) => AsyncIterable<T>, attempt = 0): AsyncGenerator<T> {
    const acquire: Acquire<ThreadLease> = (options) => this.#options.saver.acquireLease(thread, options);
    yield* this.#holding(thread, signal, await this.#acquire(thread, whenBusy, signal, acquire, attempt), work);
  }

  /** The same for work that begins with the thread's newest checkpoint, which comes with the right to write; undefined when it has none. */
  async *holdWithHead<T>(
    thread: string,
    whenBusy: WhenBusy,
    signal: AbortSignal,
    work: (stopped: AbortSignal, head: CheckpointTuple | undefined) => AsyncIterable<T>,
  ): AsyncGenerator<T> {
    const acquire: Acquire<LeaseWithHead> = (options) => this.#options.saver.acquireLeaseWithHead(thread, options);
    const { lease, head } = await this.#acquire(thread, whenBusy, signal, acquire, 0);
    yield* this.#holding(thread, signal, lease, (stopped) => work(stopped, head));
  }

  async *#holding<T>(thread: string, signal: AbortSignal, lease: ThreadLease, work: (stopped: AbortSignal) => AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* this.alone(thread, (stopped) => work(AbortSignal.any([stopped, lease.lost])));
    } finally {
      // Given back even when the caller has gone; a lease that cannot be given back ends by itself.
      // What is not done when this replica stops is left to be taken over.
      const isLeft = reasonOf(signal.reason) === "SHUTTING_DOWN";
      await runBeyondCall(() => (isLeft ? lease.leave() : lease.release())).catch(() => {});
    }
  }

  /** Runs `work` in a thread that nobody else knows yet; it can be cancelled. */
  async *alone<T>(thread: string, work: (stopped: AbortSignal) => AsyncIterable<T>): AsyncGenerator<T> {
    const key = keyOf(thread);
    const holders = this.#holders.get(key) ?? new Set();
    this.#holders.set(key, holders);
    const stop = new AbortController();
    let end = () => {};
    const holder = { stop, ended: new Promise<void>((resolve) => (end = resolve)) };
    holders.add(holder);
    try {
      yield* work(stop.signal);
    } finally {
      holders.delete(holder);
      if (holders.size === 0) this.#holders.delete(key);
      end();
    }
  }

  /** Ends the runs of this replica on a thread, and resolves to whether there were any. */
  async stop(thread: string): Promise<boolean> {
    const holders = [...(this.#holders.get(keyOf(thread)) ?? [])];
    for (const { stop } of holders) stop.abort(runCancelled());
    await Promise.all(holders.map(({ ended }) => ended));
    return holders.length > 0;
  }

  async #acquire<L>(thread: string, whenBusy: WhenBusy, signal: AbortSignal, acquire: Acquire<L>, attempt: number): Promise<L> {
    const { leaseMs } = this.#options;
    if (whenBusy === "enqueue") return this.#inOrder(thread, () => this.#acquireOnceFree(acquire, signal));
    if (whenBusy === "interrupt") await this.stop(thread);
    return acquire({ ttlMs: leaseMs, takeOver: whenBusy === "interrupt", owner: newOwner(attempt) }).catch((error: unknown) => {
      throw reasonOf(error) === "THREAD_LEASED" ? threadBusy(thread, retryAfterMsOf(error)) : error;
    });
  }

  async #acquireOnceFree<L>(acquire: Acquire<L>, signal: AbortSignal): Promise<L> {
    const { leaseMs, clock } = this.#options;
    for (;;) {
      signal.throwIfAborted();
      try {
        return await acquire({ ttlMs: leaseMs, owner: newOwner(0) });
      } catch (error) {
        if (reasonOf(error) !== "THREAD_LEASED") throw error;
        await clock.sleep(Math.min(retryAfterMsOf(error) ?? TRY_AGAIN_MS, TRY_AGAIN_MS), signal);
      }
    }
  }

  async #inOrder<T>(thread: string, work: () => Promise<T>): Promise<T> {
    const key = keyOf(thread);
    const before = this.#queues.get(key) ?? Promise.resolve();
    const result = before.then(work);
    const end = result.then(
      () => {},
      () => {},
    );
    this.#queues.set(key, end);
    void end.then(() => this.#queues.get(key) === end && this.#queues.delete(key));
    return result;
  }
}

/** How the owners of runs' leases begin. */
export const RUN_OWNER = "agent-run:";

/** How often the run of a lease's owner had been taken over. */
export function attemptOf(owner: string): number {
  return Number(/^agent-run:(\d{1,9}):/.exec(owner)?.[1] ?? 0);
}

function newOwner(attempt: number): string {
  return `${RUN_OWNER}${attempt}:${randomUUID()}`;
}

function keyOf(thread: string): string {
  return `${currentTenant()}\n${thread}`;
}
