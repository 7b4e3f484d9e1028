import { randomUUID } from "node:crypto";
import type { Clock } from "../../runtime/clock.js";
import type { Logger } from "../../runtime/logger.js";
import { chooseDeletable } from "./retention.js";
import type { CheckpointStore, ThreadKey } from "./store.js";

/** Segments that no checkpoint names are kept so long: a put that will name them may be on its way. */
export const UNNAMED_CONTENTS_MS = 3_600_000;
/** From a put that makes a thread too long to its pruning, in milliseconds: a run's puts follow each other and are pruned together. */
const PRUNING_DELAY_MS = 1_000;
/** Threads that one step works on: a replica that stops, or a thread that is waited for, is never far. */
const BATCH = 20;
/** Threads whose last pruning is remembered. */
const REMEMBERED_THREADS = 10_000;

/** When segments that are stored now may be swept unless a checkpoint names them. */
export function sweepTimeOf(now: Date): Date {
  return new Date(now.getTime() + UNNAMED_CONTENTS_MS);
}

export interface CleaningOptions {
  store: CheckpointStore;
  clock: Clock;
  logger: Logger;
  /** Checkpoints that a thread keeps of its root graph and of each lasting subgraph; 0: all. */
  maxCheckpoints: number;
  /** Time from one round to the next, in milliseconds. */
  intervalMs: number;
}

/**
 * Deletes what is not kept: old checkpoints of a thread soon after a put, and
 * in rounds, which one replica at a time does, expired threads and contents
 * that nothing names.
 */
export class Cleaning {
  readonly #options: CleaningOptions;
  readonly #owner = randomUUID();
  readonly #stop = new AbortController();
  readonly #waiting = new Map<string, ThreadKey>();
  /** What a thread had left after its last pruning, where that is above the limit: kept because others need it. */
  readonly #left = new Map<string, number>();
  #pruning: Promise<void> | undefined;
  #rounds: Promise<void> | undefined;

  constructor(options: CleaningOptions) {
    this.#options = options;
  }

  /** Begins the rounds. */
  start(): void {
    this.#rounds ??= this.#repeat();
  }

  /** Ends the rounds; resolves when the step under way has ended. */
  async stop(): Promise<void> {
    this.#stop.abort();
    this.#waiting.clear();
    await Promise.all([this.#rounds, this.#pruning]);
  }

  /** Prunes the thread in the background when it has more checkpoints than it keeps. */
  notice(thread: ThreadKey, checkpointCount: number): void {
    const { maxCheckpoints } = this.#options;
    const key = keyOf(thread);
    if (maxCheckpoints === 0 || checkpointCount <= Math.max(maxCheckpoints, this.#left.get(key) ?? 0)) return;
    this.#waiting.set(key, thread);
    this.#pruning ??= this.#pruneWaiting();
  }

  /** Resolves when nothing is left of what `notice` began. */
  async settled(): Promise<void> {
    await this.#pruning;
  }

  /** One round, if it is this replica's turn; resolves whether it was. */
  async round(): Promise<boolean> {
    const { store, maxCheckpoints, intervalMs } = this.#options;
    const now = this.#now();
    // Longer than the interval, so that the replica that has the turn keeps it while it lives.
    if (!(await store.takeCleaningTurn(this.#owner, new Date(now.getTime() + 3 * intervalMs), now))) return false;
    await this.#batches(async () => (await store.deleteExpired(now, BATCH)) === BATCH);
    if (maxCheckpoints > 0) {
      for (const thread of await store.threadsAbove(maxCheckpoints, BATCH)) {
        if (!this.#stop.signal.aborted) await this.#prune(thread);
      }
    }
    await this.#batches(async () => {
      const threads = await store.threadsToSweep(now, BATCH);
      for (const thread of threads) await store.sweepContents(thread, new Date(now.getTime() - UNNAMED_CONTENTS_MS), sweepTimeOf(now));
      return threads.length === BATCH;
    });
    return true;
  }

  async #repeat(): Promise<void> {
    const { clock, logger, intervalMs } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      await clock.sleep(intervalMs, signal).catch(() => {});
      if (signal.aborted) return;
      await this.round().catch((err: unknown) => logger.warn("checkpoint_cleaning_failed", { err }));
    }
  }

  async #batches(step: () => Promise<boolean>): Promise<void> {
    while (!this.#stop.signal.aborted && (await step())) {
      // The next batch.
    }
  }

  async #pruneWaiting(): Promise<void> {
    const { clock, logger } = this.#options;
    while (this.#waiting.size > 0) {
      await clock.sleep(PRUNING_DELAY_MS, this.#stop.signal).catch(() => {});
      const threads = [...this.#waiting.values()];
      this.#waiting.clear();
      for (const thread of threads) {
        if (this.#stop.signal.aborted) return;
        await this.#prune(thread).catch((err: unknown) => logger.warn("checkpoint_pruning_failed", { err }));
      }
    }
    this.#pruning = undefined;
  }

  async #prune(thread: ThreadKey): Promise<void> {
    const { store, maxCheckpoints } = this.#options;
    let left = 0;
    await store.deleteCheckpoints(thread, (all) => {
      const deletable = chooseDeletable(all, maxCheckpoints);
      left = all.length - deletable.length;
      return deletable;
    });
    const key = keyOf(thread);
    this.#left.delete(key);
    if (left <= maxCheckpoints) return;
    if (this.#left.size >= REMEMBERED_THREADS) this.#left.delete(this.#left.keys().next().value ?? "");
    this.#left.set(key, left);
  }

  #now(): Date {
    return new Date(this.#options.clock.now());
  }
}

function keyOf({ tenant, threadId }: ThreadKey): string {
  return JSON.stringify([tenant, threadId]);
}
