import { silentLogger } from "../../../runtime/logger.js";
import { openRedis } from "../../../runtime/redis.js";
import { describeOnRedis } from "../../../tests/servers/on-redis.js";
import { startRedisClock } from "../../../tests/servers/redis-clock.js";
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

await describeOnRedis((name, url) => describeQueueStore(name, () => openTwo(url())));
