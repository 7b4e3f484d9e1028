import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { ManualClock } from "../../tests/manual-clock.js";
import { resolveScope, sha256 } from "./cache-key.js";
import { fill, type FillOptions } from "./fill.js";
import type { Found } from "./lookup-batcher.js";

const scope = resolveScope("ANSWER", { collection: "docs", epoch: 1, model: "m", parameters: "{}" })!;
const lease = { token: "t", ttlMs: 3_000 };
const made = Uint8Array.of(1);

/** A fill whose lookups find `found`, one after the other and the last again and again. */
function start(found: Found[], options: Partial<FillOptions> = {}) {
  const clock = new ManualClock();
  const log: string[] = [];
  let looks = 0;
  let finish = (_: Uint8Array | Error) => {};
  const filled = fill({
    key: { scope, hash: sha256("q"), text: "q" },
    clock,
    maxWaitMs: 1_000,
    calls: {
      extend: async () => void log.push("extend"),
      release: async () => void log.push("release"),
    },
    find: async () => found[Math.min(looks++, found.length - 1)]!,
    compute: () =>
      new Promise((resolve, reject) => {
        log.push("compute");
        finish = (result) => (result instanceof Error ? reject(result) : resolve(result));
      }),
    store: async (_value, token) => {
      log.push(`store ${token}`);
      return true;
    },
    ...options,
  });
  filled.catch(() => {});
  return { clock, log, filled, finish: (result: Uint8Array | Error) => finish(result) };
}

describe("filling a missing value", () => {
  test("gives what is found", async () => {
    const { filled, log } = start([{ state: "hit", value: made, ttlMs: 1, similar: false }]);
    expect(await filled).toEqual({ value: made, cached: true });
    expect(log).toEqual([]);
  });

  test("computes under a lease, extends it until the value is stored, and names it", async () => {
    const { clock, log, filled, finish } = start([{ state: "leased", lease }]);
    await clock.advance(3_500);
    expect(log).toEqual(["compute", "extend", "extend", "extend"]);
    finish(made);
    expect(await filled).toEqual({ value: made, cached: false });
    await clock.advance(60_000);
    expect(log).toEqual(["compute", "extend", "extend", "extend", "store t"]);
  });

  test("does not extend a lease that is lost, nor stop for one that could not be extended", async () => {
    const failures = [new ConnectError("silent", Code.Unavailable), new ConnectError("lost", Code.FailedPrecondition)];
    let extended = 0;
    const calls = { extend: () => Promise.reject(failures[extended++]), release: async () => {} };
    const { clock, filled, finish } = start([{ state: "leased", lease }], { calls });
    await clock.advance(60_000);
    expect(extended).toBe(2);
    finish(made);
    expect(await filled).toEqual({ value: made, cached: false });
  });

  test("gives the lease back when it cannot compute", async () => {
    const { clock, log, filled, finish } = start([{ state: "leased", lease }]);
    await clock.advance(0);
    finish(new Error("away"));
    await expect(filled).rejects.toThrow("away");
    await clock.advance(60_000);
    expect(log).toEqual(["compute", "release"]);
  });

  test("gives the lease back when the value is not stored", async () => {
    const { clock, log, filled, finish } = start([{ state: "leased", lease }], { store: async () => false });
    await clock.advance(0);
    finish(made);
    expect(await filled).toEqual({ value: made, cached: false });
    expect(log).toEqual(["compute", "release"]);
  });

  test("looks again while another caller is at it", async () => {
    const { clock, log, filled } = start([{ state: "filling" }, { state: "filling" }, { state: "hit", value: made, ttlMs: 1, similar: false }]);
    await clock.advance(100);
    expect(await filled).toEqual({ value: made, cached: true });
    expect(log).toEqual([]);
  });

  test("computes without a lease when the other takes too long", async () => {
    const { clock, log, finish, filled } = start([{ state: "filling" }]);
    await clock.advance(900);
    expect(log).toEqual([]);
    await clock.advance(200);
    finish(made);
    expect(await filled).toEqual({ value: made, cached: false });
    expect(log).toEqual(["compute", "store undefined"]);
  });

  test.each(["fault", "skipped", "miss"] as const)("computes at once when the lookup is a %s", async (state) => {
    const { clock, log, finish, filled } = start([{ state }]);
    await clock.advance(0);
    finish(made);
    expect(await filled).toEqual({ value: made, cached: false });
    expect(log).toEqual(["compute", "store undefined"]);
  });
});
