import { durationMs } from "@bufbuild/protobuf/wkt";
import { Code as RpcCode, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { RateLimitResponse_Code as Code, RateLimitService } from "../../../gen/envoy/service/ratelimit/v3/rls_pb.js";
import { RateLimitUnit } from "../../../gen/envoy/type/v3/ratelimit_unit_pb.js";
import { systemClock } from "../../../runtime/clock.js";
import { reasonOf } from "../../../runtime/errors.js";
import { silentLogger } from "../../../runtime/logger.js";
import { createMetrics } from "../../../runtime/metrics.js";
import { serverInterceptors } from "../../../runtime/server-interceptors.js";
import { failureOf } from "../../../tests/failure-of.js";
import { ManualClock } from "../../../tests/manual-clock.js";
import { type BucketStore, StoreUnavailableError } from "../store.js";
import { openMemoryStore } from "../store-memory.js";
import { envoyHandlers } from "./handlers.js";
import { parseRules } from "./rules-file.js";

const RULES = `
domain: edge
descriptors:
  - { key: user, rate_limit: { unit: minute, requests_per_unit: 3 } }
  - { key: path, value: /slow, rate_limit: { unit: hour, requests_per_unit: 1, name: slow } }
  - { key: watched, shadow_mode: true, rate_limit: { unit: hour, requests_per_unit: 1 } }
  - { key: free, rate_limit: { unlimited: true } }
  - { key: blocked, rate_limit: { unit: day, requests_per_unit: 0 } }
  - { key: tokens, rate_limit: { unit: hour, requests_per_unit: 100, already_spent: true } }
  - { key: vip, rate_limit: { unit: second, requests_per_unit: 100, replaces: [{ name: slow }] } }
`;

function setUp(store?: BucketStore) {
  const clock = new ManualClock();
  const domains = parseRules([RULES]);
  const handlers = envoyHandlers({ store: store ?? openMemoryStore({ clock }), domains: () => domains });
  const interceptors = serverInterceptors({ logger: silentLogger, metrics: createMetrics(), clock: systemClock });
  const transport = createRouterTransport(({ service }) => void service(RateLimitService, handlers), { router: { interceptors } });
  const client = createClient(RateLimitService, transport);
  const ask = async (descriptors: Record<string, string>[], hitsAddend = 0, domain = "edge") => {
    const entries = descriptors.map((one) => ({ entries: Object.entries(one).map(([key, value]) => ({ key, value })) }));
    return client.shouldRateLimit({ domain, descriptors: entries, hitsAddend });
  };
  return { client, clock, ask };
}

test("refuses beyond a rule, for each value by itself, and tells unit, rest and wait", async () => {
  const { ask, clock } = setUp();
  for (const remaining of [2, 1, 0]) {
    const { overallCode, statuses } = await ask([{ user: "a" }]);
    expect([overallCode, statuses[0]?.limitRemaining]).toEqual([Code.OK, remaining]);
  }
  const refused = await ask([{ user: "a" }]);
  expect(refused.overallCode).toBe(Code.OVER_LIMIT);
  expect(refused.statuses[0]).toMatchObject({
    code: Code.OVER_LIMIT,
    currentLimit: { requestsPerUnit: 3, unit: 2, name: "edge.user" },
    limitRemaining: 0,
  });
  expect(durationMs(refused.statuses[0]!.durationUntilReset!)).toBe(20_000);
  expect(Object.fromEntries(refused.responseHeadersToAdd.map(({ key, value }) => [key, value]))).toEqual({
    "ratelimit-limit": "3, 3;w=60",
    "ratelimit-remaining": "0",
    "ratelimit-reset": "20",
    "retry-after": "20",
  });
  expect((await ask([{ user: "b" }])).overallCode).toBe(Code.OK);
  await clock.advance(20_000);
  expect((await ask([{ user: "a" }])).overallCode).toBe(Code.OK);
});

test("counts hits_addend, and refuses more than there ever is", async () => {
  const { ask } = setUp();
  expect((await ask([{ user: "a" }], 2)).statuses[0]?.limitRemaining).toBe(1);
  expect((await ask([{ user: "a" }], 2)).overallCode).toBe(Code.OVER_LIMIT);
  expect((await ask([{ user: "a" }], 1)).overallCode).toBe(Code.OK);
  const never = await ask([{ user: "b" }], 4);
  expect(never.overallCode).toBe(Code.OVER_LIMIT);
  expect(durationMs(never.statuses[0]!.durationUntilReset!)).toBe(60_000);
  expect((await ask([{ user: "b" }])).statuses[0]?.limitRemaining).toBe(2);
});

test("counts a descriptor's own hits before the request's, and only looks at 0 of them", async () => {
  const { client } = setUp();
  const ask = async (hits: bigint) => {
    const descriptor = { entries: [{ key: "user", value: "a" }], hitsAddend: hits };
    const { overallCode, statuses } = await client.shouldRateLimit({ domain: "edge", descriptors: [descriptor], hitsAddend: 2 });
    return [overallCode, statuses[0]?.limitRemaining];
  };
  expect(await ask(0n)).toEqual([Code.OK, 3]);
  expect(await ask(3n)).toEqual([Code.OK, 0]);
  expect(await ask(0n)).toEqual([Code.OVER_LIMIT, 0]);
});

test("gives hits back, never more than were taken", async () => {
  const { client } = setUp();
  const ask = async (hits: bigint, isNegativeHits = false) => {
    const descriptor = { entries: [{ key: "user", value: "a" }], hitsAddend: hits, isNegativeHits };
    const { overallCode, statuses } = await client.shouldRateLimit({ domain: "edge", descriptors: [descriptor] });
    return [overallCode, statuses[0]?.limitRemaining];
  };
  expect(await ask(3n)).toEqual([Code.OK, 0]);
  expect(await ask(2n, true)).toEqual([Code.OK, 2]);
  expect(await ask(2n ** 60n, true)).toEqual([Code.OK, 3]);
});

test("takes what is left for hits of work that was done already, when they are more", async () => {
  const { ask } = setUp();
  expect((await ask([{ tokens: "a" }], 60)).overallCode).toBe(Code.OK);
  expect((await ask([{ tokens: "a" }], 60)).statuses[0]).toMatchObject({ code: Code.OVER_LIMIT, limitRemaining: 0 });
  expect((await ask([{ tokens: "a" }])).overallCode).toBe(Code.OVER_LIMIT);
  expect((await ask([{ tokens: "b" }], 5_000)).statuses[0]).toMatchObject({ code: Code.OVER_LIMIT, limitRemaining: 0 });
});

test("limits on all descriptors, with a status for each in their order", async () => {
  const { ask } = setUp();
  await ask([{ path: "/slow" }]);
  const { overallCode, statuses, responseHeadersToAdd } = await ask([{ user: "a" }, { path: "/slow" }, { nobody: "knows" }]);
  expect(overallCode).toBe(Code.OVER_LIMIT);
  expect(statuses.map(({ code }) => code)).toEqual([Code.OK, Code.OVER_LIMIT, Code.OK]);
  expect(statuses[2]?.currentLimit).toBeUndefined();
  expect(responseHeadersToAdd[0]).toMatchObject({ key: "ratelimit-limit", value: "1, 1;w=3600" });
});

test("lets pass what no rule is for: unknown descriptors, unknown domains, unlimited ones", async () => {
  const { ask } = setUp();
  expect(await ask([{ unheard: "of" }])).toMatchObject({ overallCode: Code.OK, responseHeadersToAdd: [] });
  expect(await ask([{ user: "a" }], 0, "unheard-of")).toMatchObject({ overallCode: Code.OK });
  expect((await ask([{ free: "x" }], 4_000_000_000)).statuses[0]).toMatchObject({ code: Code.OK, limitRemaining: 0xffff_ffff });
});

test("always refuses what may never pass, and never what is only watched", async () => {
  const { ask } = setUp();
  expect((await ask([{ blocked: "x" }])).overallCode).toBe(Code.OVER_LIMIT);
  await ask([{ watched: "x" }]);
  const watched = await ask([{ watched: "x" }]);
  expect(watched.overallCode).toBe(Code.OK);
  expect(watched.statuses[0]).toMatchObject({ code: Code.OK, limitRemaining: 0 });
});

test("leaves out rules that another one replaces", async () => {
  const { ask } = setUp();
  await ask([{ path: "/slow" }]);
  expect((await ask([{ path: "/slow" }])).overallCode).toBe(Code.OVER_LIMIT);
  expect((await ask([{ vip: "x" }, { path: "/slow" }])).overallCode).toBe(Code.OK);
});

test("takes the limit that a descriptor brings", async () => {
  const { client } = setUp();
  const descriptor = { entries: [{ key: "unheard", value: "of" }], limit: { requestsPerUnit: 1, unit: RateLimitUnit.DAY } };
  const ask = async () => (await client.shouldRateLimit({ domain: "edge", descriptors: [descriptor] })).overallCode;
  expect([await ask(), await ask()]).toEqual([Code.OK, Code.OVER_LIMIT]);
});

test.each([
  { request: { domain: "", descriptors: [{}] }, field: "domain" },
  { request: { domain: "edge", descriptors: [] }, field: "descriptors" },
  { request: { domain: "edge", descriptors: Array.from({ length: 101 }, () => ({})) }, field: "descriptors" },
])("refuses a request without $field, or with too much of it", async ({ request, field }) => {
  const { client } = setUp();
  const error = await failureOf(client.shouldRateLimit(request));
  expect(error.code).toBe(RpcCode.InvalidArgument);
  expect(error.rawMessage).toContain(field);
});

test("leaves failing open or closed to Envoy when the store does not answer", async () => {
  const away: BucketStore = {
    decide: () => Promise.reject(new StoreUnavailableError("away")),
    ping: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const { ask } = setUp(away);
  const error = await failureOf(ask([{ user: "a" }]));
  expect([error.code, reasonOf(error)]).toEqual([RpcCode.Unavailable, "RATE_LIMIT_UNAVAILABLE"]);
});
