import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { CacheKind, type CacheScope, CacheScopeSchema, CacheSelectorSchema } from "../../gen/ragents/cache/v1/cache_pb.js";
import { entryScope } from "./entry-scope.js";
import { emptyStats } from "./stats.js";
import type { CacheChange, CacheStore, EntryScope, PutEntry, PutOutcome, StoreLookup } from "./store.js";

/** A store under test. */
export interface StoreUnderTest {
  /** Another replica's view of the same entries; the same store where there can be only one. */
  store: CacheStore;
  other: CacheStore;
  /** Lets time pass where the test rules it; elsewhere it passes by itself. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

const bytes = (text: string) => new TextEncoder().encode(text);
const hashOf = (text: string) => Uint8Array.from(Buffer.from(text.padEnd(32, ".")));
const HOUR = 3_600_000;
/** Short enough to be waited for, long enough to be seen before its end. */
const SHORT_MS = 250;

let tenants = 0;

/** The promises of CacheStore, for every backend. */
export function describeCacheStore(name: string, open: () => Promise<StoreUnderTest>): void {
  describe(`a cache store: ${name}`, () => {
    let under: StoreUnderTest;
    let store: CacheStore;
    let other: CacheStore;
    let tenant: string;

    beforeEach(async () => {
      under = await open();
      onTestFinished(() => under.close());
      ({ store, other } = under);
      tenants += 1;
      tenant = `tenant-${process.pid}-${Date.now()}-${tenants}`;
    });

    const scope = (parts: Partial<CacheScope> = {}, kind = CacheKind.ANSWER, of = tenant): EntryScope =>
      entryScope(
        of,
        kind,
        create(CacheScopeSchema, { collection: "docs", epoch: "1", model: "m", parametersHash: new Uint8Array(32), ...parts }),
      );

    async function put(into: EntryScope, text: string, value: string, options: Partial<PutEntry> = {}): Promise<PutOutcome> {
      const item = { hash: hashOf(text), value: { bytes: bytes(value), deflated: false }, ttlMs: HOUR, ...options };
      return (await store.put([{ scope: into, items: [item] }]))[0]![0]!;
    }

    async function get(from: EntryScope, text: string, options: { leaseMs?: number; from?: CacheStore } = {}): Promise<StoreLookup> {
      const { leaseMs } = options;
      const group = { scope: from, hashes: [hashOf(text)], ...(leaseMs !== undefined && { leaseMs }) };
      return (await (options.from ?? store).get([group]))[0]![0]!;
    }

    const valueOf = (lookup: StoreLookup) =>
      lookup.state === "hit" ? Buffer.from(lookup.value.bytes).toString() : lookup.state;
    const read = async (from: EntryScope, text: string, at = store) => valueOf(await get(from, text, { from: at }));
    const statsOf = async (of: CacheStore, kind = CacheKind.ANSWER) => (await of.stats(tenant)).get(kind) ?? emptyStats();
    const tokenOf = (lookup: StoreLookup) => (lookup.state === "leased" ? lookup.token : expect.fail(`no lease: ${lookup.state}`));

    /** Lets time pass until `look` gives `wanted`. */
    async function eventually<T>(look: () => Promise<T>, wanted: T, afterMs: number): Promise<void> {
      await under.pass(afterMs);
      await expect.poll(look, { timeout: 10_000, interval: 20 }).toEqual(wanted);
    }

    test("finds what was put, for every replica, with the time it has left", async () => {
      expect(await read(scope(), "q")).toBe("miss");
      expect(await put(scope(), "q", "answer")).toBe("stored");
      expect(await read(scope(), "q")).toBe("answer");
      const found = await get(scope(), "q", { from: other });
      expect(found).toMatchObject({ state: "hit", value: { deflated: false } });
      if (found.state === "hit") {
        expect(found.ttlMs).toBeGreaterThan(HOUR - 60_000);
        expect(found.ttlMs).toBeLessThanOrEqual(HOUR);
      }
    });

    test("keeps values of any bytes and sizes, and whether they are deflated", async () => {
      const values = [new Uint8Array(), Uint8Array.from([0, 255, 13, 10, 0]), new Uint8Array(1024 * 1024).fill(7)];
      for (const [i, value] of values.entries()) {
        const item = { hash: hashOf(`v${i}`), value: { bytes: value, deflated: i % 2 === 1 }, ttlMs: HOUR };
        expect(await store.put([{ scope: scope(), items: [item] }])).toEqual([["stored"]]);
        const found = await get(scope(), `v${i}`, { from: other });
        if (found.state !== "hit") expect.fail(found.state);
        expect(Buffer.compare(found.value.bytes, value)).toBe(0);
        expect(found.value.deflated).toBe(i % 2 === 1);
      }
    });

    test("answers many groups in the order in which they were asked", async () => {
      const names = Array.from({ length: 60 }, (_, i) => `t${i}`);
      const scopes = ["a", "b", "c"].map((collection) => scope({ collection }));
      const outcomes = await store.put(
        scopes.map((into, s) => ({
          scope: into,
          items: names.map((text) => ({
            hash: hashOf(text),
            value: { bytes: bytes(`${s} ${text}`), deflated: false },
            ttlMs: HOUR,
          })),
        })),
      );
      expect(outcomes.flat().every((outcome) => outcome === "stored")).toBe(true);
      const wanted = [...names, "absent"];
      const found = await store.get(scopes.map((from) => ({ scope: from, hashes: wanted.map(hashOf) })));
      expect(found.map((group) => group.map(valueOf))).toEqual(
        scopes.map((_, s) => [...names.map((text) => `${s} ${text}`), "miss"]),
      );
    });

    test.each([
      { part: "tenant", change: () => scope({}, CacheKind.ANSWER, `${tenant}-other`) },
      { part: "kind", change: () => scope({}, CacheKind.RETRIEVAL) },
      { part: "collection", change: () => scope({ collection: "doc" }) },
      { part: "epoch", change: () => scope({ epoch: "2" }) },
      { part: "model", change: () => scope({ model: "m2" }) },
      { part: "parameters", change: () => scope({ parametersHash: new Uint8Array(32).fill(1) }) },
      { part: "border between parts", change: () => scope({ collection: "docs1", epoch: "" }) },
    ])("does not find an entry under another $part", async ({ change }) => {
      await put(scope(), "q", "answer");
      expect(await read(change(), "q")).toBe("miss");
    });

    test("replaces a value", async () => {
      await put(scope(), "q", "old");
      await put(scope(), "q", "new and longer");
      expect(await read(scope(), "q", other)).toBe("new and longer");
      expect(await statsOf(store)).toMatchObject({ entries: 1 });
    });

    test("forgets a value when its time is over, and counts that once", async () => {
      await put(scope(), "q", "answer", { ttlMs: SHORT_MS });
      await put(scope(), "long", "answer");
      expect(await read(scope(), "q")).toBe("answer");
      await eventually(() => read(scope(), "q", other), "miss", SHORT_MS);
      const counted = async () => {
        await store.sweep();
        const { entries, expirations, evictions } = await statsOf(store);
        return { entries, expirations, evictions };
      };
      await eventually(counted, { entries: 1, expirations: 1, evictions: 0 }, 0);
      expect(await counted()).toEqual({ entries: 1, expirations: 1, evictions: 0 });
    });

    test("counts entries and bytes by kind, and forgets them with the entries", async () => {
      await put(scope(), "a", "x".repeat(1_000));
      await put(scope(), "b", "x".repeat(3_000));
      await put(scope({}, CacheKind.EMBEDDING), "a", "x".repeat(100));
      const before = await statsOf(other);
      expect(before.entries).toBe(2);
      expect(before.bytes).toBeGreaterThanOrEqual(4_000);
      expect(before.bytes).toBeLessThan(6_000);
      expect(await statsOf(other, CacheKind.EMBEDDING)).toMatchObject({ entries: 1 });
      await put(scope(), "b", "y");
      const shrunk = await statsOf(other);
      expect(shrunk.entries).toBe(2);
      expect(shrunk.bytes).toBeLessThan(3_000);
      expect(await store.remove(tenant, create(CacheSelectorSchema, {}))).toBe(3);
      expect(await statsOf(other)).toMatchObject({ entries: 0, bytes: 0 });
    });

    test("counts what all replicas were asked, apart for each tenant and kind", async () => {
      store.count(tenant, CacheKind.ANSWER, { hits: 2, misses: 1, localHits: 1 });
      other.count(tenant, CacheKind.ANSWER, { hits: 3, similarHits: 1 });
      other.count(tenant, CacheKind.EMBEDDING, { misses: 5 });
      other.count(`${tenant}-other`, CacheKind.ANSWER, { hits: 100 });
      const counts = async () => {
        const { hits, misses, localHits, similarHits } = await statsOf(store);
        return [hits, misses, localHits, similarHits, (await statsOf(store, CacheKind.EMBEDDING)).misses];
      };
      await eventually(counts, [5, 1, 1, 1, 5], 0);
    });

    describe("removes", () => {
      const selector = (init: MessageInitShape<typeof CacheSelectorSchema>) => create(CacheSelectorSchema, init);

      test.each([
        { what: "a collection", named: { collection: "docs" }, left: ["other-collection"] },
        { what: "a kind", named: { kinds: [CacheKind.RETRIEVAL] }, left: ["answer", "epoch-2", "model-2", "parameters-2", "other-collection"] },
        { what: "an epoch", named: { epoch: "2" }, left: ["answer", "retrieval", "model-2", "parameters-2", "other-collection"] },
        { what: "a model", named: { model: "m2" }, left: ["answer", "retrieval", "epoch-2", "parameters-2", "other-collection"] },
        {
          what: "parameters",
          named: { parametersHash: new Uint8Array(32).fill(2) },
          left: ["answer", "retrieval", "epoch-2", "model-2", "other-collection"],
        },
        {
          what: "a kind of a collection",
          named: { kinds: [CacheKind.ANSWER], collection: "docs" },
          left: ["retrieval", "other-collection"],
        },
        { what: "all of the tenant", named: {}, left: [] },
        {
          what: "nothing where no entry is named",
          named: { collection: "absent" },
          left: ["answer", "retrieval", "epoch-2", "model-2", "parameters-2", "other-collection"],
        },
      ])("$what and nothing else", async ({ named, left }) => {
        const places: Record<string, EntryScope> = {
          answer: scope(),
          retrieval: scope({}, CacheKind.RETRIEVAL),
          "epoch-2": scope({ epoch: "2" }),
          "model-2": scope({ model: "m2" }),
          "parameters-2": scope({ parametersHash: new Uint8Array(32).fill(2) }),
          "other-collection": scope({ collection: "other" }),
        };
        const foreign = scope({}, CacheKind.ANSWER, `${tenant}-other`);
        for (const place of Object.values(places)) await put(place, "q", "answer");
        await put(foreign, "q", "theirs");
        expect(await store.remove(tenant, selector(named))).toBe(Object.keys(places).length - left.length);
        for (const [place, at] of Object.entries(places)) {
          expect([place, await read(at, "q", other)]).toEqual([place, (left as string[]).includes(place) ? "answer" : "miss"]);
        }
        expect(await read(foreign, "q", other)).toBe("theirs");
      });

      test("many entries, and lets new ones in", async () => {
        const items = Array.from({ length: 1_500 }, (_, i) => ({
          hash: hashOf(String(i)),
          value: { bytes: bytes("v"), deflated: false },
          ttlMs: HOUR,
        }));
        await store.put([{ scope: scope(), items }]);
        expect(await other.remove(tenant, selector({ collection: "docs" }))).toBe(1_500);
        expect(await statsOf(store)).toMatchObject({ entries: 0, bytes: 0, evictions: 0, expirations: 0 });
        await put(scope(), "q", "again");
        expect(await read(scope(), "q", other)).toBe("again");
      });
    });

    describe("leases", () => {
      test("are given to one of all that miss, until the value is put", async () => {
        const asked = await Promise.all(
          Array.from({ length: 20 }, (_, i) => get(scope(), "q", { leaseMs: HOUR, from: i % 2 === 0 ? store : other })),
        );
        const leased = asked.filter(({ state }) => state === "leased");
        expect(leased).toHaveLength(1);
        expect(asked.filter(({ state }) => state === "filling")).toHaveLength(19);
        expect(await put(scope(), "q", "made", { leaseToken: tokenOf(leased[0]!) })).toBe("stored");
        expect(await read(scope(), "q", other)).toBe("made");
        expect((await get(scope(), "q", { leaseMs: HOUR })).state).toBe("hit");
      });

      test("are not taken by those who only look", async () => {
        await get(scope(), "q");
        expect((await get(scope(), "q", { leaseMs: HOUR })).state).toBe("leased");
        expect(await read(scope(), "q")).toBe("miss");
      });

      test("pass to another when their holder is silent, and the late value is refused", async () => {
        const dead = tokenOf(await get(scope(), "q", { leaseMs: SHORT_MS }));
        expect((await get(scope(), "q", { leaseMs: HOUR })).state).toBe("filling");
        await under.pass(SHORT_MS);
        let taken: StoreLookup | undefined;
        await expect
          .poll(async () => (taken = await get(scope(), "q", { leaseMs: HOUR, from: other })).state, { timeout: 10_000 })
          .toBe("leased");
        expect(await put(scope(), "q", "late", { leaseToken: dead })).toBe("lease_lost");
        expect(await put(scope(), "q", "made", { leaseToken: tokenOf(taken!) })).toBe("stored");
        expect(await read(scope(), "q")).toBe("made");
      });

      test("go on while they are extended, by their holder alone", async () => {
        const token = tokenOf(await get(scope(), "q", { leaseMs: SHORT_MS }));
        expect(await other.extendLease(scope(), hashOf("q"), "somebody", HOUR)).toBe(false);
        expect(await other.extendLease(scope(), hashOf("q"), token, HOUR)).toBe(true);
        await under.pass(SHORT_MS * 2);
        expect((await get(scope(), "q", { leaseMs: HOUR })).state).toBe("filling");
        expect(await put(scope(), "q", "made", { leaseToken: token })).toBe("stored");
        expect(await store.extendLease(scope(), hashOf("q"), token, HOUR)).toBe(false);
      });

      test("end at once when they are given back, by their holder alone", async () => {
        const token = tokenOf(await get(scope(), "q", { leaseMs: HOUR }));
        await other.releaseLease(scope(), hashOf("q"), "somebody");
        expect((await get(scope(), "q", { leaseMs: HOUR })).state).toBe("filling");
        await other.releaseLease(scope(), hashOf("q"), token);
        expect((await get(scope(), "q", { leaseMs: HOUR })).state).toBe("leased");
      });

      test("end when their scope is removed: what was being made is not stored", async () => {
        const token = tokenOf(await get(scope(), "q", { leaseMs: HOUR }));
        await other.remove(tenant, create(CacheSelectorSchema, { collection: "docs" }));
        expect(await store.extendLease(scope(), hashOf("q"), token, HOUR)).toBe(false);
        const next = tokenOf(await get(scope(), "q", { leaseMs: HOUR }));
        expect(await put(scope(), "q", "old world", { leaseToken: token })).toBe("lease_lost");
        expect(await put(scope(), "q", "new world", { leaseToken: next })).toBe("stored");
        expect(await read(scope(), "q")).toBe("new world");
      });
    });

    describe("questions", () => {
      const question = (text: string) => ({ hash: hashOf(text), text });
      const texts = async (from: CacheStore, of: EntryScope, cursor = "") =>
        (await from.questions.readAfter(of, cursor)).questions.map(({ text }) => text);

      test("are known to every replica, in order and only in their scope; a cursor gives those that came since", async () => {
        await store.questions.add(scope(), [question("a"), question("b")], HOUR);
        await other.questions.add(scope({ epoch: "2" }), [question("x")], HOUR);
        expect(await texts(other, scope())).toEqual(["a", "b"]);
        const { questions, cursor } = await other.questions.readAfter(scope(), "");
        expect(questions.map(({ hash }) => Buffer.from(hash).toString())).toEqual(["a", "b"].map((text) => text.padEnd(32, ".")));
        expect(await texts(other, scope(), cursor)).toEqual([]);
        await store.questions.add(scope(), [question("c")], HOUR);
        expect(await texts(other, scope(), cursor)).toEqual(["c"]);
        expect(await other.questions.readAfter(scope({ epoch: "3" }), "")).toEqual({ questions: [], cursor: "" });
      });

      test("are kept to the latest thousand or a few more", async () => {
        const many = Array.from({ length: 1_500 }, (_, i) => question(`q${i}`));
        await store.questions.add(scope(), many, HOUR);
        const kept = await texts(store, scope());
        expect(kept.length).toBeGreaterThanOrEqual(1_000);
        expect(kept.length).toBeLessThan(1_200);
        expect(kept.at(-1)).toBe("q1499");
      });

      test("go with what is removed, and after their time", async () => {
        await put(scope(), "q", "v");
        await store.questions.add(scope(), [question("a")], HOUR);
        await other.remove(tenant, create(CacheSelectorSchema, { collection: "docs" }));
        expect(await texts(store, scope())).toEqual([]);
        await store.questions.add(scope(), [question("b")], SHORT_MS);
        await eventually(() => texts(other, scope()), [], SHORT_MS);
      });
    });

    describe("tells", () => {
      async function watch(at: CacheStore, of = tenant) {
        const changes: CacheChange[] = [];
        const unwatch = await at.watch(of, { changed: (change) => changes.push(change), lost: () => {} });
        onTestFinished(unwatch);
        return { changes, unwatch };
      }

      test("every replica's watchers what was removed, and only the tenant's", async () => {
        const [here, there, foreign] = [await watch(store), await watch(other), await watch(other, `${tenant}-other`)];
        const selector = create(CacheSelectorSchema, { collection: "docs", kinds: [CacheKind.ANSWER] });
        await store.remove(tenant, selector);
        const told = [{ kind: "removed", selector }];
        await expect.poll(() => here.changes).toEqual(told);
        await expect.poll(() => there.changes).toEqual(told);
        await other.remove(`${tenant}-other`, selector);
        await expect.poll(() => foreign.changes).toHaveLength(1);
        expect(here.changes).toHaveLength(1);
      });

      test("what was replaced by another value, not what is new or the same", async () => {
        const { changes } = await watch(other);
        await put(scope(), "q", "one");
        await put(scope(), "q", "one");
        await put(scope(), "q", "two");
        await expect.poll(() => changes).toMatchObject([{ kind: "replaced", scope: { id: scope().id, parts: scope().parts } }]);
        const [change] = changes;
        expect(change?.kind === "replaced" && change.hashes.map((hash) => Buffer.from(hash).toString())).toEqual([
          Buffer.from(hashOf("q")).toString(),
        ]);
      });

      test("nothing more after the end of the watch", async () => {
        const { changes, unwatch } = await watch(store);
        unwatch();
        const second = await watch(store);
        await store.remove(tenant, create(CacheSelectorSchema, {}));
        await expect.poll(() => second.changes).toHaveLength(1);
        expect(changes).toEqual([]);
      });
    });
  });
}
