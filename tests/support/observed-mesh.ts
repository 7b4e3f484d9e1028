import { startGatewayService } from "../../gateway/service.js";
import { systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { type ProbeServer, startProbes } from "../../runtime/probes.js";
import type { RunningService, ServiceHost } from "../../runtime/service.js";
import { openTracing } from "../../runtime/tracing/tracing.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { startAgentService } from "../../services/agent/service.js";
import { startCacheService } from "../../services/cache/service.js";
import { startCheckpointService } from "../../services/checkpoint/service.js";
import { startRagService } from "../../services/rag/service.js";
import { startRateLimitService } from "../../services/ratelimit/service.js";
import { FREE_PORTS } from "./program.js";

/** The Deployments of a mesh, in this process, each with metrics of its own as its pod would have them. */
export interface ObservedMesh {
  /** The gateway's URL. */
  readonly url: string;
  /** host:port of each Deployment's probes and metrics, by its name. */
  readonly probes: ReadonlyMap<string, string>;
  /** What /metrics of a Deployment shows. */
  metricsOf(name: string): Promise<string>;
  stop(): Promise<void>;
}

export async function startObservedMesh(variables: NodeJS.ProcessEnv = {}): Promise<ObservedMesh> {
  const isElsewhere = ["RAGENTS_RAG_URL", "RAGENTS_CHECKPOINT_URL"].every((name) => variables[name]?.startsWith("postgres"));
  const sql = isElsewhere ? undefined : await openPglite();
  const shared = sql === undefined ? {} : { sql };
  const env: NodeJS.ProcessEnv = { ...FREE_PORTS, ...variables };
  const probes = new Map<string, string>();
  const running: [service: RunningService, probes: ProbeServer][] = [];
  const start = async (name: string, begin: (host: ServiceHost) => Promise<RunningService>) => {
    const metrics = createMetrics({ processMetrics: true });
    const tracing = openTracing(env, { logger: silentLogger, metrics, clock: systemClock });
    const service = await begin({ logger: silentLogger, metrics, clock: systemClock, tracer: tracing.tracer(name), score: tracing.score });
    const served = await startProbes({ host: "127.0.0.1", port: 0, metrics: () => metrics.registry.metrics(), notReady: () => service.notReady() });
    running.unshift([service, served]);
    probes.set(name, served.address);
    return service.address;
  };
  env["RAGENTS_CACHE_ADDRESS"] = await start("cache", (host) => startCacheService(env, host));
  env["RAGENTS_CHECKPOINT_ADDRESS"] = await start("checkpoint", (host) => startCheckpointService(env, host, shared));
  env["RAGENTS_RATELIMIT_ADDRESS"] = await start("ratelimit", (host) => startRateLimitService(env, host));
  env["RAGENTS_RAG_ADDRESS"] = await start("rag", (host) => startRagService({ ...env, RAGENTS_RAG_ROLE: "serve" }, host, shared));
  await start("rag-ingest", (host) => startRagService({ ...env, RAGENTS_RAG_ROLE: "ingest" }, host, shared));
  env["RAGENTS_AGENT_ADDRESS"] = await start("agent", (host) => startAgentService(env, host));
  const url = `http://${await start("gateway", (host) => startGatewayService(env, host))}`;
  return {
    url,
    probes,
    metricsOf: async (name) => (await fetch(`http://${probes.get(name)}/metrics`)).text(),
    async stop() {
      for (const [service, served] of running) {
        await service.stop(2_000);
        await served.close();
      }
      await sql?.close();
    },
  };
}
