import type { Clock } from "../../../runtime/clock.js";
import type { JobPhase, JobRecord, JobStore } from "../store/store.js";
import type { JobChanges } from "./job-changes.js";

/** Jobs that other replicas run are looked at this often. */
const POLL_MS = 500;

export interface WatchDependencies {
  readonly store: Pick<JobStore, "getJob">;
  readonly changes: JobChanges;
  readonly clock: Clock;
  /** What this replica's run of the job is at. */
  readonly phaseOf: (jobId: string) => JobPhase | undefined;
}

/** The job as it is, and again after every change, until it has ended. Ends at once when there is none. */
export async function* watchJob(
  { store, changes, clock, phaseOf }: WatchDependencies,
  tenant: string,
  jobId: string,
  signal: AbortSignal,
): AsyncGenerator<JobRecord> {
  let sent = "";
  while (!signal.aborted) {
    // Listening begins before the look: a change in between is not missed.
    const look = new AbortController();
    const changed = changes.next(jobId, AbortSignal.any([look.signal, signal]));
    const stored = await store.getJob(tenant, jobId);
    if (stored === undefined) return look.abort();
    const job = { ...stored, phase: stored.state === "RUNNING" ? (phaseOf(jobId) ?? stored.phase) : stored.phase };
    const now = JSON.stringify(job);
    if (now !== sent) yield job;
    sent = now;
    if (job.endTime !== undefined) return look.abort();
    await Promise.race([changed, clock.sleep(POLL_MS, AbortSignal.any([look.signal, signal])).catch(() => {})]);
    look.abort();
  }
}
