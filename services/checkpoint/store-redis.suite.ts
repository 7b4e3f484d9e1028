import { Cluster } from "ioredis";
import type { RedisClient } from "../../runtime/redis.js";

/** Empties a test's Redis, or all nodes of its Cluster. */
export async function clearRedis(client: RedisClient): Promise<void> {
  const masters = client instanceof Cluster ? client.nodes("master") : [client];
  await Promise.all(masters.map((node) => node.flushdb()));
}
