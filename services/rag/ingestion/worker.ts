import { randomUUID } from "node:crypto";
import { backgroundCall, currentCall, runDetached, runInCall } from "../../../runtime/call-context.js";
import { ReembeddingRun } from "../reembedding/reembedding-run.js";
import { type ClaimedJob, LeaseLostError, ModelChangedError } from "../store/store.js";
import { JobRun, type JobRunDependencies } from "./job-run.js";

/** A worker that is not heard of for this long has lost its jobs. */
const LEASE_MS = 15_000;
const RENEW_MS = 4_000;
/** Other replicas' jobs, and those that wait after a failure, are looked for this often. */
const POLL_MS = 1_000;
/** After something failed that may mend. */
const RETRY_MS = 5_000;
const PRUNE_MS = 60_000;
/** Jobs that ended are shown for 30 days. */
const KEEP_ENDED_MS = 30 * 24 * 3_600_000;
/** Vectors stay this long after their last use: a question that began before a switch may still read them. */
const UNUSED_VECTORS_MS = 60_000;
/** Rows of them that go at a time: one part of a second's work, so that they do not stand in anybody's way. */
const UNUSED_ROWS_AT_ONCE = 500;
/** Jobs of one replica at once: a small one does not wait for a large one to end. */
const PARALLEL_JOBS = 4;

/** One worker's run of a job, of whatever kind. */
type Run = JobRun | ReembeddingRun;

/** Runs queued jobs, of this replica and of those that died. */
export class IngestionWorker {
  readonly #owner = randomUUID();
  readonly #deps: JobRunDependencies;
  readonly #stopping = new AbortController();
  readonly #running = new Map<string, { run: Run; lost: AbortController; done: Promise<void> }>();
  #loop: Promise<void> = Promise.resolve();
  #wake: () => void = () => {};

  constructor(deps: JobRunDependencies) {
    this.#deps = deps;
  }

  /** Begins to look for jobs. */
  start(): void {
    this.#loop = runDetached(() => this.#lookForJobs());
  }

  /** There may be a new job. */
  wake(): void {
    this.#wake();
  }

  /** What this replica's run of the job is at; undefined when it has none. */
  phaseOf(jobId: string): JobRun["phase"] | undefined {
    return this.#running.get(jobId)?.run.phase;
  }

  /** The job was cancelled: this replica's run of it, if there is one, ends now instead of at its next write. */
  abandon(jobId: string): void {
    this.#running.get(jobId)?.lost.abort(new LeaseLostError("the job was cancelled"));
  }

  /** Stops between two batches and gives the jobs back; other replicas, or the next start, go on with them. */
  async stop(): Promise<void> {
    this.#stopping.abort(new Error("the service is shutting down"));
    this.#wake();
    await this.#loop;
    await Promise.all([...this.#running.values()].map(({ done }) => done));
  }

  async #lookForJobs(): Promise<void> {
    const { store, clock, logger } = this.#deps;
    let nextPrune = clock.now() + PRUNE_MS;
    while (!this.#stopping.signal.aborted) {
      const woken = this.#untilWoken();
      try {
        while (this.#running.size < PARALLEL_JOBS && !this.#stopping.signal.aborted) {
          const claimed = await store.claimJob(this.#owner, new Date(clock.now()), new Date(clock.now() + LEASE_MS));
          if (claimed === undefined) break;
          this.#begin(claimed);
        }
        if (clock.now() >= nextPrune) {
          await store.pruneJobs(new Date(clock.now()), new Date(clock.now() - KEEP_ENDED_MS));
          nextPrune = clock.now() + PRUNE_MS;
        }
        await store.removeUnusedVectors(new Date(clock.now() - UNUSED_VECTORS_MS), UNUSED_ROWS_AT_ONCE);
      } catch (err) {
        logger.error("job_claim_failed", { err });
      }
      await woken;
    }
  }

  /** Resolves when there may be something to do: after a call of wake(), or after a while. */
  async #untilWoken(): Promise<void> {
    const wait = new AbortController();
    this.#wake = () => wait.abort();
    await this.#deps.clock.sleep(POLL_MS, wait.signal).catch(() => {});
  }

  #begin(claimed: ClaimedJob): void {
    const { jobId } = claimed.lease;
    const lost = new AbortController();
    const signal = AbortSignal.any([lost.signal, this.#stopping.signal]);
    const { tenant, targetModel } = claimed.job;
    const run = targetModel === undefined ? new JobRun(claimed, this.#deps, signal) : new ReembeddingRun(claimed, targetModel, this.#deps, signal);
    const span = this.#deps.tracer?.start(targetModel === undefined ? "ingest" : "reembed", { tenant, requestId: jobId }, { isTrace: true });
    const call = backgroundCall({ tenant }, jobId, signal, span);
    const done = runInCall(call, () => this.#see(claimed, run, lost)).finally(() => {
      this.#running.delete(jobId);
      this.#wake();
    });
    this.#running.set(jobId, { run, lost, done });
    this.#deps.onChange(jobId);
  }

  /** Sees a run through to its end. Never rejects. */
  async #see(claimed: ClaimedJob, run: Run, lost: AbortController): Promise<void> {
    const { store, clock, logger } = this.#deps;
    const { lease } = claimed;
    const span = currentCall()?.span;
    const ended = new AbortController();
    const renewing = this.#keepLease(claimed, run, ended.signal, lost);
    try {
      const job = await run.run();
      span?.set({ metadata: { job: job.id, collection: claimed.collection.id, state: job.state, documents: job.doneDocuments, failed: job.failedDocuments, chunks: job.chunks } });
      logger.info("job_ended", { job: lease.jobId, state: job.state, documents: job.doneDocuments, failed: job.failedDocuments, chunks: job.chunks });
    } catch (err) {
      span?.end(err);
      if (err instanceof LeaseLostError || lost.signal.aborted) {
        logger.info("job_lost", { job: lease.jobId });
      } else if (this.#stopping.signal.aborted || err instanceof ModelChangedError) {
        await store.releaseJob(lease).catch((failure: unknown) => logger.warn("job_release_failed", { job: lease.jobId, err: failure }));
      } else {
        logger.error("job_interrupted", { job: lease.jobId, attempt: lease.attempt, err });
        // When this fails too, the lease runs out.
        await store.postponeJob(lease, new Date(clock.now() + RETRY_MS)).catch(() => {});
      }
    } finally {
      span?.end();
      ended.abort();
      await renewing;
    }
  }

  async #keepLease(claimed: ClaimedJob, run: Run, ended: AbortSignal, lost: AbortController): Promise<void> {
    const { store, clock, logger } = this.#deps;
    while (!ended.aborted) {
      await clock.sleep(RENEW_MS, ended).catch(() => {});
      if (ended.aborted) return;
      try {
        await store.renewLease(claimed.lease, { phase: run.phase }, new Date(clock.now() + LEASE_MS));
      } catch (err) {
        if (err instanceof LeaseLostError) return lost.abort(err);
        logger.warn("job_lease_not_renewed", { job: claimed.lease.jobId, err });
      }
    }
  }
}
