import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe } from "vitest";
import { silentLogger } from "../../../runtime/logger.js";
import { openRedis } from "../../../runtime/redis.js";
import { type RedisServer, redisFound, startRedis } from "../../../tests/servers/redis.js";
import { openRedisQueues } from "./store-redis.js";
import { describeQueueStore } from "./store.suite.js";

describe.skipIf(!(await redisFound()))("queues in Redis", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis();
  });
  afterAll(() => server.stop());

  describeQueueStore("Redis", async () => {
    const clock = `ragents:test:clock:${randomUUID()}`;
    const timeSource = `local now = tonumber(redis.call('GET', '${clock}'))`;
    const open = () => openRedis(server.url, { logger: silentLogger, commandTimeoutMs: 5_000 });
    const clients = [open(), open()];
    const [store, other] = clients.map((client) => openRedisQueues({ client, subscriber: open(), timeSource }));
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
