import { silentLogger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import { describeOnRedis } from "../../tests/servers/on-redis.js";
import { startRedisClock } from "../../tests/servers/redis-clock.js";
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

await describeOnRedis((name, url) => describeBucketStore(name, () => openTwo(url())));
