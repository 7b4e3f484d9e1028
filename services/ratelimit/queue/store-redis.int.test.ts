import { afterAll, beforeAll, describe } from "vitest";
import { silentLogger } from "../../../runtime/logger.js";
import { openRedis } from "../../../runtime/redis.js";
import { redisFound, startRedis } from "../../../tests/servers/redis.js";
import { startRedisClock } from "../../../tests/servers/redis-clock.js";
import { startRedisCluster } from "../../../tests/servers/redis-cluster.js";
import { openRedisQueues } from "./store-redis.js";
import { describeQueueStore, type QueuesUnderTest } from "./store.suite.js";

async function openTwo(url: string): Promise<QueuesUnderTest> {
  const open = () => openRedis(url, { logger: silentLogger, commandTimeoutMs: 5_000 });
  const clients = [open(), open()];
  const { timeSource, pass } = await startRedisClock(clients[0]!);
  const [store, other] = clients.map((client) => openRedisQueues({ client, subscriber: open(), timeSource }));
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
  describeQueueStore("Redis", () => openTwo(server.url));
});

describe.skipIf(!(await redisFound({ own: true })))("on a Redis Cluster", () => {
  let cluster: { url: string; stop(): Promise<void> };
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());
  describeQueueStore("Redis Cluster", () => openTwo(cluster.url));
});
