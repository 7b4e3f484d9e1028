import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { ManualClock } from "../../tests/manual-clock.js";
import type { Addition, CheckpointStore, PutBatch } from "./store.js";
import { measuredStore } from "./store-metrics.js";

const batch: PutBatch = { checkpoint: undefined, writes: [] };
const context = { fencingToken: 0n, now: new Date(0) };
const addition = (...sizes: number[]): Addition => ({
  contents: sizes.map((size, i) => ({ hash: Buffer.from([i]), stored: Buffer.alloc(size) })),
  required: [],
});

/** Only put is called; a thread "incomplete" lacks what the put refers to. */
const store = {
  put: async ({ threadId }) => ({ missing: threadId === "incomplete" ? [Buffer.from("hash")] : [], checkpointCount: 1 }),
} satisfies Pick<CheckpointStore, "put"> as unknown as CheckpointStore;

test("counts puts and bytes that were stored, and the threads of the last five minutes", async () => {
  const registry = new Registry();
  const clock = new ManualClock();
  const measured = measuredStore(store, registry, clock);
  const value = async (name: string) => (await registry.getMetricsAsJSON()).find((metric) => metric.name === name)!.values[0]!.value;
  const put = (threadId: string, tenant = "local") => measured.put({ tenant, threadId }, batch, addition(100, 20), context);
  await put("a");
  await put("incomplete");
  await clock.advance(4 * 60_000);
  await put("b");
  await put("b", "acme");
  expect(await value("checkpoint_puts_total")).toBe(3);
  expect(await registry.getSingleMetricAsString("checkpoint_put_seconds")).toContain("checkpoint_put_seconds_count 4");
  expect(await value("checkpoint_stored_bytes_total")).toBe(360);
  expect(await value("checkpoint_active_threads")).toBe(3);
  await clock.advance(2 * 60_000);
  expect(await value("checkpoint_active_threads")).toBe(2);
  await put("a");
  expect(await value("checkpoint_active_threads")).toBe(3);
});
