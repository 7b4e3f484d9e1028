import { Counter, Gauge, type Registry } from "prom-client";
import type { Clock } from "../../runtime/clock.js";
import { overriding } from "../../runtime/overriding.js";
import type { JobBacklog, RagStore } from "./store/store.js";

/** The store, with what goes through it counted, and the jobs that wait in it shown. */
export function measuredStore(store: RagStore, registry: Registry, clock: Clock): RagStore {
  const documents = new Counter({
    name: "rag_documents_total",
    help: "Documents that jobs were done with on this replica, by outcome: indexed, unchanged or failed.",
    labelNames: ["outcome"],
    registers: [registry],
  });
  const chunks = new Counter({
    name: "rag_chunks_indexed_total",
    help: "Chunks that jobs of this replica made searchable.",
    registers: [registry],
  });
  const reembedded = new Counter({
    name: "rag_chunks_reembedded_total",
    help: "Chunks that jobs of this replica gave a vector of their collection's next model.",
    registers: [registry],
  });
  const jobs = new Counter({
    name: "rag_jobs_finished_total",
    help: "Ingestion and re-embedding jobs that ended on this replica, by state.",
    labelNames: ["state"],
    registers: [registry],
  });
  for (const outcome of ["indexed", "unchanged", "failed"]) documents.inc({ outcome }, 0);
  for (const state of ["SUCCEEDED", "FAILED"]) jobs.inc({ state }, 0);
  showBacklog(store, registry, clock);

  return overriding(store, {
    async commitBatch(lease, batch, now) {
      const job = await store.commitBatch(lease, batch, now);
      documents.inc({ outcome: "indexed" }, batch.documents.length + (batch.windowed?.length ?? 0));
      documents.inc({ outcome: "unchanged" }, batch.skipped.length + batch.metadataChanges.length);
      documents.inc({ outcome: "failed" }, batch.failed.length);
      chunks.inc(batch.documents.reduce((sum, document) => sum + document.chunks.length, 0));
      return job;
    },
    async finishJob(lease, state, now, failure) {
      const job = await store.finishJob(lease, state, now, failure);
      jobs.inc({ state });
      return job;
    },
    async switchModel(lease, model, now) {
      const job = await store.switchModel(lease, model, now);
      if (job !== undefined) jobs.inc({ state: job.state });
      return job;
    },
    async addVectors(lease, model, vectors) {
      const job = await store.addVectors(lease, model, vectors);
      reembedded.inc(vectors.reduce((sum, { run }) => sum + run.count, 0));
      return job;
    },
  });
}

/** Jobs of the whole mesh, as each replica sees them in the store: take the maximum over replicas, not the sum. */
function showBacklog(store: RagStore, registry: Registry, clock: Clock): void {
  // One look for all gauges of a scrape.
  let looking: Promise<JobBacklog> | undefined;
  const look = () => (looking ??= store.jobBacklog().finally(() => (looking = undefined)));
  const show = (name: string, help: string, value: (backlog: JobBacklog) => number) =>
    new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        try {
          this.set(value(await look()));
        } catch {
          // What is not known is not shown; the other metrics of the process still are.
          this.remove();
        }
      },
    });
  show("rag_jobs_queued", "Ingestion and re-embedding jobs that wait for a worker in the whole mesh.", ({ queued }) => queued);
  show("rag_jobs_running", "Ingestion and re-embedding jobs under way in the whole mesh.", ({ running }) => running);
  show("rag_oldest_queued_job_seconds", "How long the job that waits longest has waited; 0 when none waits.", ({ oldestQueued }) =>
    oldestQueued === undefined ? 0 : Math.max(0, (clock.now() - oldestQueued.getTime()) / 1000),
  );
}
