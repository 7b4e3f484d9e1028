import { afterAll, beforeAll, describe } from "vitest";
import { silentLogger } from "../../../runtime/logger.js";
import { openRedis } from "../../../runtime/redis.js";
import { redisFound, startRedis } from "../../../tests/servers/redis.js";
import { startRedisClock } from "../../../tests/servers/redis-clock.js";
import { startRedisCluster } from "../../../tests/servers/redis-cluster.js";
import { openRedisBudgets } from "./store-redis.js";
import { type BudgetsUnderTest, describeBudgetStore } from "./store.suite.js";

async function open(url: string): Promise<BudgetsUnderTest> {
  const client = openRedis(url, { logger: silentLogger, commandTimeoutMs: 5_000 });
  const { timeSource, pass } = await startRedisClock(client);
  return { store: openRedisBudgets(client, timeSource), pass, close: async () => client.disconnect() };
}

describe.skipIf(!(await redisFound()))("on Redis", () => {
  let server: { url: string; stop(): Promise<void> };
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());
  describeBudgetStore("Redis", () => open(server.url));
});

describe.skipIf(!(await redisFound({ own: true })))("on a Redis Cluster", () => {
  let cluster: { url: string; stop(): Promise<void> };
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());
  describeBudgetStore("Redis Cluster", () => open(cluster.url));
});
