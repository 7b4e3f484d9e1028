import type { RedisClient } from "../../runtime/redis.js";
import { redisCheckpoints } from "./redis/checkpoints.js";
import { redisLeases } from "./redis/leases.js";
import { guarded, redisContext } from "./redis/session.js";
import { redisThreads } from "./redis/threads.js";
import type { CheckpointStore } from "./store.js";

export interface RedisCheckpointStoreOptions {
  /** Closed with the store. */
  client: RedisClient;
  /** Threads that are not used for so long expire, in milliseconds; undefined: never. */
  ttlMs?: number | undefined;
}

/**
 * Keeps checkpoints in Redis 7, one instance or a Cluster, without modules. As
 * durable as that Redis is: see redis/durability.ts.
 */
export function openRedisCheckpointStore({ client, ttlMs }: RedisCheckpointStoreOptions): CheckpointStore {
  const context = redisContext(client, ttlMs);
  const checkpoints = redisCheckpoints(context, ttlMs);
  return {
    ...checkpoints,
    ...redisThreads(context, checkpoints.contents),
    ...redisLeases(context),
    ping: async () => void (await guarded(() => client.ping())),
    close: async () => client.disconnect(),
  };
}
