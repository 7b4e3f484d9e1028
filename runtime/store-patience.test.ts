import { expect, test } from "vitest";
import { ManualClock } from "../tests/manual-clock.js";
import type { Logger } from "./logger.js";
import { silentLogger } from "./logger.js";
import { untilReachable } from "./store-patience.js";

const refused = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:5432"), { code: "ECONNREFUSED", syscall: "connect" });
const starting = Object.assign(new Error("the database system is starting up"), { code: "57P03" });
const loading = Object.assign(new Error("LOADING Redis is loading the dataset in memory"), { name: "ReplyError" });
const wrongPassword = Object.assign(new Error("password authentication failed"), { code: "28P01" });
const wrongRedisPassword = Object.assign(new Error("WRONGPASS invalid username-password pair"), { name: "ReplyError" });

/** A clock whose sleeps end at once, after their time has passed. */
function quickClock() {
  const clock = new ManualClock();
  return { now: () => clock.now(), monotonic: () => clock.monotonic(), sleep: (ms: number) => clock.advance(ms).then(() => {}) };
}

function recorded() {
  const lines: string[] = [];
  const logger: Logger = { ...silentLogger, warn: (event) => void lines.push(event), info: (event) => void lines.push(event) };
  return { lines, logger };
}

test.each([refused, starting, loading])("waits for a store that says $message, and tells so every five seconds", async (failure) => {
  const { lines, logger } = recorded();
  let tries = 0;
  await untilReachable(async () => {
    tries += 1;
    if (tries <= 20) throw failure;
  }, { clock: quickClock(), logger, waitMs: 30_000 });
  expect(tries).toBe(21);
  expect(lines).toEqual(["waiting_for_store", "waiting_for_store", "store_reachable"]);
});

test("gives up with the last failure when the time is over", async () => {
  const clock = quickClock();
  await expect(untilReachable(() => Promise.reject(refused), { clock, logger: silentLogger, waitMs: 3_000 })).rejects.toBe(refused);
  expect(clock.monotonic()).toBe(3_000);
});

test.each([wrongPassword, wrongRedisPassword])("does not wait when it is told $message", async (failure) => {
  const clock = quickClock();
  await expect(untilReachable(() => Promise.reject(failure), { clock, logger: silentLogger, waitMs: 3_000 })).rejects.toBe(failure);
  expect(clock.monotonic()).toBe(0);
});
