import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { BadRequestSchema, ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { backgroundCall, runInCall } from "../../runtime/call-context.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { meshError, reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { startRateLimitService } from "../../services/ratelimit/service.js";
import { failureOf } from "../../tests/failure-of.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { type BudgetAmounts, RateLimiter, type RateLimiterOptions } from "./index.js";

/** Ten at once; what comes back within a test is less than one. */
const SLOW = "tiers: { local: { burst: 10, per_hour: 1 } }";

async function start(limits: string, options: RateLimiterOptions = {}, clock: Clock = systemClock) {
  const folder = await mkdtemp(join(tmpdir(), "ragents-ratelimit-"));
  const path = join(folder, "limits.yaml");
  await writeFile(path, limits);
  const service = await startRateLimitService(
    { RAGENTS_RATELIMIT_PORT: "0", RAGENTS_RATELIMIT_CONFIG: path },
    { logger: silentLogger, metrics: createMetrics(), clock },
  );
  const limiter = new RateLimiter({ address: service.address, patienceMs: 10_000, ...options });
  onTestFinished(async () => {
    await limiter.close();
    await service.stop(1_000);
    await rm(folder, { recursive: true });
  });
  return { limiter, service };
}

/** A limiter whose service answers as told. */
function answering(handlers: Partial<ServiceImpl<typeof RateLimitService>>, options: RateLimiterOptions = {}): RateLimiter {
  const transport = createRouterTransport(({ service }) => void service(RateLimitService, handlers));
  return new RateLimiter({ transport, ...options });
}

const unavailable = () => {
  throw new ConnectError("away", Code.Unavailable);
};
const closed = () => {
  throw meshError(Code.Unavailable, ErrorReason.RATE_LIMIT_UNAVAILABLE, "closed", { retryAfterMs: 700 });
};

describe("a rate limiter's check", () => {
  test("takes until nothing is left", async () => {
    const { limiter } = await start(SLOW);
    expect(await limiter.check("user", { cost: 4 })).toEqual({ allowed: true, waitMs: 0, remaining: 6, degraded: false });
    const refused = await limiter.check("user", { cost: 7 });
    expect(refused).toMatchObject({ allowed: false, remaining: 6, degraded: false });
    expect(refused.waitMs).toBeGreaterThan(3_500_000);
  });

  test("of many at the same moment lets as many pass as there are tokens", async () => {
    const { limiter } = await start(SLOW);
    const decisions = await Promise.all(Array.from({ length: 1_200 }, () => limiter.check("user")));
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(10);
  });

  test("is unlimited where no limit applies", async () => {
    const { limiter } = await start("");
    expect(await limiter.check("user")).toEqual({ allowed: true, waitMs: 0, remaining: Number.POSITIVE_INFINITY, degraded: false });
  });

  test.each([{ cost: -1 }, { cost: 0 }, { cost: 1.5 }, { cost: Number.NaN }])("refuses a cost of $cost and spoils no other check", async ({ cost }) => {
    const { limiter } = await start(SLOW);
    const [bad, good] = await Promise.all([failureOf(limiter.check("user", { cost })), limiter.check("user")]);
    expect([bad.code, reasonOf(bad)]).toEqual([Code.InvalidArgument, "INVALID_FIELD"]);
    expect(good).toMatchObject({ allowed: true, remaining: 9 });
  });

  test("says of a cost above the capacity that it can never pass", async () => {
    const { limiter } = await start(SLOW);
    expect(reasonOf(await failureOf(limiter.check("user", { cost: 11 })))).toBe("COST_ABOVE_CAPACITY");
  });
});

/** Answers every check of a batch, or every share, alike. */
function allowAll(seen: (keys: string[]) => void = () => {}): Partial<ServiceImpl<typeof RateLimitService>> {
  return {
    batchCheck({ checks }) {
      seen(checks.map(({ key }) => key));
      return { results: checks.map(() => ({ result: { case: "decision", value: { allowed: true } } })) };
    },
    leaseQuota({ shares }) {
      seen(shares.map(({ key }) => key));
      return { shares: shares.map(() => ({ granted: 1 })), ttl: durationFromMs(2_000) };
    },
  };
}

describe.each([{ leases: true }, { leases: false }])("a rate limiter with leases: $leases", ({ leases }) => {
  test("asks for each tenant by itself", async () => {
    const calls: string[] = [];
    const limiter = answering(allowAll((keys) => calls.push(keys.join())), { leases });
    const callOf = (tenant: string) => backgroundCall({ tenant }, "r", new AbortController().signal);
    await Promise.all(["a", "b", "a"].map((tenant, i) => runInCall(callOf(tenant), () => limiter.check(`${tenant}${i}`))));
    expect(calls.sort()).toEqual(["a0,a2", "b1"]);
  });

  test.each([
    { onUnavailable: "open" as const, allowed: true, waitMs: 0 },
    { onUnavailable: "closed" as const, allowed: false, waitMs: 1_000 },
  ])("decides without its service: allowed=$allowed when $onUnavailable", async ({ onUnavailable, allowed, waitMs }) => {
    const limiter = answering({ batchCheck: unavailable, leaseQuota: unavailable }, { onUnavailable, leases });
    const decisions = await Promise.all([limiter.check("user"), limiter.check("user"), limiter.check("other")]);
    for (const decision of decisions) expect(decision).toEqual({ allowed, waitMs, remaining: 0, degraded: true });
  });

  test("does not wait long for a silent service", async () => {
    const silent = () => new Promise<never>(() => {});
    const limiter = answering({ batchCheck: silent, leaseQuota: silent }, { patienceMs: 50, leases });
    expect(await limiter.check("user")).toMatchObject({ allowed: true, degraded: true });
  });

  test("refuses while the store of a fail-closed limit is away, whatever the service's absence would mean", async () => {
    const limiter = answering({ batchCheck: closed, leaseQuota: closed, acquire: closed }, { onUnavailable: "open", leases });
    expect(await limiter.check("user")).toEqual({ allowed: false, waitMs: 700, remaining: 0, degraded: true });
    expect(reasonOf(await failureOf(limiter.acquire("user")))).toBe("RATE_LIMIT_UNAVAILABLE");
  });

  test("asks another replica when one goes away", async () => {
    let calls = 0;
    const once = allowAll(() => {
      calls += 1;
      if (calls === 1) unavailable();
    });
    expect(await answering(once, { leases }).check("user")).toMatchObject({ allowed: true, degraded: false });
  });

  test("lets an error of one check be its own", async () => {
    const { limiter } = await start(SLOW, { leases });
    const [bad, good] = await Promise.all([failureOf(limiter.check("user", { cost: 11 })), limiter.check("user")]);
    expect(reasonOf(bad)).toBe("COST_ABOVE_CAPACITY");
    expect(good).toMatchObject({ allowed: true, degraded: false });
  });
});

describe("processWithRateLimit", () => {
  test("runs the work when its turn comes, the more important first", async () => {
    const clock = new ManualClock();
    const { limiter } = await start("tiers: { local: { burst: 1, per_second: 1 } }", {}, clock);
    await limiter.check("user");
    const order: string[] = [];
    const work = (["LOW", "NORMAL", "CRITICAL"] as const).map((priority) =>
      limiter.processWithRateLimit("user", () => order.push(priority), { priority }),
    );
    // The three have their places when a fourth would have to wait for all of them.
    await expect.poll(async () => (await limiter.check("user")).waitMs).toBe(4_000);
    for (let count = 1; count <= 3; count += 1) {
      await clock.advance(1_000);
      await expect.poll(() => order).toHaveLength(count);
    }
    expect(await Promise.all(work)).toEqual([3, 2, 1]);
    expect(order).toEqual(["CRITICAL", "NORMAL", "LOW"]);
  });

  test("does not run the work when its turn would come too late", async () => {
    const { limiter } = await start(SLOW);
    await limiter.check("user", { cost: 10 });
    let ran = false;
    const error = await failureOf(limiter.processWithRateLimit("user", () => (ran = true), { timeout: 200 }));
    expect([error.code, reasonOf(error)]).toEqual([Code.ResourceExhausted, "BUCKET_EMPTY"]);
    expect(ran).toBe(false);
  });

  test("passes on what the work throws", async () => {
    const { limiter } = await start(SLOW);
    await expect(limiter.processWithRateLimit("user", () => Promise.reject(new Error("of the work")))).rejects.toThrow("of the work");
  });

  test("is given up by its signal", async () => {
    const { limiter } = await start("tiers: { local: { burst: 1, per_minute: 6 } }");
    await limiter.check("user");
    const controller = new AbortController();
    const waiting = failureOf(limiter.acquire("user", { signal: controller.signal }));
    controller.abort();
    expect((await waiting).code).toBe(Code.Canceled);
  });

  test("takes a place at another replica when its own stops", async () => {
    let calls = 0;
    const limiter = answering({
      acquire: () => {
        calls += 1;
        if (calls < 3) throw meshError(Code.Unavailable, ErrorReason.SHUTTING_DOWN, "stopping");
        return { decision: { allowed: true } };
      },
    });
    expect(await limiter.processWithRateLimit("user", () => "done")).toBe("done");
    expect(calls).toBe(3);
  });

  test.each(["open", "closed"] as const)("without its service, %s", async (onUnavailable) => {
    const limiter = answering({ acquire: unavailable }, { onUnavailable });
    const work = limiter.processWithRateLimit("user", () => "ran", { timeout: 300 }).catch((error: unknown) => ConnectError.from(error).code);
    expect(await work).toBe(onUnavailable === "open" ? "ran" : Code.Unavailable);
  });
});

describe("a budget", () => {
  const BUDGETS = "budgets: { local: { llm_tokens: { per_day: 1000 }, cost_microusd: { per_day: 50, on_failure: open } } }";

  test("is held while the work runs, and charged with what it used", async () => {
    const { limiter } = await start(BUDGETS);
    const first = await limiter.reserveBudget("user", { llm_tokens: 800, cost_microusd: 10 });
    const refused = await failureOf(limiter.reserveBudget("user", { llm_tokens: 300 }));
    expect([refused.code, reasonOf(refused)]).toEqual([Code.ResourceExhausted, "BUDGET_EXHAUSTED"]);
    expect(refused.findDetails(ErrorInfoSchema)[0]?.metadata).toEqual({ budget: "llm_tokens" });
    expect(retryAfterMsOf(refused)).toBeGreaterThan(0);
    await first.settle({ llm_tokens: 120 });
    await limiter.reserveBudget("user", { llm_tokens: 880 });
  });

  test("is charged even when the call that used it was cancelled", async () => {
    const { limiter } = await start(BUDGETS);
    const controller = new AbortController();
    await runInCall(backgroundCall({ tenant: "local" }, "r", controller.signal), async () => {
      const reservation = await limiter.reserveBudget("user", { llm_tokens: 800 });
      controller.abort();
      await reservation.settle({ llm_tokens: 100 });
    });
    await limiter.reserveBudget("user", { llm_tokens: 900 });
  });

  test.each([
    { amounts: { llm_tokens: 1001 }, reason: "COST_ABOVE_CAPACITY", field: "amounts[0].amount" },
    { amounts: { llm_tokens: -1 }, reason: "INVALID_FIELD", field: "amounts[0].amount" },
    { amounts: { llm_tokens: 1.5 }, reason: "INVALID_FIELD", field: "amounts[0].amount" },
    { amounts: { llm_token: 1 }, reason: "UNKNOWN_BUDGET", field: "amounts[0].budget" },
    { amounts: {}, reason: "INVALID_FIELD", field: "amounts" },
  ])("refuses $amounts with $reason", async ({ amounts, reason, field }) => {
    const { limiter } = await start(BUDGETS);
    const error = await failureOf(limiter.reserveBudget("user", amounts as BudgetAmounts));
    expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, reason]);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]?.field).toBe(field);
  });

  test("without limit, or without a service that must be asked, lets the work go on", async () => {
    const { limiter } = await start("");
    const free = await limiter.reserveBudget("user", { llm_tokens: 1_000_000 });
    await free.settle({ llm_tokens: 1 });
    expect(free.degraded).toBe(false);
    const away = await answering({ reserveBudget: unavailable }).reserveBudget("user", { llm_tokens: 1 });
    await away.settle({ llm_tokens: 1 });
    expect(away.degraded).toBe(true);
    const strict = answering({ reserveBudget: unavailable }, { onUnavailable: "closed" });
    expect((await failureOf(strict.reserveBudget("user", { llm_tokens: 1 }))).code).toBe(Code.Unavailable);
  });

  test("that is not reserved cannot be settled", async () => {
    const { service } = await start(BUDGETS);
    const transport = createGrpcTransport({ address: service.address, services: [RateLimitService] });
    onTestFinished(() => transport.close());
    const client = createClient(RateLimitService, transport);
    const error = await failureOf(client.settleReservation({ key: "user", reservation: "never-reserved-this" }));
    expect([error.code, reasonOf(error)]).toEqual([Code.NotFound, "RESERVATION_NOT_FOUND"]);
    const { budgets } = await client.getBudgets({ key: "user" });
    expect(budgets.map(({ budget, remaining, reserved }) => [budget, remaining, reserved])).toEqual([
      ["llm_tokens", 1_000n, 0n],
      ["cost_microusd", 50n, 0n],
    ]);
  });
});
