import { parentPort } from "node:worker_threads";
import { systemClock } from "../runtime/clock.js";
import { ConfigError } from "../runtime/config.js";
import { fromStatusBytes } from "../runtime/grpc-status.js";
import { IDENTITY_HEADER } from "../runtime/identity/identity-token.js";
import type { StoredKey } from "../runtime/identity/identity-keys.js";
import { createLogger, type LogLevel } from "../runtime/logger.js";
import { meshSecurity, type MeshSecurity } from "../runtime/mesh-security.js";
import { createMetrics } from "../runtime/metrics.js";
import type { RunningService } from "../runtime/service.js";
import { shutDown } from "../runtime/shutdown.js";
import { portCalls } from "../runtime/threads/port-calls.js";
import { openTracing, TRACE_FLUSH_MS } from "../runtime/tracing/tracing.js";
import { startAgentService } from "../services/agent/service.js";
import type { ProcessHandlers } from "./agent-thread.js";
import { openLocalSecurity } from "./local-security.js";
import { namingPort } from "./naming-port.js";

/** What the service is started with. */
export interface AgentStart {
  /** The launcher's variables, with the addresses of the other services. */
  readonly env: NodeJS.ProcessEnv;
  readonly logLevel: LogLevel;
  readonly tenantCalls: number;
  /** The key of the mesh's services, and the data folder. */
  readonly own: { readonly key: StoredKey; readonly folder: string };
}

const metrics = createMetrics();
let service: RunningService | undefined;

/** What may be asked of the thread. */
const handlers = {
  /** Resolves to the service's address, or to what is wrong with its configuration. */
  async start(options: AgentStart): Promise<{ readonly address: string } | { readonly wrong: string }> {
    try {
      service = await start(options);
      return { address: service.address };
    } catch (error) {
      if (error instanceof ConfigError) return { wrong: error.message };
      throw error;
    }
  },
  notReady: async () => (await service?.notReady()) ?? [],
  metrics: () => metrics.registry.getMetricsAsJSON(),
  stop: async (graceMs: number) => service?.stop(graceMs),
};
export type AgentThreadHandlers = typeof handlers;

const { ask } = portCalls<ProcessHandlers>(parentPort!, handlers);

/** The service, which takes its traces and keys with it when it stops. */
async function start({ env, logLevel, tenantCalls, own }: AgentStart): Promise<RunningService> {
  const clock = systemClock;
  const logger = createLogger({ level: logLevel }).child({ service: "agent" });
  const shared = await openLocalSecurity(env, { logger, clock }, own);
  const tracing = openTracing(env, { logger, metrics, clock });
  const security = meshSecurity({ process: shared, service: "agent", clock, required: () => true });
  const running = await namingPort("RAGENTS_AGENT_PORT", () =>
    startAgentService(env, { logger, metrics, clock, tracer: tracing.tracer("agent"), score: tracing.score, tenantCalls, security: { ...security, identify: identify(security) } }),
  );
  const steps = (graceMs: number): [name: string, step: () => Promise<void>][] => [
    ["agent", () => running.stop(graceMs)],
    ["traces", () => tracing.close(TRACE_FLUSH_MS)],
    ["security", async () => shared.close()],
  ];
  return { ...running, stop: (graceMs) => shutDown(steps(graceMs), graceMs + TRACE_FLUSH_MS, logger) };
}

/** A service's word is checked here; who comes with other credentials, or none, is known where the keys of clients are. */
function identify(own: MeshSecurity): MeshSecurity["identify"] {
  return async (header, method) => {
    if (header.has(IDENTITY_HEADER)) return own.identify(header, method);
    const answer = await ask.identify([...header], method.name);
    if ("refusal" in answer) throw fromStatusBytes(answer.refusal);
    return answer.identity;
  };
}
