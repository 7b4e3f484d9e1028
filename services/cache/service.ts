import { setMaxListeners } from "node:events";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { loadStaticEmbedder } from "../../runtime/embedding/static-embedder.js";
import { mount, startGrpcServer } from "../../runtime/grpc-server.js";
import type { Logger } from "../../runtime/logger.js";
import { serverInterceptors } from "../../runtime/server-interceptors.js";
import type { RunningService, ServiceHost } from "../../runtime/service.js";
import { type CacheConfig, loadCacheConfig } from "./config.js";
import { cacheHandlers } from "./handlers.js";
import { withNearMemory } from "./near-memory.js";
import { withSimilarAnswers } from "./similar/similar-answers.js";
import type { CacheStore } from "./store.js";
import { openMemoryStore } from "./store-memory.js";
import { measuredStore } from "./store-metrics.js";
import { openRedisStore } from "./store-redis.js";
import { WatchHub } from "./watch.js";

/** How often the store is swept, in milliseconds. */
const SWEEP_INTERVAL_MS = 5_000;

/** Starts the cache service on the store that RAGENTS_CACHE_URL names. Rejects when the configuration is wrong or the port is taken. */
export async function startCacheService(env: NodeJS.ProcessEnv, host: ServiceHost): Promise<RunningService> {
  const config = loadCacheConfig(env);
  const { logger } = host;
  const store = measuredStore(await openStore(config, host.clock, logger), host.metrics.registry);
  const watchers = new WatchHub({ store, clock: host.clock });
  const stopping = new AbortController();
  // Every stream of lookups listens; Node would warn of a leak at eleven.
  setMaxListeners(0, stopping.signal);
  const server = await startGrpcServer({
    host: config.host,
    port: config.port,
    credentials: host.security?.serverCredentials,
    metrics: host.metrics,
    services: [mount(CacheService, cacheHandlers({ store, watchers, config, stopping: stopping.signal }))],
    interceptors: serverInterceptors(host),
  }).catch(async (error: unknown) => {
    await store.close();
    throw error;
  });
  const sweeping = setInterval(() => {
    // That Redis is away is told by its connection.
    store.sweep().catch((err: unknown) => logger.debug("cache_sweep_failed", { err }));
  }, SWEEP_INTERVAL_MS);

  return {
    name: "cache",
    address: server.address,
    notReady: () =>
      store.ping().then(
        () => [],
        () => ["cache store"],
      ),
    async stop(graceMs) {
      clearInterval(sweeping);
      watchers.close();
      stopping.abort();
      await server.drain(graceMs);
      await store.close();
    },
  };
}

async function openStore(config: CacheConfig, clock: Clock, logger: Logger): Promise<CacheStore> {
  const store = await openBackend(config, clock, logger);
  if (!config.similarAnswers) return store;
  return withSimilarAnswers(store, { embedder: await loadStaticEmbedder(), minSimilarity: config.minSimilarity, logger });
}

async function openBackend({ url, maxBytes, nearBytes }: CacheConfig, clock: Clock, logger: Logger): Promise<CacheStore> {
  if (url === "memory:") return openMemoryStore({ maxBytes, clock });
  const store = await openRedisStore({ url, clock, logger });
  return nearBytes === 0 ? store : withNearMemory(store, { maxBytes: nearBytes, clock });
}
