import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { mount, startGrpcServer } from "../../runtime/grpc-server.js";
import type { Logger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import { serverInterceptors } from "../../runtime/server-interceptors.js";
import type { RunningService, ServiceHost } from "../../runtime/service.js";
import { loadRateLimitConfig, type RateLimitConfig } from "./config.js";
import { decisionMetrics } from "./decision-metrics.js";
import { rateLimitHandlers } from "./handlers.js";
import { Limiter } from "./limiter.js";
import { parseLimits } from "./limits-file.js";
import { openReloadingFile } from "./reloading-file.js";
import type { BucketStore } from "./store.js";
import { openMemoryStore } from "./store-memory.js";
import { openRedisStore } from "./store-redis.js";

function openStore(config: RateLimitConfig, clock: Clock, logger: Logger): BucketStore {
  if (config.url === "memory:") return openMemoryStore({ clock });
  return openRedisStore({ client: openRedis(config.url, { logger, name: "ratelimit", commandTimeoutMs: config.storeTimeoutMs }) });
}

/** Starts the rate limit service. Rejects when the configuration or the file of limits is wrong, or the port is taken. */
export async function startRateLimitService(env: NodeJS.ProcessEnv, host: ServiceHost): Promise<RunningService> {
  const config = loadRateLimitConfig(env);
  const logger = host.logger.child({ service: "ratelimit" });
  const limits = await openReloadingFile(config.limitsPath, parseLimits, logger);
  const store = openStore(config, host.clock, logger);
  const stopping = new AbortController();
  const limiter = new Limiter({ store, limits: limits.current, clock: host.clock, stopping: stopping.signal });
  const server = await startGrpcServer({
    host: config.host,
    port: config.port,
    services: [mount(RateLimitService, rateLimitHandlers({ limiter, clock: host.clock }))],
    interceptors: [...serverInterceptors({ logger, metrics: host.metrics, clock: host.clock }), decisionMetrics(host.metrics.registry)],
  });

  return {
    name: "ratelimit",
    address: server.address,
    notReady: () =>
      store.ping().then(
        () => [],
        () => ["rate limit store"],
      ),
    async stop(graceMs) {
      stopping.abort();
      await server.drain(graceMs);
      limits.close();
      await store.close();
    },
  };
}
