import { describe, expect, test } from "vitest";
import { ManualClock } from "../../tests/manual-clock.js";
import { AdaptiveBatches } from "./adaptive-batches.js";

/** Batches that take 40 ms. */
function open(takesMs = 40) {
  const clock = new ManualClock();
  const sent: { items: number[]; at: number }[] = [];
  const batches = new AdaptiveBatches<number, number>({
    clock,
    async run(items) {
      sent.push({ items: [...items], at: clock.monotonic() });
      await clock.sleep(takesMs);
      if (items.includes(-1)) throw new Error("no");
      return items.map((item) => item * 10);
    },
  });
  return { clock, sent, batches };
}

describe("adaptive batches", () => {
  test("add no wait when nothing is under way, however often that is", async () => {
    const { clock, sent, batches } = open();
    for (let i = 0; i < 20; i += 1) {
      const result = batches.add(i);
      expect(sent).toHaveLength(i + 1);
      await clock.advance(50);
      expect(await result).toBe(i * 10);
    }
    expect(sent.every(({ items }) => items.length === 1)).toBe(true);
  });

  test("gather what arrives meanwhile, at most 8 at once, and answer each with its own", async () => {
    const { clock, sent, batches } = open();
    const results = Promise.all(Array.from({ length: 20 }, (_, i) => batches.add(i)));
    await clock.advance(200);
    expect(await results).toEqual(Array.from({ length: 20 }, (_, i) => i * 10));
    expect(Math.max(...sent.map(({ items }) => items.length))).toBeLessThanOrEqual(8);
    expect(batches.isIdle).toBe(true);
  });

  test("adapt window and size: large for slow batches and many arrivals, small for the others", async () => {
    const slow = open(400);
    for (let i = 0; i < 200; i += 1) {
      slow.batches.add(i).catch(() => {});
      await slow.clock.advance(10);
    }
    expect([slow.batches.windowMs, slow.batches.size]).toEqual([100, 8]);
    expect(slow.sent.slice(-3).map(({ items }) => items.length)).toEqual([8, 8, 8]);
    const quick = open(4);
    for (let i = 0; i < 200; i += 1) {
      quick.batches.add(i).catch(() => {});
      await quick.clock.advance(10);
    }
    expect(quick.batches.windowMs).toBeLessThan(3);
    expect(quick.batches.size).toBe(1);
  });

  test("let nobody wait longer than the window", async () => {
    const { clock, sent, batches } = open(1_000);
    for (let i = 0; i < 30; i += 1) {
      batches.add(i).catch(() => {});
      await clock.advance(1_100);
    }
    expect(batches.windowMs).toBe(100);
    void batches.add(100);
    const before = clock.monotonic();
    void batches.add(101);
    await clock.advance(150);
    expect(sent.at(-1)).toMatchObject({ items: [101] });
    expect((sent.at(-1)?.at ?? 0) - before).toBeLessThanOrEqual(100);
  });

  test("fail together, and go on", async () => {
    const { clock, batches } = open();
    const first = batches.add(1);
    const failing = [batches.add(-1)].map((result) => result.catch((error: Error) => error.message));
    await clock.advance(100);
    expect([await first, ...(await Promise.all(failing))]).toEqual([10, "no"]);
    const next = batches.add(2);
    await clock.advance(50);
    expect(await next).toBe(20);
  });
});
