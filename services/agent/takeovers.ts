import { randomUUID } from "node:crypto";
import { Counter, type Registry } from "prom-client";
import type { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { backgroundCall, MESH_IDENTITY, runDetached, runInCall } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import type { Logger } from "../../runtime/logger.js";
import { attemptOf, RUN_OWNER } from "./thread-locks.js";

/** What became of a run whose replica is gone. */
export type TakeoverOutcome = "finished" | "failed" | "left";

export interface TakeoversOptions {
  saver: Pick<GrpcCheckpointSaver, "expiredLeases">;
  /** Goes on with the run of a thread of the current call's tenant, for the `attempt`th time. */
  takeOver: (threadId: string, attempt: number, signal: AbortSignal) => Promise<"finished" | "left">;
  clock: Clock;
  logger: Logger;
  registry: Registry;
  /** Time between two looks, in milliseconds. */
  intervalMs: number;
}

/** Runs that a replica goes on with at the same time. */
const AT_ONCE = 4;

/**
 * Looks for threads whose replica died, or stopped, in the middle of a run, and goes on with the runs that outlive their callers, also
 * when nobody asks for them again.
 */
export class Takeovers {
  readonly #options: TakeoversOptions;
  readonly #outcomes: Counter<"outcome">;
  readonly #stop = new AbortController();
  readonly #running = new Map<string, Promise<void>>();
  #rounds: Promise<void> | undefined;

  constructor(options: TakeoversOptions) {
    this.#options = options;
    this.#outcomes = new Counter({
      name: "agent_takeovers_total",
      help: "Runs whose replica died or stopped: finished here, failed here, or left as they were since nobody may or should go on with them.",
      labelNames: ["outcome"],
      registers: [options.registry],
    });
    for (const outcome of ["finished", "failed", "left"] satisfies TakeoverOutcome[]) this.#outcomes.inc({ outcome }, 0);
  }

  /** Begins to look. */
  start(): void {
    this.#rounds ??= runDetached(() => this.#repeat());
  }

  /** Ends the looking; the runs under way are ended by their owner. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#rounds, ...this.#running.values()]);
  }

  async #repeat(): Promise<void> {
    const { clock, logger, intervalMs } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      // Not all replicas at the same moment.
      await clock.sleep(intervalMs * (0.5 + Math.random()), signal).catch(() => {});
      if (!signal.aborted) await this.#look().catch((err: unknown) => logger.debug("takeover_search_failed", { err }));
    }
  }

  async #look(): Promise<void> {
    const free = AT_ONCE - this.#running.size;
    if (free === 0) return;
    const mesh = backgroundCall(MESH_IDENTITY, randomUUID(), this.#stop.signal);
    const expired = await runInCall(mesh, () => this.#options.saver.expiredLeases(RUN_OWNER, AT_ONCE));
    const fresh = expired.map((lease) => ({ ...lease, key: `${lease.tenant}\n${lease.threadId}` })).filter(({ key }) => !this.#running.has(key));
    for (const { key, tenant, threadId, owner } of fresh.slice(0, free)) {
      const call = backgroundCall({ tenant }, randomUUID(), this.#stop.signal);
      const done = runInCall(call, () => this.#takeOver(threadId, attemptOf(owner) + 1)).finally(() => this.#running.delete(key));
      this.#running.set(key, done);
    }
  }

  async #takeOver(threadId: string, attempt: number): Promise<void> {
    const { takeOver, logger } = this.#options;
    try {
      const outcome = await takeOver(threadId, attempt, this.#stop.signal);
      this.#outcomes.inc({ outcome });
      logger.info("run_taken_over", { outcome, attempt });
    } catch (err) {
      // Another replica was quicker.
      if (reasonOf(err) === "THREAD_BUSY" || this.#stop.signal.aborted) return;
      this.#outcomes.inc({ outcome: "failed" });
      logger.warn("takeover_failed", { attempt, err });
    }
  }
}
