import { type AgentClient, createAgentClient } from "../../clients/agent/index.js";
import { createRagClient, type RagClient } from "../../clients/rag/index.js";
import { JobState } from "../../gen/ragents/rag/v1/rag_pb.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics, type Metrics } from "../../runtime/metrics.js";
import type { RunningService } from "../../runtime/service.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { startAgentService } from "../../services/agent/service.js";
import { startCacheService } from "../../services/cache/service.js";
import { startCheckpointService } from "../../services/checkpoint/service.js";
import { startRateLimitService } from "../../services/ratelimit/service.js";
import { startRagService } from "../../services/rag/service.js";
import { type OpenAiDouble, type Script, startOpenAiDouble } from "../servers/openai-double.js";

/** The agent service and all that it calls, in this process, over real gRPC and an embedded database in memory. */
export interface AgentMesh {
  readonly agent: AgentClient;
  readonly rag: RagClient;
  readonly metrics: Metrics;
  /** Variables that a replica in a process of its own needs. */
  readonly env: Record<string, string>;
  /** Where the rate limit service is. */
  readonly rateLimitAddress: string;
  /** Another replica of the agent service, with other variables. */
  replica(env?: NodeJS.ProcessEnv, clock?: Clock): Promise<AgentClient>;
  /** Ends a service for good. */
  end(service: "cache" | "checkpoint" | "ratelimit" | "rag"): Promise<void>;
  /** Ingests texts by id and resolves when they can be found. */
  ingest(texts: Record<string, string>, collection?: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startAgentMesh(env: NodeJS.ProcessEnv = {}): Promise<AgentMesh> {
  const host = () => ({ logger: silentLogger, metrics: createMetrics(), clock: systemClock });
  const sql = await openPglite();
  const services: RunningService[] = [];
  const closers: (() => void)[] = [];
  const started = async (service: Promise<RunningService>) => {
    const running = await service;
    services.unshift(running);
    return running.address;
  };
  const base: NodeJS.ProcessEnv = {
    RAGENTS_CACHE_PORT: "0",
    RAGENTS_CHECKPOINT_PORT: "0",
    RAGENTS_RATELIMIT_PORT: "0",
    RAGENTS_RAG_PORT: "0",
    RAGENTS_AGENT_PORT: "0",
    RAGENTS_INGEST_ROOTS: import.meta.dirname,
  };
  base["RAGENTS_CACHE_ADDRESS"] = await started(startCacheService(base, host()));
  base["RAGENTS_CHECKPOINT_ADDRESS"] = await started(startCheckpointService(base, host(), { sql }));
  base["RAGENTS_RATELIMIT_ADDRESS"] = await started(startRateLimitService({ ...base, ...env }, host()));
  base["RAGENTS_RAG_ADDRESS"] = await started(startRagService({ ...base, ...env }, host(), { sql }));

  const agentHost = host();
  const open = async (extra: NodeJS.ProcessEnv, metrics: Metrics, clock: Clock = systemClock) => {
    const address = await started(startAgentService({ ...base, ...env, ...extra }, { ...host(), metrics, clock }));
    const client = createAgentClient({ address, timeoutMs: 20_000 });
    closers.push(() => client.close());
    return client;
  };
  const agent = await open({}, agentHost.metrics);
  const rag = createRagClient({ address: base["RAGENTS_RAG_ADDRESS"] });
  closers.push(() => rag.close());

  return {
    agent,
    rag,
    metrics: agentHost.metrics,
    env: Object.fromEntries(Object.entries({ ...base, ...env }).filter(([name]) => !name.endsWith("_PORT"))) as Record<string, string>,
    replica: (extra = {}, clock = systemClock) => open(extra, createMetrics(), clock),
    async end(name) {
      const at = services.findIndex((service) => service.name === name);
      await services.splice(at, 1)[0]?.stop(0);
    },
    rateLimitAddress: base["RAGENTS_RATELIMIT_ADDRESS"],
    async ingest(texts, collection = "default") {
      const documents = Object.entries(texts).map(([id, text]) => ({ id, text, mimeType: "text/markdown" }));
      const { job } = await rag.ingestDocuments({ collection, documents });
      for await (const update of rag.watchJob({ job: job?.id ?? "" })) {
        if (update.job?.state === JobState.SUCCEEDED) return;
      }
      throw new Error("the texts were not ingested");
    },
    async stop() {
      for (const close of closers) close();
      for (const service of services) await service.stop(2_000);
      await sql.close();
    },
  };
}

/** What a mesh of `startModelMesh` can be asked about. */
const PUMP = { "pump.md": "# Pump P-7\n\nThe pump P-7 stops by itself when the pressure is above 3 bar." };

/** A mesh whose model, "llama-3", is a double that is asked once, with documents. Its stop ends both. */
export async function startModelMesh(
  env: NodeJS.ProcessEnv = {},
  { script, texts = PUMP }: { script?: Script; texts?: Record<string, string> } = {},
): Promise<{ mesh: AgentMesh; double: OpenAiDouble }> {
  const double = await startOpenAiDouble(script);
  const mesh = await startAgentMesh({ OPENAI_BASE_URL: double.baseUrl, OPENAI_MODEL: "llama-3", RAGENTS_LLM_RETRIES: "0", ...env });
  if (Object.keys(texts).length > 0) await mesh.ingest(texts);
  const stop = async () => {
    await mesh.stop();
    await double.close();
  };
  return { mesh: { ...mesh, stop }, double };
}
