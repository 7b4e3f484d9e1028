import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.js";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { Priority } from "../../gen/ragents/ratelimit/v1/ratelimit_pb.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { failureOf } from "../../tests/failure-of.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { startRateLimitService } from "./service.js";

async function start(limits: string, env: NodeJS.ProcessEnv = {}, clock: Clock = systemClock) {
  const folder = await mkdtemp(join(tmpdir(), "ragents-ratelimit-"));
  const path = join(folder, "limits.yaml");
  await writeFile(path, limits);
  const service = await startRateLimitService(
    { RAGENTS_RATELIMIT_PORT: "0", RAGENTS_RATELIMIT_CONFIG: path, ...env },
    { logger: silentLogger, metrics: createMetrics(), clock },
  );
  const transport = createGrpcTransport({ address: service.address, services: [RateLimitService] });
  onTestFinished(async () => {
    transport.close();
    await service.stop(1_000);
    await rm(folder, { recursive: true });
  });
  return { service, path, client: createClient(RateLimitService, transport) };
}

/** Ten at once; what comes back within a test is less than one. */
const SLOW = "tiers: { local: { burst: 10, per_hour: 1 } }";

describe("the rate limit service", () => {
  test("takes until nothing is left, and says how long to wait", async () => {
    const { client } = await start(SLOW);
    const first = await client.check({ key: "user", cost: 10 });
    expect(first.decision).toMatchObject({ allowed: true, remaining: 0n, unlimited: false, degraded: false });
    expect(first.decision?.windows).toHaveLength(1);
    expect(first.decision?.windows[0]).toMatchObject({ limit: 1n, capacity: 10n, period: { seconds: 3_600n } });
    const second = await client.check({ key: "user" });
    expect(second.decision?.allowed).toBe(false);
    expect(durationMs(second.decision!.wait!)).toBeGreaterThan(3_500_000);
    expect(durationMs(second.decision!.wait!)).toBeLessThanOrEqual(3_600_000);
    expect((await client.check({ key: "another" })).decision?.remaining).toBe(9n);
  });

  test("looks without taking", async () => {
    const { client } = await start(SLOW);
    await client.check({ key: "user", cost: 4 });
    for (let i = 0; i < 3; i += 1) expect((await client.getLimit({ key: "user" })).decision).toMatchObject({ allowed: true, remaining: 6n });
  });

  test("has no limit for the local tenant unless one is configured", async () => {
    const { client } = await start("");
    const { decision } = await client.check({ key: "user", cost: 2_000_000_000 });
    expect(decision).toMatchObject({ allowed: true, unlimited: true });
    expect((await client.acquire({ key: "user" })).decision).toMatchObject({ allowed: true, unlimited: true });
  });

  test.each([
    { request: { key: "" }, field: "key" },
    { request: { key: "x".repeat(257) }, field: "key" },
    { request: { key: "a\nb" }, field: "key" },
    { request: { key: "user", cost: 0 }, field: "cost" },
    { request: { key: "user", cost: -1 }, field: "cost" },
  ])("refuses $request, naming $field", async ({ request, field }) => {
    const { client } = await start(SLOW);
    for (const error of [await failureOf(client.check(request)), await failureOf(client.acquire(request))]) {
      expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, "INVALID_FIELD"]);
      expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe(field);
    }
    expect((await client.getLimit({ key: "user" })).decision?.remaining).toBe(10n);
  });

  test("says of a cost above the capacity that it can never pass", async () => {
    const { client } = await start(SLOW);
    for (const error of [await failureOf(client.check({ key: "user", cost: 11 })), await failureOf(client.acquire({ key: "user", cost: 11 }))]) {
      expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, "COST_ABOVE_CAPACITY"]);
      expect(error.rawMessage).toContain("11 is above the 10 tokens that the limit ever holds: it can never pass");
      expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe("cost");
    }
  });

  test("decides a batch in its order, each check by itself", async () => {
    const { client } = await start(SLOW);
    const checks = [{ key: "a", cost: 8 }, { key: "a", cost: 5 }, { key: "b", cost: 11 }, { key: "a", cost: 2 }, { key: "b" }];
    const { results } = await client.batchCheck({ checks });
    expect(results.map(({ result }) => (result.case === "decision" ? result.value.allowed : result.value?.code))).toEqual([
      true,
      false,
      Code.InvalidArgument,
      true,
      true,
    ]);
  });

  describe("when tokens must be waited for", () => {
    const ONE_A_SECOND = "tiers: { local: { burst: 1, per_second: 1 } }";

    test("serves by arrival, each after its wait", async () => {
      const clock = new ManualClock();
      const { client } = await start(ONE_A_SECOND, {}, clock);
      await client.check({ key: "user" });
      const served: { place: number; waitedMs: number }[] = [];
      for (let place = 1; place <= 3; place += 1) {
        void client.acquire({ key: "user" }).then(({ waited }) => served.push({ place, waitedMs: durationMs(waited!) }));
        // The next arrives when this one has its place.
        await client.getLimit({ key: "user" });
      }
      for (let place = 1; place <= 3; place += 1) {
        await clock.advance(1_000);
        await expect.poll(() => served).toHaveLength(place);
      }
      expect(served).toEqual([1, 2, 3].map((place) => ({ place, waitedMs: place * 1_000 })));
    });

    test("serves the more important first", async () => {
      const clock = new ManualClock();
      const { client } = await start(ONE_A_SECOND, {}, clock);
      await client.check({ key: "user" });
      const served: string[] = [];
      for (const name of ["LOW", "NORMAL", "HIGH", "CRITICAL"] as const) {
        void client.acquire({ key: "user", priority: Priority[name] }).then(() => served.push(name));
        await client.getLimit({ key: "user" });
      }
      for (let count = 1; count <= 4; count += 1) {
        await clock.advance(1_000);
        await expect.poll(() => served).toHaveLength(count);
      }
      expect(served).toEqual(["CRITICAL", "HIGH", "NORMAL", "LOW"]);
    });

    test("refuses at once, with the wait, what would come too late", async () => {
      const { client } = await start(SLOW);
      await client.check({ key: "user", cost: 10 });
      const asked = [
        client.acquire({ key: "user", maxWait: durationFromMs(1_000) }),
        client.acquire({ key: "user" }, { timeoutMs: 20_000 }),
        client.acquire({ key: "user" }),
      ];
      for (const error of await Promise.all(asked.map(failureOf))) {
        expect([error.code, reasonOf(error)]).toEqual([Code.ResourceExhausted, "BUCKET_EMPTY"]);
        expect(retryAfterMsOf(error)).toBeGreaterThan(3_500_000);
        expect(retryAfterMsOf(error)).toBeLessThanOrEqual(3_600_000);
      }
    });

    test("forgets a waiter that went away", async () => {
      const { client } = await start("tiers: { local: { burst: 10, per_second: 2 } }");
      await client.check({ key: "user", cost: 10 });
      const controller = new AbortController();
      const gone = failureOf(client.acquire({ key: "user", cost: 10 }, { signal: controller.signal }));
      await expect.poll(async () => durationMs((await client.getLimit({ key: "user" })).decision!.wait!)).toBeGreaterThan(4_000);
      controller.abort();
      expect((await gone).code).toBe(Code.Canceled);
      await expect.poll(async () => durationMs((await client.getLimit({ key: "user" })).decision!.wait!)).toBeLessThan(500);
    });

    test("sends waiters away when it stops", async () => {
      const { client, service } = await start("tiers: { local: { burst: 1, per_minute: 2 } }");
      await client.check({ key: "user" });
      const waiting = failureOf(client.acquire({ key: "user" }, { timeoutMs: 60_000 }));
      await expect.poll(async () => durationMs((await client.getLimit({ key: "user" })).decision!.wait!)).toBeGreaterThan(31_000);
      await service.stop(20_000);
      const error = await waiting;
      expect([error.code, reasonOf(error)]).toEqual([Code.Unavailable, "SHUTTING_DOWN"]);
    });
  });

  test.each([
    { env: { RAGENTS_RATELIMIT_URL: "mysql://x" }, says: "RAGENTS_RATELIMIT_URL" },
    { env: { RAGENTS_RATELIMIT_CONFIG: "/nowhere/limits.yaml" }, says: "The file /nowhere/limits.yaml cannot be read (ENOENT)." },
  ])("does not start with $env", async ({ env, says }) => {
    await expect(start("", env)).rejects.toThrow(says);
  });

  test("takes over a changed file while it runs, and keeps what was spent", async () => {
    const { client, path } = await start(SLOW);
    const remaining = async () => Number((await client.getLimit({ key: "user" })).decision?.remaining);
    await client.check({ key: "user", cost: 4 });
    expect(await remaining()).toBe(6);
    await writeFile(path, `${SLOW}\nkeys: [{ key: user, limit: { burst: 100, per_hour: 1 } }]`);
    await expect.poll(remaining, { timeout: 20_000, interval: 200 }).toBe(96);
  });

  test("does not start on limits that are wrong", async () => {
    await expect(start("tiers: { local: { burst: 1 } }")).rejects.toThrow("tiers.local");
  });
});
