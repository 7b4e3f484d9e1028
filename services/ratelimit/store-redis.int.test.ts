import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe } from "vitest";
import { silentLogger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import { type RedisServer, redisFound, startRedis } from "../../tests/servers/redis.js";
import { openRedisStore } from "./store-redis.js";
import { describeBucketStore } from "./store.suite.js";

describe.skipIf(!(await redisFound()))("buckets in Redis", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  describeBucketStore("Redis", async () => {
    const clock = `ragents:test:clock:${randomUUID()}`;
    const timeSource = `local now = tonumber(redis.call('GET', '${clock}'))`;
    const clients = [1, 2].map(() => openRedis(server.url, { logger: silentLogger, commandTimeoutMs: 5_000 }));
    const [store, other] = clients.map((client) => openRedisStore({ client, timeSource }));
    await clients[0]!.set(clock, Date.UTC(2026, 0, 1));
    return {
      store: store!,
      other: other!,
      async pass(ms) {
        await clients[0]!.incrby(clock, ms);
      },
      async close() {
        await Promise.all([store!.close(), other!.close()]);
        for (const client of clients) client.disconnect();
      },
    };
  });
});
