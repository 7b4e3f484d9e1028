import { RateLimitService as EnvoyRateLimitService } from "../../gen/envoy/service/ratelimit/v3/rls_pb.js";
import { QueueService } from "../../gen/ragents/ratelimit/v1/queue_service_pb.js";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { mount, startGrpcServer } from "../../runtime/grpc-server.js";
import type { Logger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import { openReloadingFiles, type ReloadingFiles } from "../../runtime/reloading-files.js";
import { serverInterceptors } from "../../runtime/server-interceptors.js";
import type { RunningService, ServiceHost } from "../../runtime/service.js";
import { Budgets } from "./budgets/budgets.js";
import type { BudgetStore } from "./budgets/store.js";
import { openMemoryBudgets } from "./budgets/store-memory.js";
import { openRedisBudgets } from "./budgets/store-redis.js";
import { loadRateLimitConfig, type RateLimitConfig } from "./config.js";
import { decisionMetrics } from "./decision-metrics.js";
import { envoyHandlers } from "./envoy/handlers.js";
import { parseRules } from "./envoy/rules-file.js";
import { rateLimitHandlers } from "./handlers.js";
import { Limiter } from "./limiter.js";
import type { Limits } from "./limits.js";
import { parseLimits } from "./limits-file.js";
import { queueHandlers } from "./queue/handlers.js";
import { registerQueueMetrics } from "./queue/metrics.js";
import type { QueueStore } from "./queue/store.js";
import { openMemoryQueues } from "./queue/store-memory.js";
import { openRedisQueues } from "./queue/store-redis.js";
import type { BucketStore } from "./store.js";
import { openMemoryStore } from "./store-memory.js";
import { openRedisStore } from "./store-redis.js";

interface Stores {
  buckets: BucketStore;
  budgets: BudgetStore;
  queues: QueueStore;
  close(): Promise<void>;
}

function openStores(config: RateLimitConfig, { clock, metrics }: ServiceHost, logger: Logger): Stores {
  if (config.url === "memory:") {
    const buckets = openMemoryStore({ clock });
    return { buckets, budgets: openMemoryBudgets(clock), queues: openMemoryQueues(clock), close: () => buckets.close() };
  }
  const open = () => openRedis(config.url, { logger, name: "ratelimit", commandTimeoutMs: config.storeTimeoutMs });
  const client = open();
  const buckets = openRedisStore({ client, onBatch: metrics.batches("ratelimit_decisions") });
  const queues = openRedisQueues({ client, subscriber: open() });
  return {
    buckets,
    budgets: openRedisBudgets(client),
    queues,
    async close() {
      await Promise.all([buckets.close(), queues.close()]);
      client.disconnect();
    },
  };
}

/** The limits of a file, read again when it changes; the defaults without one. */
async function openLimits(path: string | undefined, logger: Logger): Promise<Pick<ReloadingFiles<Limits>, "current" | "close">> {
  if (path !== undefined) return openReloadingFiles([path], ([text]) => parseLimits(String(text)), { logger });
  const limits = parseLimits("");
  return { current: () => limits, close: () => {} };
}

/** Starts the rate limit service. Rejects when the configuration or the file of limits is wrong, or the port is taken. */
export async function startRateLimitService(env: NodeJS.ProcessEnv, host: ServiceHost): Promise<RunningService> {
  const config = loadRateLimitConfig(env);
  const { logger } = host;
  const limits = await openLimits(config.limitsPath, logger);
  const domains = await openReloadingFiles(config.envoyPaths, (texts) => parseRules(texts.map(String)), { logger });
  const stores = openStores(config, host, logger);
  const stopping = new AbortController();
  const limiter = new Limiter({ store: stores.buckets, limits: limits.current, clock: host.clock, stopping: stopping.signal });
  const budgets = new Budgets(stores.budgets, limits.current);
  registerQueueMetrics(host.metrics, stores.queues, limits.current);
  const server = await startGrpcServer({
    host: config.host,
    port: config.port,
    credentials: host.security?.serverCredentials,
    metrics: host.metrics,
    services: [
      mount(RateLimitService, rateLimitHandlers({ limiter, budgets, clock: host.clock })),
      mount(QueueService, queueHandlers({ store: stores.queues, limits: limits.current, stopping: stopping.signal })),
      mount(EnvoyRateLimitService, envoyHandlers({ store: stores.buckets, domains: domains.current })),
    ],
    interceptors: [...serverInterceptors(host), decisionMetrics(host.metrics.registry)],
  });

  return {
    name: "ratelimit",
    address: server.address,
    notReady: () =>
      stores.buckets.ping().then(
        () => [],
        () => ["rate limit store"],
      ),
    async stop(graceMs) {
      stopping.abort();
      await server.drain(graceMs);
      limits.close();
      domains.close();
      await stores.close();
    },
  };
}
