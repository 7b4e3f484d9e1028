import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { silentLogger } from "../../runtime/logger.js";
import { packageRoot } from "../../runtime/package-root.js";
import { openRedis, type RedisClient } from "../../runtime/redis.js";
import { parseLimits } from "../../services/ratelimit/limits-file.js";
import { type RedisServer, redisFound, startRedis } from "../servers/redis.js";
import { startRedisCluster } from "../servers/redis-cluster.js";
import { endServerProcess, type ServerProcess, startServerProcess } from "../servers/server-process.js";
import { type ServiceProcess, startServiceProcess } from "../servers/service-process.js";
import { type Admission, excessOf } from "./admission-bound.js";

const LIMITS = `
tiers:
  local: { burst: 8, per_second: 10, per_minute: 90, on_failure: closed }
keys:
  - { key: busy, limit: { burst: 200, per_second: 400, per_minute: 6000, on_failure: closed } }
`;
const KEYS = ["busy", "busy", "user-1", "user-2", "user-3"];
const CALLERS = 8;

/** Starts a process whose wall clock is wrong by `skewMs`. */
const skewed = (skewMs: number) => ["--import", `data:text/javascript,const now=Date.now;Date.now=()=>now()+${skewMs}`];

/** What the limiter's state is in: a server, or some that share it, of which one is disturbed. */
interface Servers {
  url: string;
  disturbed: RedisServer;
  stop(): Promise<void>;
}

async function oneRedis(): Promise<Servers> {
  const redis = await startRedis({ own: true });
  return { url: redis.url, disturbed: redis, stop: () => redis.stop() };
}

async function redisCluster(): Promise<Servers> {
  const { url, nodes, stop } = await startRedisCluster();
  return { url, disturbed: nodes[0]!, stop };
}

describe.skipIf(!(await redisFound({ own: true }))).each([
  { on: "Redis", start: oneRedis },
  { on: "a Redis Cluster", start: redisCluster },
])("callers with leases in many processes, on $on", ({ start }) => {
  let folder: string;
  let servers: Servers;
  let redis: RedisServer;
  let probe: RedisClient;
  let services: ServiceProcess[] = [];
  const callers = new Set<ServerProcess>();
  let started = 0;

  function startCaller(): ServerProcess {
    started += 1;
    const address = `ipv4:${services.map((service) => service.address).join(",")}`;
    const args = [join(packageRoot, "tests/ratelimit/caller.ts"), address, join(folder, `${started}.history`), KEYS.join(","), "6"];
    const caller = startServerProcess(process.execPath, ["--import", "tsx", ...skewed((started % 2 ? 1 : -1) * started * 1_500), ...args], {
      cwd: packageRoot,
    });
    callers.add(caller);
    void caller.ended.then(() => callers.delete(caller));
    return caller;
  }

  async function history(): Promise<Map<string, Admission[]>> {
    const byKey = new Map<string, Admission[]>();
    for (const name of await readdir(folder)) {
      if (!name.endsWith(".history")) continue;
      for (const line of (await readFile(join(folder, name), "utf8")).split("\n").slice(0, -1)) {
        const [key, cost, atMs] = line.split(" ") as [string, string, string];
        byKey.set(key, [...(byKey.get(key) ?? []), { atMs: Number(atMs), cost: Number(cost) }]);
      }
    }
    return byKey;
  }

  const count = async () => [...(await history()).values()].flat().length;
  /** Waits until `more` requests have passed since now. */
  async function untilMore(more: number): Promise<void> {
    const before = await count();
    await expect.poll(count, { timeout: 60_000, interval: 200 }).toBeGreaterThan(before + more);
  }

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "ragents-admissions-"));
    await writeFile(join(folder, "limits.yaml"), LIMITS);
    servers = await start();
    redis = servers.disturbed;
    probe = openRedis(redis.url, { logger: silentLogger, commandTimeoutMs: 500 });
    const env = { RAGENTS_RATELIMIT_URL: servers.url, RAGENTS_RATELIMIT_CONFIG: join(folder, "limits.yaml") };
    services = await Promise.all([startServiceProcess("ratelimit", env), startServiceProcess("ratelimit", env)]);
  }, 120_000);

  afterAll(async () => {
    await Promise.all([...callers, ...services].map((one) => endServerProcess(one)));
    probe.disconnect();
    await servers.stop();
    await rm(folder, { recursive: true, force: true });
  });

  test("never let more pass than capacity + rate x time, through kills, restarts of Redis and wrong clocks", async () => {
    for (let i = 0; i < CALLERS; i += 1) startCaller();
    await untilMore(500);
    // Those that die hold shares, and die without a word.
    for (const caller of [...callers].slice(0, 2)) {
      await caller.signal("SIGKILL");
      startCaller();
    }
    await untilMore(200);
    // Nothing is on disk: Redis comes back empty, and every bucket with it.
    await redis.kill();
    await redis.restart();
    await untilMore(200);
    await redis.restart();
    await untilMore(200);
    await redis.pause();
    await expect(probe.ping(), "a paused Redis").rejects.toThrow();
    await redis.resume();
    await untilMore(200);
    await services[0]!.signal("SIGKILL");
    await untilMore(200);
    await Promise.all([...callers].map((caller) => endServerProcess(caller)));

    const limits = parseLimits(LIMITS);
    const byKey = await history();
    expect([...byKey.keys()].sort()).toEqual([...new Set(KEYS)].sort());
    for (const [key, admissions] of byKey) {
      const limit = limits.of({ tenant: "local" }, key);
      if (limit === "unlimited") throw new Error(`${key} has a limit`);
      for (const window of limit.windows) {
        expect(excessOf(admissions, window), `${key}, ${window.limit} in ${window.periodMs} ms`).toBeLessThan(0.01);
      }
    }
  }, 300_000);
});
