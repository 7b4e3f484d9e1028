import { afterAll, beforeAll, describe } from "vitest";
import { redisFound, type RedisServer, startRedis } from "../servers/redis.js";
import { startRedisCluster } from "../servers/redis-cluster.js";
import { redisBackend } from "./backend.js";
import { describeSaver } from "./saver.suite.js";

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

  describeSaver(`the saver on ${name}`, async () => redisBackend(server.url));
});
