import { randomUUID } from "node:crypto";
import { createCacheClient } from "../../clients/cache/index.js";
import { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { createRagClient } from "../../clients/rag/index.js";
import { PriorityQueue, RateLimiter } from "../../clients/ratelimit/index.js";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { mount, startGrpcServer } from "../../runtime/grpc-server.js";
import { BatchedRewrites } from "./batched-rewrites.js";
import { budgetedModel } from "../../runtime/llm/budgeted-model.js";
import { type Models, openModels } from "../../runtime/llm/models.js";
import { localWarrants } from "../../runtime/identity/warrants.js";
import { overriding } from "../../runtime/overriding.js";
import { serverInterceptors } from "../../runtime/server-interceptors.js";
import type { RunningService, ServiceHost } from "../../runtime/service.js";
import { AGENT_KINDS } from "./agents/kinds.js";
import { loadAgents } from "./agents/load-agents.js";
import { BatchedRetrieval } from "./batched-rag.js";
import { loadAgentConfig } from "./config.js";
import { agentHandlers } from "./handlers.js";
import { registerRunMetrics } from "./run-metrics.js";
import { RunSlots } from "./run-slots.js";
import { Runs } from "./runs.js";
import { ThreadLocks } from "./thread-locks.js";
import { loadTools } from "./tools/load-tools.js";
import { connectMcpTools } from "./tools/mcp-tools.js";
import { Takeovers } from "./takeovers.js";
import { ThreadStates } from "./thread-states.js";
import { Threads } from "./threads.js";
import { loadVersions } from "./versions-file.js";
import { usageMetrics } from "./usage-metrics.js";

/** Most of the grace in which runs may end; what is left is for handing the others over. */
const PART_TO_END = 0.8;

/**
 * Starts the agent service; the services behind it are called when they are needed.
 * @param shared models that take the place of the configured ones.
 */
export async function startAgentService(
  env: NodeJS.ProcessEnv,
  host: ServiceHost,
  shared: { models?: Models } = {},
): Promise<RunningService> {
  const config = loadAgentConfig(env);
  const { logger } = host;
  const kinds = [...AGENT_KINDS, ...(await loadAgents(config.agentFiles, AGENT_KINDS))];
  const own = config.toolsFolder === undefined ? [] : await loadTools(config.toolsFolder);
  const mcp = config.mcpFile === undefined ? undefined : await connectMcpTools(config.mcpFile);
  const tools = [...own, ...(mcp?.tools ?? [])];
  const security = host.security?.channel;
  const rag = createRagClient({ address: config.ragAddress, security });
  const checkpointer = new GrpcCheckpointSaver({ address: config.checkpointAddress, security });
  const cache = createCacheClient({ address: config.cacheAddress, clock: host.clock, metrics: host.metrics, security });
  const limiter = new RateLimiter({ address: config.rateLimitAddress, clock: host.clock, security });
  const models = shared.models ?? openModels(config.models, {
    registry: host.metrics.registry,
    clock: host.clock,
    around: (model, price) => budgetedModel(model, limiter, price),
  });
  const versions = await loadVersions(config.versionsFile, kinds, models);
  const retrievals = new BatchedRetrieval(rag, { clock: host.clock, registry: host.metrics.registry });
  const rewrites = new BatchedRewrites({ clock: host.clock, registry: host.metrics.registry });
  const threads = new Threads(checkpointer, logger);
  const queue = new PriorityQueue({ address: config.rateLimitAddress, queue: `agent-runs--${randomUUID()}`, clock: host.clock, security });
  const { maxRuns: limit, maxWaiting, priorities, runTimeoutMs: maxWaitMs } = config;
  const slots = new RunSlots({ limit, maxWaiting, queue, priorities, maxWaitMs, clock: host.clock });
  const locks = new ThreadLocks({ saver: checkpointer, clock: host.clock, leaseMs: config.leaseMs });
  const runs = new Runs({
    deps: { rag: overriding(rag, { retrieve: (request, options) => retrievals.retrieve(request, options?.signal) }), cache, models, rewrites, clock: host.clock, checkpointer, tools },
    versions,
    threads,
    locks,
    slots,
    limiter,
    warrants: host.security?.warrants ?? localWarrants,
    timeoutMs: config.runTimeoutMs,
    usage: usageMetrics(host.metrics.registry),
  });
  const states = new ThreadStates({ saver: checkpointer, threads, clock: host.clock, graphOf: (type) => runs.graphOf(type) });
  const takeovers = new Takeovers({
    saver: checkpointer,
    takeOver: (threadId, attempt, signal) => runs.takeOver(threadId, attempt, signal),
    clock: host.clock,
    logger,
    registry: host.metrics.registry,
    intervalMs: config.takeoverMs,
  });
  registerRunMetrics(host.metrics.registry, slots);
  const closeClients = async () => {
    await slots.close();
    queue.close();
    await limiter.close();
    rag.close();
    checkpointer.close();
    cache.close();
    await mcp?.close();
  };
  const server = await startGrpcServer({
    host: config.host,
    port: config.port,
    credentials: host.security?.serverCredentials,
    metrics: host.metrics,
    services: [mount(AgentService, agentHandlers({ runs, threads, states, locks, versions, models, clock: host.clock, score: host.score }))],
    interceptors: serverInterceptors(host),
    limits: { unaryDeadlineMs: config.runTimeoutMs, streamDeadlineMs: config.runTimeoutMs },
  }).catch(async (error: unknown) => {
    await closeClients();
    throw error;
  });

  if (config.takeoverMs > 0) takeovers.start();
  return {
    name: "agent",
    address: server.address,
    // Calls say themselves which service is missing; a replica that waits for another is no less ready than the next one.
    notReady: async () => [],
    async stop(graceMs) {
      const drained = server.drain(graceMs);
      const ended = takeovers.stop();
      await runs.close(Math.min(config.handoverMs, graceMs * PART_TO_END));
      await Promise.all([drained, ended]);
      await threads.settled();
      await closeClients();
    },
  };
}
