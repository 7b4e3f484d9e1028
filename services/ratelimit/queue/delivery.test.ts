import { expect, test } from "vitest";
import { ManualClock } from "../../../tests/manual-clock.js";
import { deliver } from "./delivery.js";
import type { QueueSettings } from "./store.js";
import { openMemoryQueues } from "./store-memory.js";

const SETTINGS: QueueSettings = { name: "q", maxDepth: 100, maxTenantDepth: 100, maxAttempts: 5, ageingMs: 10_000 };

function setUp(items: number) {
  const store = openMemoryQueues(new ManualClock());
  const put = () => store.enqueue(SETTINGS, { tenant: "a", priority: 3, ttlMs: 60_000, idempotencyKey: "", payload: new Uint8Array() });
  const controller = new AbortController();
  const start = (maxInFlight: number) =>
    deliver({ store, settings: () => SETTINGS, maxInFlight, leaseMs: 30_000, signal: controller.signal });
  return { store, put, controller, start, ready: Promise.all(Array.from({ length: items }, put)) };
}

test("a delivery that ends gives back at once what it has taken and not handed over", async () => {
  const { store, start, ready } = setUp(3);
  await ready;
  const stream = start(10);
  expect((await stream.next()).done).toBe(false);
  expect(await store.counts(SETTINGS)).toMatchObject({ inFlight: 3 });
  await stream.return(undefined);
  const { waiting, inFlight } = await store.counts(SETTINGS);
  expect([waiting[2]!.depth, inFlight]).toEqual([2, 1]);
});

test("a delivery that waits goes on when an item comes, and when one is acknowledged", async () => {
  const { store, put, start } = setUp(0);
  const stream = start(1);
  const first = stream.next();
  await put();
  const { value } = await first;
  await put();
  const second = stream.next();
  await store.ack(SETTINGS, value!.id, value!.lease);
  expect((await second).done).toBe(false);
  await stream.return(undefined);
});

test("a delivery that waits ends with its signal", async () => {
  const { controller, start } = setUp(0);
  const next = start(1).next();
  controller.abort();
  expect((await next).done).toBe(true);
});
