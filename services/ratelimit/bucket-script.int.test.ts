import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { silentLogger } from "../../runtime/logger.js";
import { openRedis, type RedisClient } from "../../runtime/redis.js";
import { type RedisServer, redisFound, startRedis } from "../../tests/servers/redis.js";
import { type BucketOp, type BucketState, decide, forgetAfterMs } from "./bucket.js";
import type { Limit } from "./limit.js";
import { openRedisStore } from "./store-redis.js";

const START = Date.UTC(2026, 0, 1);

/** A clock that the test sets, and no expiry by Redis' own. */
const timeSource = (clock: string) => `
local real = redis
local redis = { call = function(command, ...)
  if command == 'SET' then return real.call('SET', (select(1, ...)), (select(2, ...))) end
  return real.call(command, ...)
end }
local now = tonumber(redis.call('GET', '${clock}'))`;

const window = (periodMs: number) =>
  fc.record({ periodMs: fc.constant(periodMs), limit: fc.integer({ min: 1, max: 5_000 }), capacity: fc.integer({ min: 5, max: 100 }) });
const limits = fc
  .tuple(window(1_000), window(60_000), window(3_600_000))
  .chain((windows) => fc.subarray(windows, { minLength: 1 }))
  .chain((windows) => fc.constantFrom<Limit>({ windows, onFailure: "open" }, { windows, onFailure: "closed" }));
const cost = fc.integer({ min: 1, max: 5 });
const name = fc.constantFrom("aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd");
const ops = fc.oneof<fc.Arbitrary<BucketOp>[]>(
  fc.record({ kind: fc.constant("take"), cost }),
  fc.record({ kind: fc.constant("peek"), cost }),
  fc.record({ kind: fc.constant("refund"), cost }),
  fc.record({
    kind: fc.constant("wait"),
    ticket: name,
    cost,
    priority: fc.integer({ min: 1, max: 4 }),
    maxWaitMs: fc.constantFrom(0, 100, 10_000, 1e9),
  }),
  fc.record({ kind: fc.constant("leave"), ticket: name }),
  fc.record({
    kind: fc.constant("lease"),
    holder: name,
    sequence: fc.integer({ min: 1, max: 20 }),
    cost: fc.integer({ min: 0, max: 5 }),
    want: fc.integer({ min: 0, max: 50 }),
    carry: fc.integer({ min: 0, max: 3 }),
    returned: fc.integer({ min: 0, max: 9 }),
  }),
);
const steps = fc.array(fc.record({ op: ops, pass: fc.constantFrom(0, 0, 1, 17, 250, 1_999, 2_000, 5_000, 61_000, -1_000, -7_000) }), {
  minLength: 1,
  maxLength: 40,
});

describe.skipIf(!(await redisFound()))("the script in Redis", () => {
  let server: RedisServer;
  let client: RedisClient;
  beforeAll(async () => {
    server = await startRedis();
    client = openRedis(server.url, { logger: silentLogger, commandTimeoutMs: 10_000 });
  });
  afterAll(async () => {
    client.disconnect();
    await server.stop();
  });

  test("decides every sequence of operations as the memory store does", async () => {
    await fc.assert(
      fc.asyncProperty(limits, limits, steps, async (first, second, sequence) => {
        const clock = `ragents:test:clock:${randomUUID()}`;
        const key = `tenant/${randomUUID()}`;
        let now = START;
        await client.set(clock, now);
        // A process that nobody knows: a closed limit starts from here.
        await client.del("ragents:ratelimit:{0}:process");
        const own = openRedis(server.url, { logger: silentLogger, commandTimeoutMs: 10_000 });
        const store = openRedisStore({ client: own, timeSource: timeSource(clock) });
        const lostAt = START + sequence[0]!.pass;
        let state: BucketState | undefined;
        for (const [i, { op, pass }] of sequence.entries()) {
          now += pass;
          await client.set(clock, now);
          const limit = i < sequence.length / 2 ? first : second;
          const inRedis = await store.decide(key, limit, op);
          const here = decide(structuredClone(state), limit, op, now, limit.onFailure === "closed" ? lostAt : 0);
          const forgotten = forgetAfterMs(here.state, limit) + Math.max(0, here.state.at - now) <= 0;
          if (op.kind !== "peek") state = forgotten ? undefined : here.state;
          expect(inRedis.verdict).toBe(here.outcome.verdict);
          expect(inRedis.granted).toBe(here.outcome.granted);
          expect(inRedis.waitMs).toBeCloseTo(here.outcome.waitMs, 4);
          inRedis.levels.forEach((level, w) => expect(level).toBeCloseTo(here.outcome.levels[w]!, 6));
        }
        await store.close();
        own.disconnect();
      }),
      { numRuns: 200 },
    );
  });
});
