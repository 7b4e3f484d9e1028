import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe } from "vitest";
import { silentLogger } from "../../../runtime/logger.js";
import { openRedis } from "../../../runtime/redis.js";
import { type RedisServer, redisFound, startRedis } from "../../../tests/servers/redis.js";
import { openRedisBudgets } from "./store-redis.js";
import { describeBudgetStore } from "./store.suite.js";

describe.skipIf(!(await redisFound()))("budgets in Redis", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  describeBudgetStore("Redis", async () => {
    const clock = `ragents:test:clock:${randomUUID()}`;
    const client = openRedis(server.url, { logger: silentLogger, commandTimeoutMs: 5_000 });
    await client.set(clock, Date.UTC(2026, 0, 1));
    return {
      store: openRedisBudgets(client, `local now = tonumber(redis.call('GET', '${clock}'))`),
      async pass(ms) {
        await client.incrby(clock, ms);
      },
      close: async () => client.disconnect(),
    };
  });
});
