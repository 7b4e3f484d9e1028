import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Redis } from "ioredis";
import { describe, expect, onTestFinished, test } from "vitest";
import { CacheKind, CacheScopeSchema, CacheSelectorSchema } from "../../gen/ragents/cache/v1/cache_pb.js";
import { systemClock } from "../../runtime/clock.js";
import { silentLogger } from "../../runtime/logger.js";
import { redisFound, type RedisServer, startRedis } from "../../tests/servers/redis.js";
import { startRedisCluster } from "../../tests/servers/redis-cluster.js";
import { entryScope } from "./entry-scope.js";
import { hashName, shardKeys } from "./redis/keys.js";
import { openRedisStore } from "./store-redis.js";
import type { CacheStore, StoreLookup } from "./store.js";

const POLL = { timeout: 20_000, interval: 20 };
const HOUR = 3_600_000;
const tenant = "local";
const keys = shardKeys(0);
const scope = entryScope(
  tenant,
  CacheKind.RETRIEVAL,
  create(CacheScopeSchema, { collection: "docs", epoch: "1", model: "m", parametersHash: new Uint8Array(32) }),
);
const all = create(CacheSelectorSchema, {});
const hashOf = (text: string | number) => Uint8Array.from(Buffer.from(String(text).padEnd(32, ".")));
const entryKey = (text: string | number) => keys.entry(scope.id, hashName(hashOf(text)));

async function open(args?: string[]): Promise<{ server: RedisServer; store: CacheStore; raw: Redis }> {
  const server = await startRedis({ own: true, ...(args !== undefined && { args }) });
  const store = await openRedisStore({ url: server.url, clock: systemClock, logger: silentLogger, commandTimeoutMs: 300 });
  const raw = new Redis(server.url, { retryStrategy: () => 50 });
  raw.on("error", () => {});
  onTestFinished(async () => {
    await store.close();
    raw.disconnect();
    await server.stop();
  });
  return { server, store, raw };
}

async function put(store: CacheStore, text: string | number, value: Uint8Array = Buffer.from("value")) {
  const item = { hash: hashOf(text), value: { bytes: value, deflated: false }, ttlMs: HOUR };
  return (await store.put([{ scope, items: [item] }]))[0]![0]!;
}

async function get(store: CacheStore, text: string | number, leaseMs?: number): Promise<StoreLookup["state"]> {
  const group = { scope, hashes: [hashOf(text)], ...(leaseMs !== undefined && { leaseMs }) };
  return (await store.get([group]))[0]![0]!.state;
}

const stats = async (store: CacheStore) => (await store.stats(tenant)).get(CacheKind.RETRIEVAL)!;

describe.skipIf(!(await redisFound({ own: true })))("a cache on a Redis that", () => {
  test.each([
    { what: "a flipped bit of the value", change: (bytes: Buffer) => void (bytes[bytes.length - 1]! ^= 1) },
    { what: "a flipped bit of the expiry", change: (bytes: Buffer) => void (bytes[20]! ^= 1) },
    { what: "a lost end", change: (bytes: Buffer) => bytes.subarray(0, bytes.length - 1) },
    { what: "something else altogether", change: () => Buffer.from("hello") },
    { what: "nothing at all", change: () => Buffer.alloc(0) },
  ])("holds $what misses that entry, forgets it, and finds the others", async ({ change }) => {
    const { store, raw } = await open();
    for (const text of ["a", "b", "c"]) await put(store, text);
    const bytes = (await raw.getBuffer(entryKey("b")))!;
    await raw.set(entryKey("b"), change(bytes) ?? bytes);
    expect([await get(store, "a"), await get(store, "b"), await get(store, "c")]).toEqual(["hit", "miss", "hit"]);
    expect((await stats(store)).entries).toBeLessThanOrEqual(3);
    expect(await put(store, "b")).toBe("stored");
    expect(await get(store, "b")).toBe("hit");
    expect(await stats(store)).toMatchObject({ entries: 3 });
  });

  test("holds a corrupt entry gives a lease on it like on any that is missing", async () => {
    const { store, raw } = await open();
    await put(store, "a");
    const bytes = (await raw.getBuffer(entryKey("a")))!;
    bytes[bytes.length - 1]! ^= 1;
    await raw.set(entryKey("a"), bytes);
    expect(await get(store, "a", HOUR)).toBe("leased");
    expect(await get(store, "a", HOUR)).toBe("filling");
    expect(await stats(store)).toMatchObject({ entries: 0, bytes: 0 });
  });

  test("lost the registry of scopes serves nothing of them, least of all what was removed", async () => {
    const { store, raw } = await open();
    await put(store, "a");
    await raw.del(keys.registry(tenant));
    expect(await get(store, "a")).toBe("miss");
    expect(await get(store, "a", HOUR)).toBe("leased");
    await store.remove(tenant, all);
    await put(store, "b");
    expect([await get(store, "a"), await get(store, "b")]).toEqual(["miss", "hit"]);
  });

  test("evicts is told of in the statistics, and every entry is a hit or counted as evicted", async () => {
    const { store, raw } = await open(["--maxmemory", "6mb", "--maxmemory-policy", "volatile-lru"]);
    const texts = Array.from({ length: 2_500 }, (_, i) => i);
    for (const text of texts) await put(store, text, Buffer.alloc(4_000, text));
    expect(Number(/evicted_keys:(\d+)/.exec(await raw.info("stats"))![1])).toBeGreaterThan(0);
    const counted = async () => {
      await raw.del(`${keys.trash}:sweeper`);
      await store.sweep();
      const { entries, evictions, expirations } = await stats(store);
      const held = (await raw.keys(`${keys.entryPrefix(scope.id)}*`)).length;
      return { uncounted: held - entries, all: entries + evictions, expirations };
    };
    await expect.poll(counted, POLL).toEqual({ uncounted: 0, all: texts.length, expirations: 0 });
    const { entries, bytes } = await stats(store);
    expect(entries).toBeGreaterThan(50);
    expect(bytes).toBeGreaterThan(entries * 4_000);
    expect(bytes).toBeLessThan(entries * 4_200);
  });

  test("evicts whatever it likes never serves what was removed or another's value", async () => {
    const { store } = await open(["--maxmemory", "4mb", "--maxmemory-policy", "allkeys-random"]);
    for (let round = 0; round < 3; round += 1) {
      for (let i = 0; i < 600; i += 1) await put(store, i, Buffer.from(`${round} ${i} `.padEnd(4_000, ".")));
      const [found] = await store.get([{ scope, hashes: Array.from({ length: 600 }, (_, i) => hashOf(i)) }]);
      found!.forEach((lookup, i) => {
        if (lookup.state === "hit") expect(Buffer.from(lookup.value.bytes).toString()).toMatch(new RegExp(`^${round} ${i} `));
      });
      await store.remove(tenant, all);
      const [removed] = await store.get([{ scope, hashes: Array.from({ length: 600 }, (_, i) => hashOf(i)) }]);
      expect(removed!.filter(({ state }) => state === "hit")).toEqual([]);
    }
  });

  test("is full and may not evict refuses values, finds the others, and takes new ones when there is room again", async () => {
    const { store } = await open(["--maxmemory", "4mb", "--maxmemory-policy", "noeviction"]);
    const outcomes: string[] = [];
    for (let i = 0; i < 200 && outcomes.at(-1) !== "no_room"; i += 1) outcomes.push(await put(store, i, Buffer.alloc(50_000, i)));
    expect(outcomes.at(-1)).toBe("no_room");
    expect(await get(store, 0)).toBe("hit");
    // A lease is memory too: without one the caller computes, as without a cache.
    expect(await get(store, "absent", HOUR)).toBe("miss");
    // An older value must not stand in for the newer one that found no room.
    expect(await put(store, 0, Buffer.alloc(60_000))).toBe("no_room");
    expect(await get(store, 0)).toBe("miss");
    expect(await store.remove(tenant, all)).toBe(outcomes.length - 2);
    expect(await put(store, "again")).toBe("stored");
    expect(await stats(store)).toMatchObject({ entries: 1 });
  });

  test("is killed rejects what is asked, tells watchers that it may have missed something, and goes on when it is back", async () => {
    const { server, store } = await open();
    await put(store, "a");
    const told: string[] = [];
    await store.watch(tenant, { changed: ({ kind }) => told.push(kind), lost: () => told.push("lost") });
    await server.kill();
    await expect(get(store, "a")).rejects.toThrow();
    await expect(put(store, "a")).rejects.toThrow();
    await expect(store.ping()).rejects.toThrow();
    await expect.poll(() => told, POLL).toEqual(["lost"]);
    store.count(tenant, CacheKind.RETRIEVAL, { hits: 3 });
    await server.restart();
    await expect.poll(() => get(store, "a").catch(() => "down"), POLL).toBe("miss");
    expect(await put(store, "a")).toBe("stored");
    // What was counted meanwhile was kept here.
    await expect.poll(async () => (await stats(store)).hits, POLL).toBe(3);
    const again: string[] = [];
    await store.watch(tenant, { changed: ({ kind }) => again.push(kind), lost: () => again.push("lost") });
    await store.remove(tenant, all);
    await expect.poll(() => again, POLL).toEqual(["removed"]);
    expect(told).toEqual(["lost"]);
  });

  test("is paused rejects what is asked, and goes on with what it had", async () => {
    const { server, store } = await open();
    await put(store, "a");
    const told: string[] = [];
    await store.watch(tenant, { changed: ({ kind }) => told.push(kind), lost: () => told.push("lost") });
    await server.pause();
    await expect(get(store, "a")).rejects.toThrow();
    // A connection that is silent for long counts as lost, although it never broke.
    await expect.poll(() => told, POLL).toEqual(["lost"]);
    await server.resume();
    await expect.poll(() => get(store, "a").catch(() => "down"), POLL).toBe("hit");
  });

  test("is a node of a Cluster and comes back empty costs its own entries, which are misses, and no others", async () => {
    const cluster = await startRedisCluster();
    const store = await openRedisStore({ url: cluster.url, clock: systemClock, logger: silentLogger, commandTimeoutMs: 300 });
    onTestFinished(async () => {
      await store.close();
      await cluster.stop();
    });
    const hashes = Array.from({ length: 60 }, (_, i) => hash("sha256", `text ${i}`, "buffer"));
    const item = (of: Uint8Array) => ({ hash: of, value: { bytes: Buffer.from("value"), deflated: false }, ttlMs: HOUR });
    const putAll = () => store.put([{ scope, items: hashes.map(item) }]);
    const states = async () => (await store.get([{ scope, hashes }]))[0]!.map(({ state }) => state);
    await putAll();
    await cluster.nodes[0]!.kill();
    await expect(states()).rejects.toThrow();
    await cluster.nodes[0]!.restart();
    await expect.poll(() => states().then((found) => [...new Set(found)].sort(), () => "down"), POLL).toEqual(["hit", "miss"]);
    expect(await stats(store)).toMatchObject({ entries: (await states()).filter((state) => state === "hit").length });
    await putAll();
    expect(new Set(await states())).toEqual(new Set(["hit"]));
  });

  test("was left in the middle of a removal is cleared up by another replica", async () => {
    const { store, raw } = await open();
    for (let i = 0; i < 10; i += 1) await put(store, i);
    const record = (await raw.hget(keys.registry(tenant), scope.id))!;
    const generation = record.slice(0, 11);
    // What the first step of a removal does.
    await raw.hdel(keys.registry(tenant), scope.id);
    await raw.rename(keys.index(scope.id), keys.removed(scope.id, generation));
    await raw.sadd(keys.trash, keys.removed(scope.id, generation));
    await put(store, 0);
    await store.sweep();
    expect(await raw.keys(`${keys.entryPrefix(scope.id)}*`)).toEqual([entryKey(0)]);
    expect(await get(store, 0)).toBe("hit");
    expect(await raw.exists(keys.trash)).toBe(0);
  });

  test("forgot nobody: empty scopes leave the registry after an hour, those in use stay", async () => {
    const { store, raw } = await open();
    await get(store, "a", 1);
    const other = { ...scope, id: `${scope.id.slice(0, -1)}x` };
    await store.put([{ scope: other, items: [{ hash: hashOf("a"), value: { bytes: Buffer.from("v"), deflated: false }, ttlMs: HOUR }] }]);
    const age = async (id: string) => {
      const record = (await raw.hget(keys.registry(tenant), id))!;
      await raw.hset(keys.registry(tenant), id, `${record.slice(0, 12)}0000000001${record.slice(22)}`);
    };
    await store.sweep();
    expect(await raw.hlen(keys.registry(tenant))).toBe(2);
    await age(scope.id);
    await age(other.id);
    await raw.del(`${keys.trash}:sweeper`);
    await store.sweep();
    expect(await raw.hkeys(keys.registry(tenant))).toEqual([other.id]);
  });
});
