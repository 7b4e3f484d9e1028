import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { CacheKind, CacheScopeSchema } from "../../gen/ragents/cache/v1/cache_pb.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { entryScope } from "./entry-scope.js";
import { openMemoryStore } from "./store-memory.js";
import { describeCacheStore } from "./store.suite.js";

describeCacheStore("memory", async () => {
  const clock = new ManualClock();
  const store = openMemoryStore({ maxBytes: 100_000_000, clock });
  return { store, other: store, pass: (ms) => clock.advance(ms), close: () => store.close() };
});

describe("a memory store at its bound", () => {
  const scope = entryScope(
    "local",
    CacheKind.RETRIEVAL,
    create(CacheScopeSchema, { collection: "c", epoch: "1", model: "m", parametersHash: new Uint8Array(32) }),
  );
  const hash = (i: number) => new Uint8Array(32).fill(i);
  const item = (i: number, size: number, ttlMs = 60_000) => ({
    hash: hash(i),
    value: { bytes: new Uint8Array(size), deflated: false },
    ttlMs,
  });
  const stats = async (store: ReturnType<typeof openMemoryStore>) => (await store.stats("local")).get(CacheKind.RETRIEVAL)!;

  test("evicts what was used least recently, and never exceeds the bound", async () => {
    const store = openMemoryStore({ maxBytes: 10_000, clock: new ManualClock() });
    for (let i = 0; i < 5; i += 1) await store.put([{ scope, items: [item(i, 1_500)] }]);
    await store.get([{ scope, hashes: [hash(0)] }]);
    await store.put([{ scope, items: [item(5, 1_500)] }]);
    const found = await store.get([{ scope, hashes: [0, 1, 2, 3, 4, 5].map(hash) }]);
    expect(found[0]!.map(({ state }) => state)).toEqual(["hit", "miss", "hit", "hit", "hit", "hit"]);
    expect(await stats(store)).toMatchObject({ entries: 5, evictions: 1, expirations: 0 });
    expect((await stats(store)).bytes).toBeLessThanOrEqual(10_000);
  });

  test("refuses a value that is larger than the bound, and drops the older one", async () => {
    const store = openMemoryStore({ maxBytes: 10_000, clock: new ManualClock() });
    await store.put([{ scope, items: [item(1, 100)] }]);
    expect(await store.put([{ scope, items: [item(1, 10_000)] }])).toEqual([["no_room"]]);
    expect(await store.get([{ scope, hashes: [hash(1)] }])).toEqual([[{ state: "miss" }]]);
    expect(await stats(store)).toMatchObject({ entries: 0, bytes: 0 });
  });

  test("counts an entry that had expired when room was made as expired", async () => {
    const clock = new ManualClock();
    const store = openMemoryStore({ maxBytes: 10_000, clock });
    await store.put([{ scope, items: [item(1, 5_000, 1_000)] }]);
    await clock.advance(1_000);
    await store.put([{ scope, items: [item(2, 5_000)] }]);
    expect(await stats(store)).toMatchObject({ entries: 1, evictions: 0, expirations: 1 });
  });

  test("keeps bytes of its own, not parts of the request's", async () => {
    const store = openMemoryStore({ maxBytes: 10_000, clock: new ManualClock() });
    const request = new Uint8Array(1_000);
    const value = { bytes: request.subarray(10, 20), deflated: false };
    await store.put([{ scope, items: [{ hash: hash(1), value, ttlMs: 1_000 }] }]);
    const found = (await store.get([{ scope, hashes: [hash(1)] }]))[0]![0]!;
    expect(found.state === "hit" && found.value.bytes.buffer.byteLength).toBe(10);
  });
});
