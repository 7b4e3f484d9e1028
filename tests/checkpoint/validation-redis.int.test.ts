import { afterAll, beforeAll, describe } from "vitest";
import { silentLogger } from "../../runtime/logger.js";
import { openRedis } from "../../runtime/redis.js";
import { openRedisCheckpointStore } from "../../services/checkpoint/store-redis.js";
import { clearRedis } from "../../services/checkpoint/store-redis.suite.js";
import { redisFound, type RedisServer, startRedis } from "../servers/redis.js";
import { startRedisCluster } from "../servers/redis-cluster.js";

import { validateSaver } from "./validation.suite.js";

const found = await redisFound();

describe.skipIf(!found).each([
  { name: "Redis", start: () => startRedis({ own: true }) },
  { name: "a Redis Cluster", start: () => startRedisCluster() },
])("on $name", ({ name, start }) => {
  let server: Pick<RedisServer, "url" | "stop">;
  beforeAll(async () => {
    server = await start();
  });
  afterAll(() => server.stop());

  validateSaver(`GrpcCheckpointSaver on ${name}`, async () => {
    const client = openRedis(server.url, { logger: silentLogger });
    return { store: openRedisCheckpointStore({ client }), clear: () => clearRedis(client) };
  });
});
