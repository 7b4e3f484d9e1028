import { afterAll, beforeAll, describe } from "vitest";
import { systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { type RedisClusterServers, startRedisCluster } from "../../tests/servers/redis-cluster.js";
import { redisFound, type RedisServer, startRedis } from "../../tests/servers/redis.js";
import { openRedisStore } from "./store-redis.js";
import { describeCacheStore, type StoreUnderTest } from "./store.suite.js";

async function openTwo(url: string): Promise<StoreUnderTest> {
  const options = { url, clock: systemClock, logger: silentLogger };
  const [store, other] = await Promise.all([openRedisStore(options), openRedisStore(options)]);
  return {
    store,
    other,
    pass: async () => {},
    close: async () => {
      await Promise.all([store.close(), other.close()]);
    },
  };
}

const found = await redisFound();

describe.skipIf(!found)("on Redis", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());
  describeCacheStore("Redis", () => openTwo(server.url));
});

describe.skipIf(!(await redisFound({ own: true })))("on a Redis Cluster", () => {
  let cluster: RedisClusterServers;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());
  describeCacheStore("Redis Cluster", () => openTwo(cluster.url));
});
