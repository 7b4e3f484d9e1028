import { setMaxListeners } from "node:events";
import { CheckpointService } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { ConfigError } from "../../runtime/config.js";
import { mount, startGrpcServer } from "../../runtime/grpc-server.js";
import { openRedis } from "../../runtime/redis.js";
import { serverInterceptors } from "../../runtime/server-interceptors.js";
import type { RunningService, ServiceHost } from "../../runtime/service.js";
import { isUnreachable, type SqlDatabase } from "../../runtime/sql/database.js";
import { openEmbeddedDatabase } from "../../runtime/sql/embedded.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { openPostgres } from "../../runtime/sql/postgres.js";
import { untilReachable } from "../../runtime/store-patience.js";
import { Cleaning } from "./cleaning.js";
import { type CheckpointConfig, loadCheckpointConfig } from "./config.js";
import { checkpointHandlers } from "./handlers.js";
import { requireDurableRedis } from "./redis/durability.js";
import { SegmentReader } from "./segment-reader.js";
import { measuredStore } from "./store-metrics.js";
import type { CheckpointStore } from "./store.js";
import { openRedisCheckpointStore } from "./store-redis.js";
import { openSqlCheckpointStore } from "./store-sql.js";
import { ThreadQuota } from "./thread-quota.js";

/** Long enough for a large put, short enough to be told about. */
const REDIS_TIMEOUT_MS = 5_000;

/**
 * Starts the checkpoint service on the store that RAGENTS_CHECKPOINT_URL names;
 * "pglite:" without a folder is `shared.sql` where there is one. Rejects when
 * the configuration is wrong, the store cannot be reached within RAGENTS_STORE_WAIT_S or the port is taken.
 */
export async function startCheckpointService(
  env: NodeJS.ProcessEnv,
  host: ServiceHost,
  shared: { sql?: SqlDatabase } = {},
): Promise<RunningService> {
  const config = loadCheckpointConfig(env);
  const { logger } = host;
  const store = measuredStore(await openStore(config, host, shared.sql), host.metrics.registry, host.clock);
  const cleaning = new Cleaning({
    store,
    clock: host.clock,
    logger,
    maxCheckpoints: config.maxCheckpoints,
    intervalMs: config.cleaningIntervalMs,
  });
  const stopping = new AbortController();
  // Every stream of puts listens; Node would warn of a leak at eleven.
  setMaxListeners(0, stopping.signal);
  const handlers = checkpointHandlers({
    store,
    segments: new SegmentReader(store, { maxBytes: config.cacheBytes }),
    quota: new ThreadQuota({ store, clock: host.clock, limit: config.tenantThreads }),
    clock: host.clock,
    onPut: (thread, count) => cleaning.notice(thread, count),
    stopping: stopping.signal,
  });
  const server = await startGrpcServer({
    host: config.host,
    port: config.port,
    credentials: host.security?.serverCredentials,
    metrics: host.metrics,
    services: [mount(CheckpointService, handlers)],
    interceptors: serverInterceptors(host),
  }).catch(async (error: unknown) => {
    await store.close();
    throw error;
  });
  cleaning.start();

  return {
    name: "checkpoint",
    address: server.address,
    notReady: () =>
      store.ping().then(
        () => [],
        () => ["checkpoint store"],
      ),
    async stop(graceMs) {
      stopping.abort();
      await server.drain(graceMs);
      await cleaning.stop();
      await store.close();
    },
  };
}

async function openStore(config: CheckpointConfig, host: ServiceHost, shared: SqlDatabase | undefined): Promise<CheckpointStore> {
  if (config.url.startsWith("redis")) return openOnRedis(config, host);
  const db = await openDatabase(config, host, shared);
  try {
    await untilReachable(() => db.ping(), patience(config, host));
    return await openSqlCheckpointStore(db, config);
  } catch (error) {
    await db.close();
    if (!isUnreachable(error)) throw error;
    throw new ConfigError(`The checkpoint service cannot reach the database that RAGENTS_CHECKPOINT_URL names: ${messageOf(error)}`);
  }
}

async function openOnRedis(config: CheckpointConfig, host: ServiceHost): Promise<CheckpointStore> {
  const client = openRedis(config.url, {
    logger: host.logger,
    name: "ragents-checkpoint",
    commandTimeoutMs: REDIS_TIMEOUT_MS,
  });
  try {
    await untilReachable(() => client.ping(), patience(config, host));
    if (config.redisDurable) await requireDurableRedis(client);
    return openRedisCheckpointStore({ client, ttlMs: config.ttlMs });
  } catch (error) {
    client.disconnect();
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`The checkpoint service cannot reach the Redis that RAGENTS_CHECKPOINT_URL names: ${messageOf(error)}`);
  }
}

async function openDatabase(
  config: CheckpointConfig,
  { logger, metrics }: ServiceHost,
  shared: SqlDatabase | undefined,
): Promise<SqlDatabase> {
  if (config.url.startsWith("postgres")) {
    return openPostgres({
      url: config.url,
      maxConnections: config.maxConnections,
      metrics: { registry: metrics.registry, prefix: "checkpoint" },
      onIdleError: (err) => logger.warn("database_connection_lost", { service: "checkpoint", err }),
    });
  }
  if (config.url === "memory:") return openPglite();
  const folder = config.url.slice("pglite:".length);
  if (folder !== "") return openEmbeddedDatabase(folder);
  // Shared: its owner closes it.
  if (shared !== undefined) return { ...shared, close: async () => {} };
  return openEmbeddedDatabase(config.dataDir);
}

function patience({ storeWaitMs }: CheckpointConfig, { clock, logger }: ServiceHost) {
  return { clock, logger: logger.child({ service: "checkpoint" }), waitMs: storeWaitMs };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
