import { afterAll, beforeAll, describe } from "vitest";
import { silentLogger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import { redisFound, startRedis } from "../../tests/servers/redis.js";
import { startRedisClock } from "../../tests/servers/redis-clock.js";
import { startRedisCluster } from "../../tests/servers/redis-cluster.js";
import { openRedisStore } from "./store-redis.js";
import { describeBucketStore, type StoreUnderTest } from "./store.suite.js";

async function openTwo(url: string): Promise<StoreUnderTest> {
  const clients = [1, 2].map(() => openRedis(url, { logger: silentLogger, commandTimeoutMs: 5_000 }));
  const { timeSource, pass } = await startRedisClock(clients[0]!);
  const [store, other] = clients.map((client) => openRedisStore({ client, timeSource }));
  return {
    store: store!,
    other: other!,
    pass,
    async close() {
      await Promise.all([store!.close(), other!.close()]);
      for (const client of clients) client.disconnect();
    },
  };
}

describe.skipIf(!(await redisFound()))("on Redis", () => {
  let server: { url: string; stop(): Promise<void> };
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());
  describeBucketStore("Redis", () => openTwo(server.url));
});

describe.skipIf(!(await redisFound({ own: true })))("on a Redis Cluster", () => {
  let cluster: { url: string; stop(): Promise<void> };
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());
  describeBucketStore("Redis Cluster", () => openTwo(cluster.url));
});
