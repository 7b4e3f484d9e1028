import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type RedisClusterServers, startRedisCluster } from "../tests/servers/redis-cluster.js";
import { redisFound, startRedis } from "../tests/servers/redis.js";
import { silentLogger } from "./logger.js";
import { openRedis } from "./redis.js";

const options = { logger: silentLogger, commandTimeoutMs: 300 };

describe.skipIf(!(await redisFound({ own: true })))("a connection to Redis", () => {
  test("rejects commands while the server is killed, and heals", async () => {
    const server = await startRedis({ own: true });
    const client = openRedis(server.url, options);
    onTestFinished(async () => {
      client.disconnect();
      await server.stop();
    });
    await client.set("a", "1");
    await server.kill();
    await expect(client.get("a")).rejects.toThrow();
    await server.restart();
    await expect.poll(() => client.get("a").catch(() => "error"), { timeout: 10_000 }).toBeNull();
  });

  test("rejects commands that a paused server does not answer, and heals", async () => {
    const server = await startRedis({ own: true });
    const client = openRedis(server.url, options);
    onTestFinished(async () => {
      client.disconnect();
      await server.stop();
    });
    await client.set("a", "1");
    await server.pause();
    await expect(client.get("a")).rejects.toThrow(/timed out/);
    await server.resume();
    await expect.poll(() => client.get("a").catch(() => "error"), { timeout: 10_000 }).toBe("1");
  });

  test("may be opened before the server, and rejects at once when told not to wait", async () => {
    const server = await startRedis({ own: true });
    await server.kill();
    const patient = openRedis(server.url, { ...options, commandTimeoutMs: 10_000 });
    const hasty = openRedis(server.url, { ...options, waitForConnection: false });
    onTestFinished(async () => {
      patient.disconnect();
      hasty.disconnect();
      await server.stop();
    });
    const answer = patient.ping();
    await expect(hasty.ping()).rejects.toThrow();
    await server.restart();
    expect(await answer).toBe("PONG");
  });
});

describe.skipIf(!(await redisFound({ own: true })))("a connection to a Redis Cluster", () => {
  let cluster: RedisClusterServers;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());

  test("reaches every node, and survives the restart of one", async () => {
    const client = openRedis(cluster.url, options);
    onTestFinished(() => client.disconnect());
    const keys = Array.from({ length: 30 }, (_, i) => `key-${i}`);
    await Promise.all(keys.map((key) => client.set(key, key)));
    expect(await Promise.all(keys.map((key) => client.get(key)))).toEqual(keys);
    await cluster.nodes[1]!.restart();
    const writeAll = () =>
      Promise.all(keys.map((key) => client.set(key, "again"))).then(
        () => "ok",
        () => "error",
      );
    await expect.poll(writeAll, { timeout: 20_000 }).toBe("ok");
  });
});
