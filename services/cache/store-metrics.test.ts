import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { measuredStore } from "./store-metrics.js";
import { openMemoryStore } from "./store-memory.js";

test("shows hits and misses of all tenants by kind, and still counts them for the tenant", async () => {
  const registry = new Registry();
  const store = measuredStore(openMemoryStore({ maxBytes: 1_000_000, clock: new ManualClock() }), registry);
  store.count("acme", CacheKind.ANSWER, { hits: 3, localHits: 2 });
  store.count("other", CacheKind.ANSWER, { hits: 1, misses: 4 });
  const counts = async (name: string) => {
    const metric = (await registry.getMetricsAsJSON()).find((one) => one.name === name)!;
    return Object.fromEntries(metric.values.map(({ labels, value }) => [labels["kind"], value]));
  };
  expect(await counts("cache_hits_total")).toEqual({ embedding: 0, retrieval: 0, query_rewrite: 0, answer: 4 });
  expect(await counts("cache_misses_total")).toEqual({ embedding: 0, retrieval: 0, query_rewrite: 0, answer: 4 });
  expect((await store.stats("acme")).get(CacheKind.ANSWER)).toMatchObject({ hits: 3, misses: 0, localHits: 2 });
});
