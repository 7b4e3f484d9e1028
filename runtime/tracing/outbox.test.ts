import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Clock, systemClock } from "../clock.js";
import { type Delivery, type DropReason, Outbox } from "./outbox.js";

/** No wait takes any time. */
const hasty: Clock = { ...systemClock, sleep: async (_ms, signal) => signal?.throwIfAborted() };

function receiver(answers: (batch: readonly number[], count: number) => Delivery) {
  const taken: number[] = [];
  const drops: Partial<Record<DropReason, number>> = {};
  let count = 0;
  return {
    taken,
    drops,
    options: {
      clock: hasty,
      onDrop: (n: number, reason: DropReason) => void (drops[reason] = (drops[reason] ?? 0) + n),
      async send(batch: readonly number[]) {
        const delivery = answers(batch, (count += 1));
        if (delivery.outcome === "taken") taken.push(...batch);
        return delivery;
      },
    },
  };
}

const TAKEN: Delivery = { outcome: "taken" };
const LATER: Delivery = { outcome: "later" };
const REFUSED: Delivery = { outcome: "refused" };

describe("an outbox", () => {
  test("delivers everything once and in order, however the receiver behaves", async () => {
    const behaviours = fc.array(fc.constantFrom(TAKEN, LATER, { outcome: "later", afterMs: 5 } as const), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(behaviours, fc.integer({ min: 0, max: 100 }), fc.integer({ min: 1, max: 9 }), async (script, items, maxBatch) => {
        const { options, taken, drops } = receiver((_, count) => script[count - 1] ?? TAKEN);
        const outbox = new Outbox<number>({ ...options, maxBatch });
        const sent = Array.from({ length: items }, (_, i) => i);
        for (const item of sent) outbox.add(item);
        await outbox.close(10_000);
        expect(taken).toEqual(sent);
        expect(drops).toEqual({});
      }),
    );
  });

  test("gives up what is refused, and none of its neighbours", async () => {
    const bad = new Set([3, 4, 17]);
    const { options, taken, drops } = receiver((batch) => (batch.some((item) => bad.has(item)) ? REFUSED : TAKEN));
    const outbox = new Outbox<number>({ ...options, maxBatch: 8 });
    for (let i = 0; i < 30; i += 1) outbox.add(i);
    await outbox.close(10_000);
    expect(taken).toEqual(Array.from({ length: 30 }, (_, i) => i).filter((i) => !bad.has(i)));
    expect(drops).toEqual({ refused: 3 });
  });

  test("drops and counts what it has no room for, and keeps what it has taken", async () => {
    const { options, taken, drops } = receiver(() => TAKEN);
    const outbox = new Outbox<number>({ ...options, capacity: 10 });
    for (let i = 0; i < 25; i += 1) outbox.add(i);
    expect(outbox.waiting).toBe(10);
    await outbox.close(10_000);
    expect(taken).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(drops).toEqual({ full: 15 });
  });

  test("ends in time when the receiver hangs, and counts what is lost", async () => {
    const { options, drops } = receiver(() => TAKEN);
    const outbox = new Outbox<number>({ ...options, send: () => new Promise(() => {}) });
    for (let i = 0; i < 5; i += 1) outbox.add(i);
    await outbox.close(20);
    outbox.add(6);
    expect(drops).toEqual({ shutdown: 6 });
  });

  test("goes on after it was empty", async () => {
    const { options, taken } = receiver(() => TAKEN);
    const outbox = new Outbox<number>(options);
    for (let i = 0; i < 3; i += 1) {
      outbox.add(i);
      await expect.poll(() => taken.length).toBe(i + 1);
    }
  });
});
