import { silentLogger } from "../../../runtime/logger.js";
import { openRedis } from "../../../runtime/redis.js";
import { describeOnRedis } from "../../../tests/servers/on-redis.js";
import { startRedisClock } from "../../../tests/servers/redis-clock.js";
import { openRedisBudgets } from "./store-redis.js";
import { type BudgetsUnderTest, describeBudgetStore } from "./store.suite.js";

async function open(url: string): Promise<BudgetsUnderTest> {
  const client = openRedis(url, { logger: silentLogger, commandTimeoutMs: 5_000 });
  const { timeSource, pass } = await startRedisClock(client);
  return { store: openRedisBudgets(client, timeSource), pass, close: async () => client.disconnect() };
}

await describeOnRedis((name, url) => describeBudgetStore(name, () => open(url())));
