import type { Clock } from "./clock.js";
import { systemClock } from "./clock.js";
import { ConfigError, flag, parseEnv, port } from "./config.js";
import { createLogger, LOG_LEVELS, type Logger } from "./logger.js";
import { meshSecurity, type MeshSecurity, openProcessSecurity } from "./mesh-security.js";
import { createMetrics, type Metrics } from "./metrics.js";
import { startProbes } from "./probes.js";
import { shutDown, untilSignalled } from "./shutdown.js";
import { tenantCallsSchema } from "./tenant-calls.js";
import type { Tracer } from "./tracing/tracer.js";
import { openTracing, TRACE_FLUSH_MS, type Tracing } from "./tracing/tracing.js";
import { z } from "zod";

/** What a process gives to each service that runs in it. */
export interface ServiceHost {
  readonly logger: Logger;
  readonly metrics: Metrics;
  readonly clock: Clock;
  /** How the service knows who calls. Default: everyone is the local tenant, in the clear. */
  readonly security?: MeshSecurity;
  /** Calls that a tenant may have under way at a replica of each service; 0, the default, for no limit. */
  readonly tenantCalls?: number;
  /** Where the service's spans go. Default: nowhere. */
  readonly tracer?: Tracer;
  /** Sends what somebody thinks of an answer. Absent where nothing takes feedback. */
  readonly score?: Tracing["score"];
}

/** A service that has started. */
export interface RunningService {
  /** The short name, e.g. "cache". */
  readonly name: string;
  /** host:port of its gRPC server (of its HTTP server, for the gateway). */
  readonly address: string;
  /** Names of what it needs and cannot reach now; empty when it is ready. */
  notReady(): Promise<string[]>;
  /** Stops taking calls, lets those under way end for at most `graceMs`, and closes its stores. */
  stop(graceMs: number): Promise<void>;
}

/** Variables that every process reads. */
export const hostConfigSchema = z.object({
  RAGENTS_HOST: z.string().default("127.0.0.1"),
  RAGENTS_METRICS_PORT: port(9090),
  RAGENTS_LOG_LEVEL: z.enum(LOG_LEVELS, `give one of ${LOG_LEVELS.join(", ")}`).default("info"),
  RAGENTS_PROCESS_METRICS: flag(true),
  ...tenantCallsSchema.shape,
});

/** Longest time from a signal to the process's end, in milliseconds. */
const SHUTDOWN_GRACE_MS = 25_000;

/** Runs one service as a process of its own: probes, signals, graceful end. Exits 1 with a sentence when it cannot start. */
export async function runService(
  name: string,
  start: (env: NodeJS.ProcessEnv, host: ServiceHost) => Promise<RunningService>,
): Promise<void> {
  try {
    const config = parseEnv(process.env, hostConfigSchema);
    const logger = createLogger({ level: config.RAGENTS_LOG_LEVEL, fields: { service: name } });
    const metrics = createMetrics({ processMetrics: config.RAGENTS_PROCESS_METRICS });
    const shared = await openProcessSecurity(process.env, { logger, clock: systemClock });
    const security = meshSecurity({ process: shared, service: name, clock: systemClock, required: () => shared.keys !== undefined });
    const tracing = openTracing(process.env, { logger, metrics, clock: systemClock });
    const host = { logger, metrics, clock: systemClock, security, tracer: tracing.tracer(name), score: tracing.score, tenantCalls: config.RAGENTS_TENANT_CALLS };
    const service = await start(process.env, host);
    const probes = await startProbes({
      host: config.RAGENTS_HOST,
      port: config.RAGENTS_METRICS_PORT,
      metrics: () => metrics.registry.metrics(),
      notReady: () => service.notReady(),
    });
    logger.info("started", { address: service.address, probes: probes.address });
    const signal = await untilSignalled();
    logger.info("stopping", { signal });
    await shutDown(
      [
        [name, () => service.stop(SHUTDOWN_GRACE_MS - TRACE_FLUSH_MS)],
        ["traces", () => tracing.close(TRACE_FLUSH_MS)],
        ["probes", () => probes.close()],
        ["security", async () => shared.close()],
      ],
      SHUTDOWN_GRACE_MS,
      logger,
    );
    process.exit(0);
  } catch (error) {
    fail(error);
  }
}

/** Says in one sentence why the process cannot start, and ends it. Unforeseen errors keep their stack. */
export function fail(error: unknown): never {
  const foreseen = error instanceof ConfigError || (error instanceof Error && error.name === "PortInUseError");
  process.stderr.write(`${foreseen ? (error as Error).message : error instanceof Error ? error.stack : String(error)}\n`);
  process.exit(1);
}
