import { expect, test } from "vitest";
import { ManualClock } from "../../tests/manual-clock.js";
import { SettableClock } from "../../tests/settable-clock.js";
import { LEASE_MS } from "./bucket.js";
import type { Limit } from "./limit.js";
import { openMemoryStore } from "./store-memory.js";
import { describeBucketStore } from "./store.suite.js";

const MINUTE: Limit = { windows: [{ periodMs: 60_000, limit: 60, capacity: 10 }], onFailure: "open" };

describeBucketStore("memory", async () => {
  const clock = new SettableClock();
  const store = openMemoryStore({ clock });
  return { store, other: store, pass: async (ms) => clock.set(ms), close: () => store.close() };
});

test("a memory store forgets keys whose windows are full again", async () => {
  const clock = new ManualClock();
  const store = openMemoryStore({ clock, maxKeys: 100 });
  for (let i = 0; i < 1_000; i += 1) {
    await store.decide(`key-${i}`, MINUTE, { kind: "take", cost: 1 });
    await clock.advance(50);
  }
});

test("a memory store refuses more keys than it may hold", async () => {
  const store = openMemoryStore({ clock: new ManualClock(), maxKeys: 2 });
  await store.decide("a", MINUTE, { kind: "take", cost: 1 });
  await store.decide("b", MINUTE, { kind: "take", cost: 1 });
  await expect(store.decide("c", MINUTE, { kind: "take", cost: 1 })).rejects.toThrow("more than 2 keys");
  expect((await store.decide("a", MINUTE, { kind: "take", cost: 1 })).verdict).toBe("allowed");
});

test("a closed limit starts empty in a new memory store: what the last one granted is not known", async () => {
  const clock = new ManualClock();
  const store = openMemoryStore({ clock });
  const closed: Limit = { ...MINUTE, onFailure: "closed" };
  const first = await store.decide("key", closed, { kind: "take", cost: 1 });
  expect([first.verdict, Math.ceil(first.waitMs)]).toEqual(["refused", LEASE_MS + 1_000]);
  await clock.advance(LEASE_MS + 1_000);
  expect((await store.decide("key", closed, { kind: "take", cost: 1 })).verdict).toBe("allowed");
  await clock.advance(3_000);
  expect((await store.decide("other", closed, { kind: "take", cost: 4 })).verdict).toBe("allowed");
  expect((await store.decide("other", closed, { kind: "take", cost: 1 })).verdict).toBe("refused");
});
