import { join } from "node:path";
import { AggregatorRegistry } from "prom-client";
import { z } from "zod";
import { loadGatewayConfig, refuseStrangers } from "../gateway/config.js";
import { openAuthentication } from "../gateway/identity/authentication.js";
import { startGatewayService } from "../gateway/service.js";
import { systemClock } from "../runtime/clock.js";
import { createProcessKey } from "../runtime/identity/identity-keys.js";
import { meshSecurity } from "../runtime/mesh-security.js";
import { flag, parseEnv, port } from "../runtime/config.js";
import { createLogger, LOG_LEVELS } from "../runtime/logger.js";
import { createMetrics } from "../runtime/metrics.js";
import { startProbes } from "../runtime/probes.js";
import type { RunningService, ServiceHost } from "../runtime/service.js";
import { shutDown } from "../runtime/shutdown.js";
import { tenantCallsSchema } from "../runtime/tenant-calls.js";
import { openTracing, TRACE_FLUSH_MS } from "../runtime/tracing/tracing.js";
import { openPglite } from "../runtime/sql/pglite.js";
import { startCacheService } from "../services/cache/service.js";
import { startCheckpointService } from "../services/checkpoint/service.js";
import { startRagService } from "../services/rag/service.js";
import { startRateLimitService } from "../services/ratelimit/service.js";
import { banner } from "./banner.js";
import { AgentThread } from "./agent-thread.js";
import { openLocalSecurity } from "./local-security.js";
import { namingPort } from "./naming-port.js";
import { openDataFolder } from "../runtime/data-folder.js";

const schema = z.object({
  RAGENTS_DATA_DIR: z.string().default(".ragents"),
  RAGENTS_HOST: z.string().default("127.0.0.1"),
  RAGENTS_METRICS_PORT: port(9090),
  RAGENTS_PROCESS_METRICS: flag(true),
  RAGENTS_LOG_LEVEL: z.enum(LOG_LEVELS, `give one of ${LOG_LEVELS.join(", ")}`).default("warn"),
  RAGENTS_CHECKPOINT_URL: z.string().optional(),
  RAGENTS_RAG_URL: z.string().optional(),
  RAGENTS_GATEWAY_URL: z.string().optional(),
  ...tenantCallsSchema.shape,
});

type Start = (env: NodeJS.ProcessEnv, host: ServiceHost) => Promise<RunningService>;

/** Time from the signal to the end, in milliseconds. */
const SHUTDOWN_GRACE_MS = 10_000;

/** A mesh that runs in this process. */
export interface LocalMesh {
  /** What to tell the person who started it. */
  readonly banner: string;
  /** host:port of /metrics, /livez and /readyz. */
  readonly probes: string;
  /** The services by name, the gateway last. */
  readonly services: readonly RunningService[];
  /** Ends everything in reverse order; never rejects. */
  stop(): Promise<void>;
}

/**
 * Starts all services and the gateway in this process, each with its own gRPC
 * server on loopback, on one embedded database where no other is configured; the
 * agent service and the database each in a thread of its own.
 * Throws ConfigError or PortInUseError with nothing left running.
 */
export async function launch(env: NodeJS.ProcessEnv): Promise<LocalMesh> {
  const config = parseEnv(env, schema);
  const gatewayConfig = loadGatewayConfig(env);
  const logger = createLogger({ level: config.RAGENTS_LOG_LEVEL });
  const metrics = createMetrics({ processMetrics: config.RAGENTS_PROCESS_METRICS });
  const started: [name: string, stop: () => Promise<void>][] = [];
  const stop = () => shutDown(started.splice(0).reverse(), SHUTDOWN_GRACE_MS, logger);
  try {
    const tracing = openTracing(env, { logger, metrics, clock: systemClock });
    started.push(["traces", () => tracing.close(TRACE_FLUSH_MS)]);
    const folder = openDataFolder(config.RAGENTS_DATA_DIR);
    started.push(["data folder", async () => folder.release()]);
    const agentThread = new AgentThread();
    started.push(["agent thread", () => agentThread.close()]);
    const sql = needsEmbeddedSql(config) ? await openPglite(join(folder.path, "postgres")) : undefined;
    if (sql !== undefined) started.push(["embedded database", () => sql.close()]);

    const authentication = await openAuthentication(env, { logger, clock: systemClock }, { sql });
    started.push(["authentication", () => authentication.close()]);
    refuseStrangers(gatewayConfig, authentication.required());
    const own = { key: createProcessKey(), folder: folder.path };
    const security = await openLocalSecurity(env, { logger, clock: systemClock }, own);
    started.push(["security", async () => security.close()]);

    const { RAGENTS_LOG_LEVEL: logLevel, RAGENTS_TENANT_CALLS: tenantCalls } = config;
    const starts: [name: string, start: Start][] = [
      // In the order in which they need each other.
      ["cache", startCacheService],
      ["checkpoint", (env, host) => startCheckpointService(env, host, { sql })],
      ["ratelimit", startRateLimitService],
      ["rag", (env, host) => startRagService(env, host, { sql })],
      ["agent", (env, host) => agentThread.start({ env, logLevel, tenantCalls, own }, host.security!.identify)],
      ["gateway", (env, host) => startGatewayService(env, host, { authentication })],
    ];
    const addresses: NodeJS.ProcessEnv = { ...env };
    const services: RunningService[] = [];
    for (const [name, start] of starts) {
      const host: ServiceHost = {
        logger: logger.child({ service: name }),
        metrics,
        clock: systemClock,
        tracer: tracing.tracer(name),
        score: tracing.score,
        tenantCalls,
        security: meshSecurity({
          process: security,
          service: name,
          clock: systemClock,
          required: authentication.required,
          // A gRPC client of this machine may come with an API key, as it would through Envoy.
          authenticate: (header) => authentication.identity((name) => header.get(name)),
        }),
      };
      const service = await namingPort(portVariable(name), () => start(addresses, host));
      addresses[`RAGENTS_${name.toUpperCase()}_ADDRESS`] = service.address;
      services.push(service);
      started.push([name, () => service.stop(SHUTDOWN_GRACE_MS)]);
    }
    const notReady = async () => (await Promise.all(services.map((service) => service.notReady()))).flat();
    const counted = async () => {
      const parts = await Promise.all([metrics.registry.getMetricsAsJSON(), agentThread.metrics()]);
      return AggregatorRegistry.aggregate(parts).metrics();
    };
    const probes = await namingPort("RAGENTS_METRICS_PORT", () =>
      startProbes({ host: config.RAGENTS_HOST, port: config.RAGENTS_METRICS_PORT, metrics: counted, notReady }),
    );
    started.push(["probes", () => probes.close()]);
    const authenticates = authentication.required();
    return {
      banner: banner({ services, probes: probes.address, folder: folder.path, env, authenticates }),
      probes: probes.address,
      services,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function portVariable(service: string): string {
  return service === "gateway" ? "RAGENTS_PORT" : `RAGENTS_${service.toUpperCase()}_PORT`;
}

function needsEmbeddedSql(config: z.infer<typeof schema>): boolean {
  return [config.RAGENTS_CHECKPOINT_URL, config.RAGENTS_RAG_URL, config.RAGENTS_GATEWAY_URL].includes(undefined);
}
