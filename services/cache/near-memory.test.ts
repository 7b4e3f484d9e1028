import { create } from "@bufbuild/protobuf";
import { describe, expect, onTestFinished, test } from "vitest";
import { CacheKind, CacheScopeSchema, CacheSelectorSchema } from "../../gen/ragents/cache/v1/cache_pb.js";
import { overriding } from "../../runtime/overriding.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { entryScope } from "./entry-scope.js";
import { withNearMemory } from "./near-memory.js";
import type { CacheStore, ChangeListener, GetGroup, StoreLookup } from "./store.js";
import { openMemoryStore } from "./store-memory.js";
import { describeCacheStore } from "./store.suite.js";

describeCacheStore("two replicas' own memories over one store", async () => {
  const clock = new ManualClock();
  const shared = openMemoryStore({ maxBytes: 100_000_000, clock });
  const [store, other] = [shared, shared].map((store) => withNearMemory(store, { maxBytes: 1_000_000, clock })) as [CacheStore, CacheStore];
  return { store, other, pass: (ms) => clock.advance(ms), close: () => store.close() };
});

describe("a replica's own memory", () => {
  const scopeOf = (tenant: string, collection = "docs") =>
    entryScope(tenant, CacheKind.RETRIEVAL, create(CacheScopeSchema, { collection, epoch: "1", model: "m", parametersHash: new Uint8Array(32) }));
  const scope = scopeOf("local");
  const hashOf = (text: string) => Uint8Array.from(Buffer.from(text.padEnd(32, ".")));
  const HOUR = 3_600_000;

  /** A store that counts what it is asked for, and whose feed of changes the test can break or hold back. */
  function open(maxBytes = 1_000_000) {
    const clock = new ManualClock();
    const backend = openMemoryStore({ maxBytes: 100_000_000, clock });
    const asked: string[] = [];
    const listeners: ChangeListener[] = [];
    const state = { reachable: true, before: async () => {} };
    const shared = overriding<CacheStore>(backend, {
      async get(groups: readonly GetGroup[]) {
        asked.push(...groups.flatMap(({ hashes }) => hashes.map((hash) => Buffer.from(hash).toString().replace(/\.+$/, ""))));
        const found = await backend.get(groups);
        await state.before();
        return found;
      },
      async watch(tenant: string, listener: ChangeListener) {
        if (!state.reachable) throw new Error("away");
        listeners.push(listener);
        return backend.watch(tenant, listener);
      },
    });
    const near = withNearMemory(shared, { maxBytes, clock });
    onTestFinished(() => near.close());
    const put = (at: CacheStore, text: string, value: string, ttlMs = HOUR, into = scope) =>
      at.put([{ scope: into, items: [{ hash: hashOf(text), value: { bytes: Buffer.from(value), deflated: false }, ttlMs }] }]);
    const shown = (lookup: StoreLookup) => (lookup.state === "hit" ? Buffer.from(lookup.value.bytes).toString() : lookup.state);
    const get = async (...texts: string[]) => (await near.get([{ scope, hashes: texts.map(hashOf) }]))[0]!.map(shown);
    const listening = () => new Promise((resolve) => setImmediate(resolve));
    return { clock, backend, near, asked, listeners, state, put, get, listening };
  }

  test("answers what it found before, and asks for the rest alone", async () => {
    const { backend, asked, put, get, listening } = open();
    await put(backend, "a", "1");
    await put(backend, "b", "2");
    await get("a");
    await listening();
    expect(await get("a", "x")).toEqual(["1", "miss"]);
    expect(await get("x", "a", "b")).toEqual(["miss", "1", "2"]);
    expect(await get("b", "a")).toEqual(["2", "1"]);
    expect(asked).toEqual(["a", "a", "x", "x", "b"]);
  });

  test("asks anew after ten seconds, and never answers what has expired", async () => {
    const { clock, backend, asked, put, get, listening } = open();
    await put(backend, "long", "1");
    await put(backend, "short", "2", 5_000);
    await get();
    await listening();
    expect(await get("long", "short")).toEqual(["1", "2"]);
    await clock.advance(5_000);
    expect(await get("long", "short")).toEqual(["1", "miss"]);
    await clock.advance(5_000);
    asked.length = 0;
    expect(await get("long")).toEqual(["1"]);
    expect(asked).toEqual(["long"]);
  });

  test("holds no value that was replaced or removed while it was on its way", async () => {
    const { backend, state, put, get, listening } = open();
    await put(backend, "a", "old");
    await get("a");
    await listening();
    state.before = () => put(backend, "a", "new").then(() => {});
    expect(await get("a")).toEqual(["old"]);
    state.before = async () => {};
    expect(await get("a")).toEqual(["new"]);
    await put(backend, "b", "old");
    state.before = () => backend.remove("local", create(CacheSelectorSchema, {})).then(() => {});
    expect(await get("b")).toEqual(["old"]);
    state.before = async () => {};
    expect(await get("a", "b")).toEqual(["miss", "miss"]);
  });

  test("is forgotten when changes may have been missed, and trusted again when they are told", async () => {
    const { clock, backend, asked, listeners, state, put, get, listening } = open();
    await put(backend, "a", "1");
    await get("a");
    await listening();
    await get("a");
    asked.length = 0;
    state.reachable = false;
    listeners[0]!.lost();
    await listening();
    await get("a");
    await get("a");
    expect(asked).toEqual(["a", "a"]);
    await clock.advance(1_000);
    state.reachable = true;
    await clock.advance(1_000);
    await get("a");
    asked.length = 0;
    expect(await get("a")).toEqual(["1"]);
    expect(asked).toEqual([]);
  });

  test("stays within its bound", async () => {
    const { backend, asked, put, get, listening } = open(3_000);
    for (let i = 0; i < 10; i += 1) await put(backend, `k${i}`, "x".repeat(500));
    await get();
    await listening();
    for (let i = 0; i < 10; i += 1) await get(`k${i}`);
    asked.length = 0;
    await get("k9", "k0");
    expect(asked).toEqual(["k0"]);
  });

  test("shows nobody another tenant's values", async () => {
    const { backend, near, put, get, listening } = open();
    await put(backend, "a", "mine");
    await get("a");
    await listening();
    await get("a");
    const foreign = { scope: scopeOf("other"), hashes: [hashOf("a")] };
    expect((await near.get([foreign]))[0]![0]!.state).toBe("miss");
  });
});
