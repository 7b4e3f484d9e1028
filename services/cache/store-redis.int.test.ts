import { systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { describeOnRedis } from "../../tests/servers/on-redis.js";
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

await describeOnRedis((name, url) => describeCacheStore(name, () => openTwo(url())));
