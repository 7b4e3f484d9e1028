import { rm } from "node:fs/promises";
import { watchToEnd } from "../../cli/job-progress.js";
import { createRagClient, type RagClient } from "../../clients/rag/index.js";
import { type Job, JobState } from "../../gen/ragents/rag/v1/rag_pb.js";
import { systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { startRagService } from "../../services/rag/service.js";
import { modelsFolder } from "./minilm.js";

/** A rag service of the benchmark's own, over gRPC. */
export interface BenchService {
  readonly rag: RagClient;
  stop(): Promise<void>;
}

/** One that has MiniLM where this machine does. @param url the store, as RAGENTS_RAG_URL. */
export async function startBenchService(url: string, env: NodeJS.ProcessEnv = {}): Promise<BenchService> {
  const host = { logger: silentLogger, metrics: createMetrics(), clock: systemClock };
  const models = await modelsFolder();
  const service = await startRagService({ RAGENTS_RAG_PORT: "0", RAGENTS_RAG_URL: url, RAGENTS_MODELS_DIR: models, ...env }, host);
  const rag = createRagClient({ address: service.address });
  return {
    rag,
    async stop() {
      rag.close();
      await service.stop(1_000);
      await rm(models, { recursive: true });
    },
  };
}

/** Waits until a job's documents can be searched. Rejects unless all can be. */
export async function untilSearchable(rag: RagClient, job: Job | undefined): Promise<Job> {
  // A server's connections end at their age: what takes minutes is watched over several.
  const last = await watchToEnd(rag, job!, () => {});
  if (last.state !== JobState.SUCCEEDED || last.failedDocuments > 0n) throw new Error(`ingestion failed: ${JSON.stringify(last.failures)}`);
  return last;
}
