import { setImmediate as turn } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type CacheClient, type CacheClientOptions, createCacheClient } from "../../clients/cache/index.js";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { redisFound, type RedisServer, startRedis } from "../servers/redis.js";
import { type ServiceProcess, startServiceProcess } from "../servers/service-process.js";

const POLL = { timeout: 30_000, interval: 20 };
const scope = { collection: "docs", epoch: 1, model: "m", parameters: "{}" };
const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : Buffer.from(value).toString());

function connect(service: ServiceProcess, options: CacheClientOptions = {}): CacheClient {
  const client = createCacheClient({ address: service.address, ...options });
  onTestFinished(() => client.close());
  return client;
}

function administer(service: ServiceProcess) {
  const transport = createGrpcTransport({ address: service.address, services: [CacheService] });
  onTestFinished(() => transport.close());
  return createClient(CacheService, transport);
}

/** Puts until a get finds it: what a cache took too late counts for nothing. */
async function keep(client: CacheClient, name: string, value: string): Promise<void> {
  const stored = async () => {
    await client.put("ANSWER", scope, name, Buffer.from(value));
    return text(await client.get("ANSWER", scope, name));
  };
  await expect.poll(stored, POLL).toBe(value);
}

/** Callers that ask on and on; tells how many asked and whether one was ever failed. */
function load(client: CacheClient) {
  let running = true;
  const counts = { asked: 0, found: 0, failed: 0 };
  const caller = async (i: number) => {
    for (let n = i; running; n += 1) {
      // Hits in the caller's own memory never leave the microtask queue: the loop must be let go by hand.
      await turn();
      counts.asked += 1;
      try {
        const { cached } = await client.getOrCompute("RETRIEVAL", scope, `q${n % 50}`, async () => Buffer.from("v"));
        if (cached) counts.found += 1;
      } catch {
        counts.failed += 1;
      }
    }
  };
  const callers = Promise.all(Array.from({ length: 8 }, (_, i) => caller(i)));
  return {
    counts,
    async stop() {
      running = false;
      await callers;
    },
  };
}

describe.skipIf(!(await redisFound({ own: true })))("two replicas of the cache on one Redis", () => {
  let redis: RedisServer;
  let replicas: [ServiceProcess, ServiceProcess];
  const start = () => startServiceProcess("cache", { RAGENTS_CACHE_URL: redis.url });

  beforeAll(async () => {
    redis = await startRedis({ own: true });
    replicas = await Promise.all([start(), start()]);
  }, 120_000);
  afterAll(async () => {
    await Promise.all(replicas.map((replica) => replica.stop()));
    await redis.stop();
  });

  test("tell each other's callers what is invalidated and what is replaced", async () => {
    const [here, there] = [connect(replicas[0]), connect(replicas[1])];
    await keep(here, "q", "one");
    await expect.poll(async () => text(await there.get("ANSWER", scope, "q")), POLL).toBe("one");
    await keep(here, "q", "two");
    await expect.poll(async () => text(await there.get("ANSWER", scope, "q")), POLL).toBe("two");
    await administer(replicas[0]).invalidate({ selector: { collection: "docs" } });
    await expect.poll(() => there.get("ANSWER", scope, "q"), POLL).toBeUndefined();
  }, 60_000);

  test("share their statistics, which outlive a replica that is killed", async () => {
    const before = await administer(replicas[0]).getStats({});
    const clients = replicas.map((replica) => connect(replica, { localBytes: 0, patienceMs: 5_000 }));
    await keep(clients[0]!, "counted", "v");
    for (const client of clients) for (let i = 0; i < 10; i += 1) await client.get("ANSWER", scope, "counted");
    const hits = async (replica: ServiceProcess) => Number((await administer(replica).getStats({})).hits - before.hits);
    await expect.poll(() => hits(replicas[1]), POLL).toBeGreaterThanOrEqual(20);
    const counted = await hits(replicas[1]);
    await expect.poll(() => hits(replicas[0]), POLL).toBe(counted);
    await replicas[0].signal("SIGKILL");
    await replicas[0].ended;
    replicas[0] = await start();
    expect(await hits(replicas[0])).toBe(counted);
  }, 120_000);

  test("fail no caller when Redis is paused, killed and restarted, nor when a replica is killed", async () => {
    const clients = replicas.map((replica) => connect(replica));
    const loads = clients.map(load);
    const more = async (count: number, what: "asked" | "found") => {
      const before = loads.map(({ counts }) => counts[what]);
      await expect.poll(() => loads.every(({ counts }, i) => counts[what] > before[i]! + count), POLL).toBe(true);
    };
    await more(200, "found");
    await redis.pause();
    await more(200, "asked");
    await redis.resume();
    await more(200, "found");
    await redis.kill();
    await more(200, "asked");
    await redis.restart();
    await more(200, "found");
    await replicas[1].signal("SIGKILL");
    await more(200, "asked");
    replicas[1] = await start();
    for (const one of loads) await one.stop();
    expect(loads.map(({ counts }) => counts.failed)).toEqual([0, 0]);
  }, 120_000);
});
