import { storePatienceSchema } from "../../runtime/store-patience.js";
import { z } from "zod";
import { flag, integer, parseEnv, port } from "../../runtime/config.js";

export interface CheckpointConfig {
  host: string;
  port: number;
  /** pglite:[FOLDER], memory:, postgres:// or redis:// and its variants */
  url: string;
  /** Threads that are not used for so long are deleted, in milliseconds; undefined: never. */
  ttlMs: number | undefined;
  /** Checkpoints that a thread keeps; 0: all. */
  maxCheckpoints: number;
  /** Threads that a tenant may have; 0: no limit. */
  tenantThreads: number;
  /** Time between two rounds of cleaning, in milliseconds. */
  cleaningIntervalMs: number;
  /** Most connections to PostgreSQL. */
  maxConnections: number;
  /** Segments of threads in use that are kept in memory, in bytes. */
  cacheBytes: number;
  /** Whether to refuse a Redis that would lose what it acknowledged. */
  redisDurable: boolean;
  /** Holds the embedded database of a service that runs alone. */
  /** How long to wait at start for a store that does not answer yet, in milliseconds. */
  storeWaitMs: number;
  dataDir: string;
}

const DAY_S = 86_400;
/** Redis holds conversations in memory: there they end some time after their last use. */
const REDIS_TTL_S = 7 * DAY_S;

/** What is kept depends on where: Redis is smaller, and PostgreSQL is for good. */
const schemaFor = (onRedis: boolean) =>
  z.object({
    RAGENTS_HOST: z.string().default("127.0.0.1"),
    RAGENTS_DATA_DIR: z.string().default(".ragents"),
    RAGENTS_CHECKPOINT_PORT: port(9102),
    RAGENTS_CHECKPOINT_URL: z
      .string()
      .regex(
        /^(pglite:.*|memory:|postgres(ql)?:\/\/.+|rediss?(\+cluster)?:\/\/.+)$/,
        "give pglite:FOLDER, postgres://USER@HOST/DATABASE, redis://HOST:PORT, redis+cluster://HOST:PORT,... or memory:",
      )
      .default("pglite:"),
    RAGENTS_CHECKPOINT_TTL_S: integer({
      default: onRedis ? REDIS_TTL_S : 0,
      min: 0,
      max: 3650 * DAY_S,
      unit: "seconds; 0 for never",
    }),
    RAGENTS_CHECKPOINT_MAX_PER_THREAD: integer({
      default: onRedis ? 10 : 20,
      min: 0,
      max: 1_000_000,
      unit: "checkpoints; 0 for all",
    }),
    RAGENTS_CHECKPOINT_TENANT_THREADS: integer({ default: 0, min: 0, max: 1_000_000_000, unit: "threads; 0 for no limit" }),
    RAGENTS_CHECKPOINT_CLEANING_INTERVAL_S: integer({ default: 60, min: 1, max: DAY_S, unit: "seconds" }),
    RAGENTS_CHECKPOINT_CACHE_BYTES: integer({ default: 64_000_000, min: 1_000_000, max: 1e11, unit: "bytes" }),
    RAGENTS_CHECKPOINT_MAX_CONNECTIONS: integer({ default: 10, min: 1, max: 1000, unit: "connections" }),
    RAGENTS_CHECKPOINT_REDIS_DURABLE: flag(true),
    ...storePatienceSchema.shape,
  });

/** Reads the service's variables. Throws ConfigError naming every one that is wrong. */
export function loadCheckpointConfig(env: NodeJS.ProcessEnv): CheckpointConfig {
  const values = parseEnv(env, schemaFor(env.RAGENTS_CHECKPOINT_URL?.trim().startsWith("redis") ?? false));
  const ttlS = values.RAGENTS_CHECKPOINT_TTL_S;
  return {
    host: values.RAGENTS_HOST,
    port: values.RAGENTS_CHECKPOINT_PORT,
    url: values.RAGENTS_CHECKPOINT_URL,
    ttlMs: ttlS === 0 ? undefined : ttlS * 1000,
    maxCheckpoints: values.RAGENTS_CHECKPOINT_MAX_PER_THREAD,
    tenantThreads: values.RAGENTS_CHECKPOINT_TENANT_THREADS,
    cleaningIntervalMs: values.RAGENTS_CHECKPOINT_CLEANING_INTERVAL_S * 1000,
    cacheBytes: values.RAGENTS_CHECKPOINT_CACHE_BYTES,
    maxConnections: values.RAGENTS_CHECKPOINT_MAX_CONNECTIONS,
    redisDurable: values.RAGENTS_CHECKPOINT_REDIS_DURABLE,
    storeWaitMs: values.RAGENTS_STORE_WAIT_S * 1000,
    dataDir: values.RAGENTS_DATA_DIR,
  };
}
