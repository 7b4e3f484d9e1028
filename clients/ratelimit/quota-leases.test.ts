import { Code, ConnectError, createClient, createRouterTransport, type ServiceImpl } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { type CallContext, runInCall } from "../../runtime/call-context.js";
import { Budgets } from "../../services/ratelimit/budgets/budgets.js";
import { openMemoryBudgets } from "../../services/ratelimit/budgets/store-memory.js";
import { rateLimitHandlers } from "../../services/ratelimit/handlers.js";
import { Limiter } from "../../services/ratelimit/limiter.js";
import { parseLimits } from "../../services/ratelimit/limits-file.js";
import { openMemoryStore } from "../../services/ratelimit/store-memory.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { QuotaLeases } from "./quota-leases.js";

const open: QuotaLeases[] = [];
afterEach(async () => {
  for (const leases of open.splice(0)) await leases.close();
});

/** A service and callers of it, all on one clock that the test moves. */
function mesh(limit: string) {
  const clock = new ManualClock();
  const limits = parseLimits(`tiers: { local: ${limit} }`);
  const limiter = new Limiter({ store: openMemoryStore({ clock }), limits: () => limits, clock, stopping: new AbortController().signal });
  const call: CallContext = { identity: { tenant: "local" }, requestId: "r", deadline: Number.POSITIVE_INFINITY, signal: new AbortController().signal };
  const handlers = rateLimitHandlers({ limiter, budgets: new Budgets(openMemoryBudgets(clock), () => limits), clock });
  let asked = 0;
  const counting: Partial<ServiceImpl<typeof RateLimitService>> = {
    leaseQuota: (request, context) => {
      asked += 1;
      return runInCall(call, () => handlers.leaseQuota(request, context));
    },
  };
  const client = createClient(
    RateLimitService,
    createRouterTransport(({ service }) => void service(RateLimitService, counting)),
  );
  return {
    clock,
    asked: () => asked,
    caller() {
      const leases = new QuotaLeases({ client, identity: undefined, clock, patienceMs: 1_000, open: true });
      open.push(leases);
      return leases;
    },
  };
}

/** How many of `count` requests pass, one after the other. */
async function passing(leases: QuotaLeases, count: number, key = "key"): Promise<number> {
  let passed = 0;
  for (let i = 0; i < count; i += 1) if ((await leases.take(key, 1)).allowed) passed += 1;
  return passed;
}

describe("a caller's shares", () => {
  test("let as much pass as the limit does, and no more", async () => {
    const { caller } = mesh("{ burst: 10, per_minute: 60 }");
    expect(await passing(caller(), 30)).toBe(10);
  });

  test("spare most calls for a busy key with a large quota", async () => {
    const { caller, asked } = mesh("{ per_second: 100000 }");
    const leases = caller();
    expect(await passing(leases, 20_000)).toBe(20_000);
    expect(asked()).toBeLessThan(30);
  });

  test("are asked for together by those who need them at the same moment", async () => {
    const { caller, asked } = mesh("{ per_second: 100000 }");
    const leases = caller();
    const decisions = await Promise.all(Array.from({ length: 1_000 }, (_, i) => leases.take(`key${i % 10}`, 1)));
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(1_000);
    expect(asked()).toBe(1);
  });

  test("answer refusals without asking until the wait is over", async () => {
    const { caller, asked, clock } = mesh("{ burst: 2, per_minute: 60 }");
    const leases = caller();
    expect(await passing(leases, 2)).toBe(2);
    expect(await leases.take("key", 1)).toEqual({ allowed: false, waitMs: 1_000, remaining: 0, degraded: false });
    const before = asked();
    await clock.advance(400);
    expect(await leases.take("key", 1)).toMatchObject({ allowed: false, waitMs: 600 });
    expect(await passing(leases, 100)).toBe(0);
    expect(asked()).toBe(before);
    await clock.advance(600);
    expect(await passing(leases, 2)).toBe(1);
  });

  test("are not larger than what a quiet key needs", async () => {
    const { caller, asked, clock } = mesh("{ burst: 1000, per_minute: 60000 }");
    const leases = caller();
    const other = caller();
    for (let i = 0; i < 10; i += 1) {
      expect(await passing(leases, 1)).toBe(1);
      await clock.advance(1_000);
    }
    expect(asked()).toBe(10);
    expect((await other.take("key", 990)).allowed).toBe(true);
  });

  test("go back when they are not used, so that others can", async () => {
    const { caller, clock } = mesh("{ burst: 100, per_hour: 1 }");
    const [a, b] = [caller(), caller()];
    await Promise.all(Array.from({ length: 40 }, () => a.take("key", 1)));
    expect(await passing(a, 20)).toBe(20);
    expect((await b.take("key", 40)).allowed).toBe(false);
    await clock.advance(500);
    a.returnIdle();
    await clock.advance(1_000);
    expect((await b.take("key", 40)).allowed).toBe(true);
  });

  test("go back when the caller closes", async () => {
    const { caller } = mesh("{ burst: 100, per_hour: 1 }");
    const [a, b] = [caller(), caller()];
    await Promise.all(Array.from({ length: 30 }, () => a.take("key", 1)));
    expect(await passing(a, 10)).toBe(10);
    await a.close();
    expect((await b.take("key", 60)).allowed).toBe(true);
    expect((await b.take("key", 1)).allowed).toBe(false);
  });

  test("of several callers are never more than the limit together", async () => {
    const { caller, clock } = mesh("{ burst: 20, per_second: 10 }");
    const callers = Array.from({ length: 8 }, caller);
    let passed = 0;
    for (let tick = 0; tick < 100; tick += 1) {
      passed += (await Promise.all(callers.map((leases) => passing(leases, 5)))).reduce((sum, one) => sum + one, 0);
      await clock.advance(100);
    }
    // Ten seconds.
    expect(passed).toBeLessThanOrEqual(120);
    expect(passed).toBeGreaterThanOrEqual(100);
  });

  test("go back before they end, so that what they still hold is not lost", async () => {
    const { caller, clock } = mesh("{ burst: 100, per_hour: 1 }");
    const [a, b] = [caller(), caller()];
    await Promise.all(Array.from({ length: 40 }, () => a.take("key", 1)));
    for (let i = 0; i < 6; i += 1) {
      expect(await passing(a, 1)).toBe(1);
      await clock.advance(250);
      a.returnIdle();
    }
    expect((await b.take("key", 54)).allowed).toBe(true);
  });

  test("are of no use once they have ended", async () => {
    const { caller, clock } = mesh("{ burst: 100, per_hour: 1 }");
    const leases = caller();
    await Promise.all(Array.from({ length: 40 }, () => leases.take("key", 1)));
    expect(await passing(leases, 10)).toBe(10);
    const held = (await leases.take("key", 1)).remaining;
    await clock.advance(2_000);
    expect(leases.takeHeld("key", 1)).toBe(false);
    expect((await leases.take("key", 1)).remaining).toBeLessThan(held);
  });
});

test("a limit's own choice holds while the service is away, once it is known", async () => {
  let away = false;
  const client = createClient(
    RateLimitService,
    createRouterTransport(({ service }) => {
      service(RateLimitService, {
        leaseQuota: ({ shares }) => {
          if (away) throw new ConnectError("away", Code.Unavailable);
          return { shares: shares.map(({ key }) => ({ granted: 1, failClosed: key === "closed" })), ttl: { seconds: 2n } };
        },
      });
    }),
  );
  const leases = new QuotaLeases({ client, identity: undefined, clock: new ManualClock(), patienceMs: 1_000, open: true });
  for (const key of ["open", "closed"]) expect((await leases.take(key, 1)).allowed).toBe(true);
  away = true;
  expect(await leases.take("open", 1)).toMatchObject({ allowed: true, degraded: true });
  expect(await leases.take("closed", 1)).toMatchObject({ allowed: false, degraded: true });
  expect(await leases.take("never seen", 1)).toMatchObject({ allowed: true, degraded: true });
});
