import { afterAll, beforeAll, describe } from "vitest";
import { redisFound, startRedis } from "./redis.js";
import { startRedisCluster } from "./redis-cluster.js";

/**
 * Describes what holds on a Redis and on a Redis Cluster alike, each started for it; skipped where there is none.
 * @param suite is given the server's name and, once its tests run, its URL
 */
export async function describeOnRedis(suite: (name: string, url: () => string) => void): Promise<void> {
  const servers = [
    { title: "on Redis", name: "Redis", found: await redisFound(), start: () => startRedis() },
    { title: "on a Redis Cluster", name: "Redis Cluster", found: await redisFound({ own: true }), start: () => startRedisCluster() },
  ];
  for (const { title, name, found, start } of servers) {
    describe.skipIf(!found)(title, () => {
      let server: { readonly url: string; stop(): Promise<void> };
      beforeAll(async () => {
        server = await start();
      });
      afterAll(() => server.stop());
      suite(name, () => server.url);
    });
  }
}
