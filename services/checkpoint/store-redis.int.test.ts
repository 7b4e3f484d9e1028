import { afterAll, beforeAll, describe } from "vitest";
import { silentLogger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import { redisFound, startRedis } from "../../tests/servers/redis.js";
import { startRedisCluster } from "../../tests/servers/redis-cluster.js";
import { describeCheckpointStore, SUITE_TTL_MS } from "./store.suite.js";
import { openRedisCheckpointStore } from "./store-redis.js";
import { clearRedis } from "./store-redis.suite.js";

const found = await redisFound();

describe.skipIf(!found).each([
  { name: "Redis", start: () => startRedis({ own: true }) },
  { name: "a Redis Cluster", start: () => startRedisCluster() },
])("on $name", ({ name, start }) => {
  let server: { url: string; stop(): Promise<void> };
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.stop());

  describeCheckpointStore(`the checkpoint store on ${name}`, async () => {
    const client = openRedis(server.url, { logger: silentLogger });
    return { store: openRedisCheckpointStore({ client, ttlMs: SUITE_TTL_MS }), clear: () => clearRedis(client) };
  });
});
