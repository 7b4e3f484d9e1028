import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { PriorityQueue, RateLimiter } from "../../clients/ratelimit/index.js";
import { QueueService } from "../../gen/ragents/ratelimit/v1/queue_service_pb.js";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { systemClock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { openRedis } from "../../runtime/redis.js";
import { startRateLimitService } from "../../services/ratelimit/service.js";
import { failureOf } from "../failure-of.js";
import { type RedisServer, redisFound, startRedis } from "../servers/redis.js";
import { startServiceProcess } from "../servers/service-process.js";

/** What comes back to an open limit within a test is less than one; a closed one is full again twelve seconds after a loss. */
const LIMITS = `
keys:
  - { key: "open:*", limit: { burst: 100, per_day: 1, on_failure: open } }
  - { key: "slow:*", limit: { burst: 1, per_minute: 15 } }
  - { key: "closed:*", limit: { burst: 1000, per_second: 100, on_failure: closed } }
budgets:
  local: { llm_tokens: { per_day: 1000 }, cost_microusd: { per_day: 1000, on_failure: open } }
`;

async function limitsFile(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ragents-limits-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, "limits.yaml");
  await writeFile(path, LIMITS);
  return path;
}

/** A service on a Redis of its own, and callers of it. */
async function setUp(args: string[] = []) {
  const redis = await startRedis({ own: true, args });
  const service = await startRateLimitService(
    { RAGENTS_RATELIMIT_PORT: "0", RAGENTS_RATELIMIT_URL: redis.url, RAGENTS_RATELIMIT_CONFIG: await limitsFile() },
    { logger: silentLogger, metrics: createMetrics(), clock: systemClock },
  );
  const transport = createGrpcTransport({ address: service.address, services: [RateLimitService, QueueService] });
  const limiter = new RateLimiter({ transport, leases: false, patienceMs: 5_000 });
  const queue = new PriorityQueue({ transport });
  onTestFinished(async () => {
    transport.close();
    await service.stop(1_000);
    await redis.stop();
  });
  return { redis, service, transport, limiter, queue, client: createClient(RateLimitService, transport) };
}

/** A fail-closed limit counts as spent until what may have been leased before has ended. */
async function untilClosedLimitsFill(limiter: RateLimiter): Promise<void> {
  await expect.poll(async () => (await limiter.check("closed:first")).allowed, { timeout: 10_000 }).toBe(true);
}

describe.skipIf(!(await redisFound({ own: true })))("the rate limiter without its Redis", () => {
  const faults: { name: string; begin: (redis: RedisServer) => Promise<void>; end: (redis: RedisServer) => Promise<void> }[] = [
    { name: "killed", begin: (redis) => redis.kill(), end: (redis) => redis.restart() },
    { name: "paused", begin: (redis) => redis.pause(), end: (redis) => redis.resume() },
  ];

  test.each(faults)("$name: lets pass or refuses, as each limit says, and heals", async ({ begin, end }) => {
    const { redis, service, limiter, queue } = await setUp();
    await untilClosedLimitsFill(limiter);
    expect(await limiter.check("open:a")).toMatchObject({ allowed: true, degraded: false, remaining: 99 });
    await begin(redis);
    // Under load: what is asked at the same moment fails together, not one after the other.
    const decisions = await Promise.all(
      Array.from({ length: 200 }, (_, i) => limiter.check(i % 2 === 0 ? `open:${i}` : `closed:${i}`)),
    );
    decisions.forEach((decision, i) => expect(decision).toMatchObject({ allowed: i % 2 === 0, degraded: true }));
    expect(await limiter.acquire("open:a")).toMatchObject({ degraded: true });
    expect(reasonOf(await failureOf(limiter.acquire("closed:a")))).toBe("RATE_LIMIT_UNAVAILABLE");
    expect(reasonOf(await failureOf(limiter.reserveBudget("user", { llm_tokens: 1 })))).toBe("RATE_LIMIT_UNAVAILABLE");
    await limiter.reserveBudget("user", { cost_microusd: 1 });
    expect(reasonOf(await failureOf(queue.enqueue("work")))).toBe("RATE_LIMIT_UNAVAILABLE");
    expect(await service.notReady()).toEqual(["rate limit store"]);

    await end(redis);
    await expect.poll(() => service.notReady(), { timeout: 10_000 }).toEqual([]);
    await expect.poll(async () => (await limiter.check("open:b")).degraded, { timeout: 10_000 }).toBe(false);
    await expect.poll(async () => (await limiter.check("closed:b")).allowed, { timeout: 10_000 }).toBe(true);
    await queue.enqueue("work");
  });

  test("restarted empty: an open limit is full again, a closed one fills from nothing", async () => {
    const { redis, limiter } = await setUp();
    await untilClosedLimitsFill(limiter);
    expect(await limiter.check("open:a", { cost: 100 })).toMatchObject({ allowed: true, remaining: 0 });
    await redis.restart();
    await expect.poll(async () => (await limiter.check("open:a")).degraded, { timeout: 10_000 }).toBe(false);
    expect((await limiter.check("open:a")).remaining).toBeGreaterThan(50);
    const closed = await limiter.check("closed:new", { cost: 1_000 });
    expect(closed).toMatchObject({ allowed: false, degraded: false });
  });

  test("out of memory: fails like one that is away, and heals when there is room", async () => {
    const { redis, limiter, queue } = await setUp();
    const admin = openRedis(redis.url, { logger: silentLogger });
    onTestFinished(() => admin.disconnect());
    const item = await queue.enqueue("work");
    // Less than what it holds already: every write is refused, as when it has filled up.
    await admin.config("SET", "maxmemory", "1");
    expect(await limiter.check("open:a")).toMatchObject({ allowed: true, degraded: true });
    expect(await limiter.check("closed:a")).toMatchObject({ allowed: false, degraded: true });
    expect(reasonOf(await failureOf(limiter.reserveBudget("user", { llm_tokens: 1 })))).toBe("RATE_LIMIT_UNAVAILABLE");
    expect(reasonOf(await failureOf(queue.enqueue("more work")))).toBe("RATE_LIMIT_UNAVAILABLE");
    await admin.config("SET", "maxmemory", "0");
    expect(await limiter.check("open:a")).toMatchObject({ allowed: true, degraded: false });
    expect(await queue.cancel(item)).toBe(false);
  });

  test("with damaged values: those buckets start anew, the others are as they were", async () => {
    const { redis, limiter } = await setUp();
    const admin = openRedis(redis.url, { logger: silentLogger });
    onTestFinished(() => admin.disconnect());
    for (const key of ["open:cut", "open:other-type", "open:whole"]) await limiter.check(key, { cost: 100 });
    const nameOf = (key: string) => `ragents:ratelimit:{0}:local/${key}`;
    const bytes = await admin.getBuffer(nameOf("open:cut"));
    await admin.set(nameOf("open:cut"), bytes!.subarray(0, 12));
    await admin.del(nameOf("open:other-type"));
    await admin.rpush(nameOf("open:other-type"), "x");
    expect(await limiter.check("open:cut")).toMatchObject({ allowed: true, remaining: 99, degraded: false });
    expect(await limiter.check("open:other-type")).toMatchObject({ allowed: true, remaining: 99, degraded: false });
    expect(await limiter.check("open:whole")).toMatchObject({ allowed: false, degraded: false });
  });

  test("killed with its log on disk: what was acknowledged is there afterwards", async () => {
    const { redis, limiter, queue } = await setUp(["--appendonly", "yes", "--appendfsync", "always"]);
    const reservation = await limiter.reserveBudget("user", { llm_tokens: 600 });
    const acknowledged: string[] = [];
    let sent = 0;
    const producing = (async () => {
      for (; ; sent += 1) acknowledged.push(await queue.enqueue(`${sent}`));
    })().catch(() => {});
    await expect.poll(() => acknowledged.length, { timeout: 20_000 }).toBeGreaterThan(30);
    await redis.kill();
    await producing;
    await redis.restart();

    const found = new Set<string>();
    const controller = new AbortController();
    onTestFinished(() => controller.abort());
    // What a worker was given whose stream broke just then comes again when its lease ends.
    const working = queue.work(async ({ id }) => void found.add(id), { concurrency: 20, leaseMs: 5_000, signal: controller.signal });
    await expect.poll(() => acknowledged.every((id) => found.has(id)), { timeout: 20_000 }).toBe(true);
    controller.abort();
    await working;
    expect(reasonOf(await failureOf(limiter.reserveBudget("user", { llm_tokens: 500 })))).toBe("BUDGET_EXHAUSTED");
    await reservation.settle({ llm_tokens: 100 });
    await limiter.reserveBudget("user", { llm_tokens: 500 });
  });
});

describe.skipIf(!(await redisFound({ own: true })))("a replica that is told to end", () => {
  test("in the middle of a stream and of a wait: callers go on at another one, and nothing is lost or done twice", async () => {
    const redis = await startRedis({ own: true });
    onTestFinished(() => redis.stop());
    const env = { RAGENTS_RATELIMIT_URL: redis.url, RAGENTS_RATELIMIT_CONFIG: await limitsFile() };
    const replicas = await Promise.all([startServiceProcess("ratelimit", env), startServiceProcess("ratelimit", env)]);
    onTestFinished(() => Promise.all(replicas.map((replica) => replica.stop())).then(() => {}));
    const address = `ipv4:${replicas.map((replica) => replica.address).join(",")}`;
    const queue = new PriorityQueue({ address });
    const limiter = new RateLimiter({ address });
    onTestFinished(async () => {
      queue.close();
      await limiter.close();
    });

    const done: string[] = [];
    const controller = new AbortController();
    onTestFinished(() => controller.abort());
    const working = [1, 2].map(() =>
      queue.work(async ({ payload }) => void done.push(Buffer.from(payload).toString()), { concurrency: 2, signal: controller.signal }),
    );
    let put = 0;
    const producer = (async () => {
      for (; put < 300; put += 1) await queue.enqueue(`${put}`, { idempotencyKey: `item-${put}` });
    })();
    await expect.poll(() => done.length, { timeout: 20_000 }).toBeGreaterThan(50);

    // Both wait for the same token: one at the replica that ends, one wherever it can.
    const raw = createGrpcTransport({ address: replicas[0]!.address, services: [RateLimitService] });
    onTestFinished(() => raw.close());
    const client = createClient(RateLimitService, raw);
    await client.check({ key: "slow:a" });
    const sentAway = failureOf(client.acquire({ key: "slow:a" }));
    const patient = limiter.processWithRateLimit("slow:a", () => "done", { timeout: 20_000 });
    await expect.poll(async () => Number((await client.getLimit({ key: "slow:a" })).decision?.wait?.seconds)).toBeGreaterThan(8);

    await replicas[0]!.signal("SIGTERM");
    await replicas[0]!.ended;
    await producer.catch(async () => {
      // The call that was under way when its replica ended is repeated under its key.
      for (; put < 300; put += 1) await queue.enqueue(`${put}`, { idempotencyKey: `item-${put}` });
    });
    const error = await sentAway;
    expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, "SHUTTING_DOWN"]);
    expect(await patient).toBe("done");
    await expect.poll(() => new Set(done).size, { timeout: 45_000 }).toBe(300);
    controller.abort();
    await Promise.all(working);
    expect(done).toHaveLength(300);
    expect((await queue.stats()).acknowledged).toBe(300);
  }, 120_000);
});
