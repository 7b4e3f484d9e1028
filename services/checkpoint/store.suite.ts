import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { reasonOf, retryAfterMsOf } from "../../runtime/errors.js";
import { hashKey, hashOf, packContent, unpackContent } from "./content.js";
import { packValue } from "./packed-value.js";
import type { SegmentRef } from "./segment-tree.js";
import type { Addition, CheckpointPut, CheckpointStore, ListQuery, ThreadKey, WriteContext, WritePut } from "./store.js";

/** A store for the suite, opened with a time to live of one day. */
export interface SuiteStore {
  store: CheckpointStore;
  /** Removes everything. */
  clear(): Promise<void>;
}

export const SUITE_TTL_MS = 86_400_000;

const HOUR = 3_600_000;
const start = new Date("2026-01-01T00:00:00Z");
const at = (ms: number) => new Date(start.getTime() + ms);
const writer = (now = start, fencingToken = 0n): WriteContext => ({ now, fencingToken });
const thread: ThreadKey = { tenant: "acme", threadId: "talk" };
const nothing: Addition = { contents: [], required: [] };

const segment = (text: string) => ({ hash: hashOf(Buffer.from(text)), stored: packContent(Buffer.from(text)) });
const refTo = (text: string): SegmentRef => ({ level: 0, hash: hashOf(Buffer.from(text)) });
const inline = (text: string) => packValue({ encoding: "json", refs: [], tail: Buffer.from(text) });
const naming = (...texts: string[]) => packValue({ encoding: "jsonl", refs: texts.map(refTo), tail: Buffer.alloc(0) });

function checkpoint(id: string, options: Partial<CheckpointPut> = {}): CheckpointPut {
  return {
    namespace: "",
    checkpointId: id,
    parentId: undefined,
    data: Buffer.from(`data of ${id}`),
    metadata: "{}",
    needsParent: false,
    channels: [],
    ...options,
  };
}

function write(taskId: string, index: number, text: string, options: Partial<WritePut> = {}): WritePut {
  return { namespace: "", checkpointId: "1", taskId, taskPath: "", index, channel: "c", value: inline(text), ...options };
}

/** What every CheckpointStore promises. */
export function describeCheckpointStore(name: string, open: () => Promise<SuiteStore>): void {
  describe(name, () => {
    let store: CheckpointStore;
    let clear: () => Promise<void>;
    beforeAll(async () => {
      ({ store, clear } = await open());
    });
    beforeEach(() => clear());
    afterAll(() => store.close());

    const put = (c: CheckpointPut, addition = nothing, context = writer(), key = thread) =>
      store.put(key, { checkpoint: c, writes: [] }, addition, context);
    const putWrites = (writes: WritePut[], context = writer()) =>
      store.put(thread, { checkpoint: undefined, writes }, nothing, context);
    const get = (id?: string, now = start, namespace = "") => store.get(thread, namespace, id, now);
    const list = async (query: Partial<ListQuery> = {}, count = 100) => {
      const all = { tenant: "acme", threadId: "talk", namespace: undefined, checkpointId: undefined, before: undefined, filter: undefined };
      const found = await store.list({ ...all, ...query }, undefined, count, start);
      return found.map(({ threadId, namespace, checkpointId }) => `${threadId}/${namespace}/${checkpointId}`);
    };
    const valuesOf = async (id: string, namespace = "") =>
      Object.fromEntries(((await get(id, start, namespace))?.channels ?? []).map(({ channel, value }) => [channel, value]));

    describe("checkpoints", () => {
      test("come back as they were put", async () => {
        const value = packValue({ encoding: "json", refs: [refTo("long")], tail: Buffer.from("end") });
        const channels = [
          { channel: "full", version: "1.5", value, unchanged: false },
          { channel: "empty", version: "2", value: undefined, unchanged: false },
        ];
        await put(checkpoint("2", { parentId: "1", channels }), { contents: [segment("long")], required: [] });
        expect(await get("2")).toEqual({
          ...thread,
          namespace: "",
          checkpointId: "2",
          parentId: "1",
          data: Buffer.from("data of 2"),
          channels: [{ channel: "full", version: "1.5", value }],
          writes: [],
          createdAt: start,
        });
      });

      test("are found by id, and the newest without one, in their namespace", async () => {
        for (const id of ["2", "3", "1"]) await put(checkpoint(id));
        await put(checkpoint("9", { namespace: "child" }));
        expect((await get("2"))?.checkpointId).toBe("2");
        expect((await get())?.checkpointId).toBe("3");
        expect((await get(undefined, start, "child"))?.checkpointId).toBe("9");
        expect(await get("9")).toBeUndefined();
        expect(await get(undefined, start, "chil")).toBeUndefined();
      });

      test("of the same id replace each other and count once", async () => {
        await put(checkpoint("1"));
        const { checkpointCount } = await put(checkpoint("1", { data: Buffer.from("other") }));
        expect(checkpointCount).toBe(1);
        expect((await get("1"))?.data.toString()).toBe("other");
      });

      test("of another tenant or thread are not there", async () => {
        await put(checkpoint("1"));
        expect(await store.get({ tenant: "other", threadId: "talk" }, "", undefined, start)).toBeUndefined();
        expect(await store.get({ tenant: "acme", threadId: "other" }, "", undefined, start)).toBeUndefined();
        expect(await list({ tenant: "other", threadId: undefined })).toEqual([]);
        expect(await store.thread({ tenant: "other", threadId: "talk" }, start)).toBeUndefined();
        await store.deleteThread({ tenant: "other", threadId: "talk" });
        expect(await get("1")).toBeDefined();
      });

      test.each(["|", "{a}", "a b", "ä/日本:🙂", "a\\0", "%00", "'\"", "a{b", "}{"])("take the id %j for thread, namespace and checkpoint", async (id) => {
        const key = { tenant: id, threadId: id };
        await put(checkpoint(id, { namespace: id }), nothing, writer(), key);
        expect((await store.get(key, id, undefined, start))?.checkpointId).toBe(id);
        expect((await store.threads(id, id, "", 10, start)).map(({ threadId }) => threadId)).toEqual([id]);
        await store.deleteThread(key);
        expect(await store.get(key, id, undefined, start)).toBeUndefined();
      });
    });

    describe("unchanged channels", () => {
      const unchanged = (version: string) => ({ channel: "c", version, value: undefined, unchanged: true });
      const given = (version: string, text: string) => ({ channel: "c", version, value: inline(text), unchanged: false });

      test("have the parent's value", async () => {
        await put(checkpoint("1", { channels: [given("1", "one")] }));
        await put(checkpoint("2", { parentId: "1", channels: [unchanged("1")] }));
        expect(await valuesOf("2")).toEqual({ c: inline("one") });
      });

      test("are empty where the parent's was", async () => {
        await put(checkpoint("1", { channels: [given("1", "one")] }));
        await put(checkpoint("2", { parentId: "1", channels: [{ channel: "c", version: "2", value: undefined, unchanged: false }] }));
        await put(checkpoint("3", { parentId: "2", channels: [unchanged("2")] }));
        expect(await valuesOf("3")).toEqual({});
      });

      test("have their own branch's value where two branches wrote the same version", async () => {
        await put(checkpoint("1", { channels: [given("1", "root")] }));
        await put(checkpoint("2", { parentId: "1", channels: [given("2", "left")] }));
        await put(checkpoint("3", { parentId: "1", channels: [given("2", "right")] }));
        await put(checkpoint("4", { parentId: "2", channels: [unchanged("2")] }));
        await put(checkpoint("5", { parentId: "3", channels: [unchanged("2")] }));
        expect(await valuesOf("4")).toEqual({ c: inline("left") });
        expect(await valuesOf("5")).toEqual({ c: inline("right") });
      });

      test("have the value of the newest checkpoint with their version where the parent has another", async () => {
        await put(checkpoint("1", { channels: [given("1", "one")] }));
        await put(checkpoint("2", { parentId: "1", channels: [given("2", "two")] }));
        await put(checkpoint("3", { namespace: "child", channels: [given("2", "not this")] }));
        await put(checkpoint("4", { parentId: "1", channels: [unchanged("2")] }));
        await put(checkpoint("5", { channels: [unchanged("7")] }));
        expect(await valuesOf("4")).toEqual({ c: inline("two") });
        expect(await valuesOf("5")).toEqual({});
      });
    });

    describe("contents", () => {
      const reach = async (...refs: SegmentRef[]) =>
        [...(await store.contents(thread, refs))].map(([key, stored]) => [key, unpackContent(stored)?.toString("latin1")]);

      test("that are required and missing stop a put, which leaves nothing behind", async () => {
        const required = [hashOf(Buffer.from("a")), hashOf(Buffer.from("b"))];
        await store.putContents(thread, [segment("a")], at(HOUR), writer());
        const batch = { checkpoint: checkpoint("1"), writes: [write("t", 0, "w")] };
        const { missing } = await store.put(thread, batch, { contents: [segment("new")], required }, writer());
        expect(missing).toEqual([hashOf(Buffer.from("b"))]);
        expect(await get("1")).toBeUndefined();
        expect(await reach(refTo("new"))).toEqual([]);
        expect(await store.thread(thread, start)).toBeUndefined();
      });

      test("may come with the put that requires them, or before", async () => {
        const both = { contents: [segment("b")], required: [hashOf(Buffer.from("a"))] };
        await store.putContents(thread, [segment("a")], at(HOUR), writer());
        expect((await put(checkpoint("1", { channels: [] }), both)).missing).toEqual([]);
        expect((await reach(refTo("a"), refTo("b"))).map(([, data]) => data).sort()).toEqual(["a", "b"]);
      });

      test("are those of their thread", async () => {
        await put(checkpoint("1"), { contents: [segment("a")], required: [] });
        expect((await store.contents({ ...thread, threadId: "other" }, [refTo("a")])).size).toBe(0);
      });

      test("are reached through nodes of several levels, each once", async () => {
        const leaves = Array.from({ length: 32 }, (_, i) => segment(`leaf ${i}`));
        const nodeOf = (hashes: Buffer[]) => {
          const data = Buffer.concat(hashes);
          return { hash: hashOf(data), stored: packContent(data) };
        };
        const [left, right] = [nodeOf(leaves.slice(0, 16).map(({ hash }) => hash)), nodeOf(leaves.slice(16).map(({ hash }) => hash))];
        const root = nodeOf(Array.from({ length: 16 }, (_, i) => (i % 2 === 0 ? left.hash : right.hash)));
        await put(checkpoint("1"), { contents: [...leaves, left, right, root], required: [] });
        const found = await store.contents(thread, [{ level: 2, hash: root.hash }, refTo("leaf 3")]);
        const all = [...leaves, left, right, root];
        expect([...found.keys()].sort()).toEqual(all.map(({ hash }) => hashKey(hash)).sort());
        for (const { hash, stored } of all) expect(found.get(hashKey(hash))).toEqual(stored);
      });

      test("of 4 MiB are carried", async () => {
        const large = Array.from({ length: 4 }, (_, i) => {
          const data = Buffer.alloc(1024 * 1024, `${i}, not to be deflated: ${Math.sin(i)}`);
          return { hash: hashOf(data), stored: Buffer.concat([Buffer.from([0, 0, 0, 0, 0]), data]) };
        });
        await store.putContents(thread, large, at(HOUR), writer());
        const found = await store.contents(thread, large.map(({ hash }) => ({ level: 0, hash })));
        for (const { hash, stored } of large) expect(found.get(hashKey(hash))?.equals(stored)).toBe(true);
      });
    });

    describe("task writes", () => {
      const textsOf = async (id = "1") => ((await get(id))?.writes ?? []).map(({ taskId, value }) => [taskId, value.subarray(6).toString()]);

      test("may come before their checkpoint, and in the same put", async () => {
        await putWrites([write("a", 0, "early")]);
        expect(await get("1")).toBeUndefined();
        await store.put(thread, { checkpoint: checkpoint("1"), writes: [write("b", 0, "along")] }, nothing, writer());
        expect(await textsOf()).toEqual([["a", "early"], ["b", "along"]]);
      });

      test("are ordered by path, task and index", async () => {
        await put(checkpoint("1"));
        await putWrites([write("b", 1, "5"), write("b", 0, "4"), write("c", 0, "1", { taskPath: "a" }), write("a", 10, "3"), write("a", 9, "2")]);
        expect((await textsOf()).map(([, text]) => text)).toEqual(["2", "3", "4", "5", "1"]);
      });

      test("stay as they were written first, but those below 0 are replaced", async () => {
        await put(checkpoint("1"));
        await putWrites([write("a", 0, "first"), write("a", -1, "error")]);
        await putWrites([write("a", 0, "second"), write("a", 1, "more"), write("a", -1, "another")]);
        expect(await textsOf()).toEqual([["a", "another"], ["a", "first"], ["a", "more"]]);
      });

      test("belong to one checkpoint of one namespace", async () => {
        await put(checkpoint("1"));
        await put(checkpoint("1", { namespace: "child" }));
        await put(checkpoint("2"));
        await putWrites([write("a", 0, "x", { namespace: "child" })]);
        expect(await textsOf("1")).toEqual([]);
        expect(await textsOf("2")).toEqual([]);
        expect((await get("1", start, "child"))?.writes).toHaveLength(1);
      });
    });

    describe("lists", () => {
      beforeEach(async () => {
        await put(checkpoint("1", { metadata: '{"source":"input","step":-1,"tags":["a","b"]}' }));
        await put(checkpoint("3", { metadata: '{"source":"loop","step":0,"user":{"name":"ann"}}' }));
        await put(checkpoint("2", { namespace: "child", metadata: '{"source":"loop","step":1,"none":null}' }));
        await put(checkpoint("4"), nothing, writer(), { tenant: "acme", threadId: "another" });
      });

      test("a thread newest first, in all namespaces or in one", async () => {
        expect(await list()).toEqual(["talk//3", "talk/child/2", "talk//1"]);
        expect(await list({ namespace: "" })).toEqual(["talk//3", "talk//1"]);
        expect(await list({ namespace: "child" })).toEqual(["talk/child/2"]);
      });

      test("all threads of a tenant, one after the other", async () => {
        expect(await list({ threadId: undefined })).toEqual(["another//4", "talk//3", "talk/child/2", "talk//1"]);
      });

      test.each([
        { query: { before: "3" }, ids: ["2", "1"] },
        { query: { before: "1" }, ids: [] },
        { query: { checkpointId: "2" }, ids: ["2"] },
        { query: { filter: "{}" }, ids: ["3", "2", "1"] },
        { query: { filter: '{"source":"loop"}' }, ids: ["3", "2"] },
        { query: { filter: '{"source":"loop","step":0}' }, ids: ["3"] },
        { query: { filter: '{"step":"0"}' }, ids: [] },
        { query: { filter: '{"step":-1.0}' }, ids: ["1"] },
        { query: { filter: '{"tags":["a","b"]}' }, ids: ["1"] },
        { query: { filter: '{"tags":["b","a"]}' }, ids: [] },
        { query: { filter: '{"user":{"name":"ann"}}' }, ids: ["3"] },
        { query: { filter: '{"user":{}}' }, ids: [] },
        { query: { filter: '{"none":null}' }, ids: ["2"] },
        { query: { filter: '{"absent":null}' }, ids: [] },
      ])("what $query asks for", async ({ query, ids }) => {
        expect((await list(query)).map((place) => place.split("/").at(-1))).toEqual(ids);
      });

      test("page by page", async () => {
        const all = { tenant: "acme", threadId: undefined, namespace: undefined, checkpointId: undefined, before: undefined, filter: undefined };
        const seen: string[] = [];
        for (let after; ; ) {
          const page = await store.list(all, after, 1, start);
          if (page.length === 0) break;
          after = page[0];
          seen.push(...page.map(({ threadId, checkpointId }) => threadId + checkpointId));
        }
        expect(seen).toEqual(["another4", "talk3", "talk2", "talk1"]);
      });

      test("with writes and values", async () => {
        await put(checkpoint("5", { channels: [{ channel: "c", version: "1", value: inline("v"), unchanged: false }] }));
        await putWrites([write("t", 0, "w", { checkpointId: "5" })]);
        const [found] = await store.list({ ...thread, namespace: "", checkpointId: "5", before: undefined, filter: undefined }, undefined, 9, start);
        expect(found).toEqual(await get("5"));
        expect([found?.channels.length, found?.writes.length]).toEqual([1, 1]);
      });
    });

    describe("threads", () => {
      test("are summed up", async () => {
        await put(checkpoint("1"), { contents: [segment("a"), segment("b")], required: [] });
        await put(checkpoint("2"), { contents: [segment("a")], required: [] }, writer(at(HOUR)));
        const summary = await store.thread(thread, at(HOUR));
        const storedBytes = segment("a").stored.length + segment("b").stored.length;
        expect(summary).toEqual({
          ...thread,
          createdAt: start,
          updatedAt: at(HOUR),
          expiresAt: at(HOUR + SUITE_TTL_MS),
          checkpointCount: 2,
          storedBytes,
          lease: undefined,
        });
        expect(await store.stats("acme")).toEqual({ threads: 1, checkpoints: 2, storedBytes, oldestUpdate: at(HOUR) });
        expect(await store.stats("other")).toEqual({ threads: 0, checkpoints: 0, storedBytes: 0, oldestUpdate: undefined });
      });

      test("are listed by prefix and page; those without a checkpoint are not", async () => {
        for (const threadId of ["b1", "a", "b3", "b2", "c"]) await put(checkpoint("1"), nothing, writer(), { tenant: "acme", threadId });
        await store.acquireLease({ tenant: "acme", threadId: "b0" }, "me", at(HOUR), start);
        const ids = async (prefix: string, after: string, count: number) =>
          (await store.threads("acme", prefix, after, count, start)).map(({ threadId }) => threadId);
        expect(await ids("", "", 10)).toEqual(["a", "b1", "b2", "b3", "c"]);
        expect(await ids("b", "", 2)).toEqual(["b1", "b2"]);
        expect(await ids("b", "b2", 2)).toEqual(["b3"]);
        expect(await ids("%", "", 2)).toEqual([]);
      });

      test("are deleted with all that is theirs", async () => {
        await put(checkpoint("1"), { contents: [segment("a")], required: [] });
        await putWrites([write("t", 0, "w")]);
        await store.deleteThread(thread);
        await store.deleteThread(thread);
        expect(await get("1")).toBeUndefined();
        expect(await store.thread(thread, start)).toBeUndefined();
        expect((await store.contents(thread, [refTo("a")])).size).toBe(0);
        await put(checkpoint("1"));
        expect((await get("1"))?.writes).toEqual([]);
      });

      test("are copied whole, and go their own ways", async () => {
        await put(checkpoint("1", { channels: [{ channel: "c", version: "1", value: naming("a"), unchanged: false }] }), { contents: [segment("a")], required: [] });
        await put(checkpoint("2", { namespace: "child" }));
        await putWrites([write("t", 0, "w")]);
        const copy = { ...thread, threadId: "copy" };
        expect(await store.copyThreads("acme", [{ source: "talk", target: "copy" }], at(HOUR))).toEqual(["copied"]);
        await put(checkpoint("3"));
        await store.deleteThread(thread);
        expect(await store.get(copy, "", undefined, at(HOUR))).toMatchObject({ checkpointId: "1", threadId: "copy", writes: [{ taskId: "t" }] });
        expect((await store.get(copy, "child", "2", at(HOUR)))?.checkpointId).toBe("2");
        expect((await store.contents(copy, [refTo("a")])).size).toBe(1);
        expect(await store.thread(copy, at(HOUR))).toMatchObject({ checkpointCount: 2, createdAt: at(HOUR), storedBytes: segment("a").stored.length });
        expect((await store.threads("acme", "", "", 9, at(HOUR))).map(({ threadId }) => threadId)).toEqual(["copy"]);
      });

      test("are copied only from one that is there to one that is not", async () => {
        await put(checkpoint("1"));
        expect(await store.copyThreads("other", [{ source: "talk", target: "copy" }], start)).toEqual(["no source"]);
        const copies = [
          { source: "none", target: "copy" },
          { source: "talk", target: "talk" },
          { source: "talk", target: "copy" },
          { source: "talk", target: "another copy" },
        ];
        expect(await store.copyThreads("acme", copies, start)).toEqual(["no source", "target exists", "copied", "copied"]);
        expect((await store.threads("acme", "", "", 9, start)).map(({ threadId }) => threadId)).toEqual(["another copy", "copy", "talk"]);
      });
    });

    describe("deleting checkpoints", () => {
      test("takes those that are chosen, with their writes, and no others", async () => {
        await put(checkpoint("1"));
        await put(checkpoint("2", { parentId: "1", needsParent: true }));
        await put(checkpoint("1", { namespace: "child" }));
        await putWrites([write("t", 0, "w")]);
        const seen: unknown[] = [];
        const deleted = await store.deleteCheckpoints(thread, (all) => {
          seen.push(...all);
          return all.filter(({ namespace, checkpointId }) => namespace === "" && checkpointId === "1");
        });
        expect(deleted).toBe(1);
        expect(seen).toHaveLength(3);
        expect(seen).toContainEqual({ namespace: "", checkpointId: "2", parentId: "1", needsParent: true });
        expect(await list()).toEqual(["talk//2", "talk/child/1"]);
        expect((await store.thread(thread, start))?.checkpointCount).toBe(2);
        await put(checkpoint("1"));
        expect((await get("1"))?.writes).toEqual([]);
        expect(await store.deleteCheckpoints({ ...thread, threadId: "none" }, (all) => all)).toBe(0);
      });

      test("chooses anew when a put comes in between", async () => {
        await put(checkpoint("1"));
        let looks = 0;
        const late: Promise<unknown>[] = [];
        const deleted = await store.deleteCheckpoints(thread, (all) => {
          looks += 1;
          if (looks === 1) late.push(put(checkpoint("2", { parentId: "1", needsParent: true })));
          return all.some(({ needsParent }) => needsParent) ? [] : all;
        });
        await Promise.all(late);
        // Whichever came first: what was chosen from was true when it went.
        expect(await list()).toEqual(deleted === 0 ? ["talk//2", "talk//1"] : ["talk//2"]);
        expect(looks).toBe(deleted === 0 ? 2 : 1);
      });

      test("lets what they alone named be swept, and nothing else", async () => {
        const named = (id: string, ...texts: string[]) =>
          checkpoint(id, { channels: [{ channel: "c", version: id, value: naming(...texts), unchanged: false }] });
        await put(named("1", "a", "b"), { contents: [segment("a"), segment("b")], required: [] });
        await put(named("2", "b", "c"), { contents: [segment("c")], required: [] });
        const pending = write("t", 0, "", { checkpointId: "2", value: naming("d") });
        await store.put(thread, { checkpoint: undefined, writes: [pending] }, { contents: [segment("d")], required: [] }, writer());
        await store.putContents(thread, [segment("ahead")], at(5 * HOUR), writer(at(4 * HOUR)));
        expect(await store.threadsToSweep(at(4 * HOUR), 10)).toEqual([]);
        await store.deleteCheckpoints(thread, (all) => all.filter(({ checkpointId }) => checkpointId === "1"));
        expect(await store.threadsToSweep(at(4 * HOUR), 10)).toEqual([thread]);
        expect(await store.sweepContents(thread, at(3 * HOUR), at(6 * HOUR))).toBe(1);
        const left = await store.contents(thread, ["a", "b", "c", "d", "ahead"].map(refTo));
        expect([...left.keys()].sort()).toEqual(["b", "c", "d", "ahead"].map((text) => hashKey(refTo(text).hash)).sort());
        // What was stored ahead may still be named: its time comes later.
        expect(await store.threadsToSweep(at(5 * HOUR), 10)).toEqual([]);
        expect(await store.threadsToSweep(at(6 * HOUR), 10)).toEqual([thread]);
        expect(await store.sweepContents(thread, at(5 * HOUR), at(9 * HOUR))).toBe(1);
        expect(await store.threadsToSweep(at(99 * HOUR), 10)).toEqual([]);
        expect((await store.stats("acme")).storedBytes).toBe(["b", "c", "d"].reduce((sum, text) => sum + segment(text).stored.length, 0));
      });

      test("finds the threads that have too many", async () => {
        for (const id of ["1", "2", "3"]) await put(checkpoint(id));
        await put(checkpoint("1"), nothing, writer(), { tenant: "acme", threadId: "short" });
        expect(await store.threadsAbove(2, 10)).toEqual([thread]);
        expect(await store.threadsAbove(3, 10)).toEqual([]);
      });
    });

    describe("leases", () => {
      const acquire = (owner: string, now = start, key = thread) => store.acquireLease(key, owner, new Date(now.getTime() + HOUR), now);
      const refused = async (work: Promise<unknown>) => work.then(() => "stored", (error: unknown) => reasonOf(error) ?? error);

      test("are one owner's until they end, and each has a larger token", async () => {
        const first = await acquire("a");
        expect(first).toMatchObject({ granted: true, lease: { owner: "a", expiresAt: at(HOUR) } });
        expect(await acquire("b", at(HOUR - 1))).toEqual({ granted: false, lease: first.lease });
        const second = await acquire("b", at(HOUR));
        expect(second.granted).toBe(true);
        expect(second.lease.token).toBeGreaterThan(first.lease.token);
        const again = await acquire("b", at(HOUR));
        expect(again.lease.token).toBeGreaterThan(second.lease.token);
      });

      test("that ended without being given back are listed, those of all tenants, the first that ended first", async () => {
        const hold = (tenant: string, threadId: string, owner: string, minutes: number) =>
          store.acquireLease({ tenant, threadId }, owner, at(minutes * 60_000), start);
        await hold("acme", "x1", "sweep:0", 2);
        const { lease } = await hold("bolt", "x2", "sweep:1", 1);
        await hold("acme", "x3", "other:0", 1);
        const returned = await hold("acme", "x4", "sweep:2", 1);
        await store.releaseLease({ tenant: "acme", threadId: "x4" }, returned.lease.token);
        const ended = async (minutes: number, count = 10) =>
          (await store.expiredLeases("sweep:", at(minutes * 60_000), count)).map(({ tenant, threadId, lease: { owner } }) => `${tenant}/${threadId} ${owner}`);
        expect(await ended(0.5)).toEqual([]);
        expect(await ended(3)).toEqual(["bolt/x2 sweep:1", "acme/x1 sweep:0"]);
        expect(await ended(3, 1)).toEqual(["bolt/x2 sweep:1"]);
        await store.renewLease({ tenant: "bolt", threadId: "x2" }, lease.token, at(5 * 60_000));
        expect(await ended(3)).toEqual(["acme/x1 sweep:0"]);
      });

      test("can be taken over, and the owner before is told with its next write", async () => {
        const { lease } = await acquire("a");
        const taken = await store.acquireLease(thread, "b", at(HOUR), start, true);
        expect(taken).toMatchObject({ granted: true, lease: { owner: "b" } });
        expect(await refused(put(checkpoint("1"), nothing, writer(start, lease.token)))).toBe("LEASE_LOST");
        expect(await store.renewLease(thread, lease.token, at(HOUR))).toBeUndefined();
      });

      test("keep everyone without their token from writing", async () => {
        const { lease } = await acquire("a");
        expect(await refused(put(checkpoint("1"), nothing, writer(start, lease.token)))).toBe("stored");
        expect(await refused(put(checkpoint("2")))).toBe("THREAD_LEASED");
        expect(await refused(putWrites([write("t", 0, "w")]))).toBe("THREAD_LEASED");
        expect(await refused(store.putContents(thread, [segment("a")], at(HOUR), writer()))).toBe("THREAD_LEASED");
        const error = await put(checkpoint("2"), nothing, writer(at(1000))).catch((thrown: unknown) => thrown);
        expect(retryAfterMsOf(error)).toBe(HOUR - 1000);
        expect(await list()).toEqual(["talk//1"]);
        expect(await refused(put(checkpoint("2"), nothing, writer(at(HOUR))))).toBe("stored");
      });

      test("that were taken over refuse their old owner, however late its put comes", async () => {
        const old = await acquire("a");
        const newer = await acquire("b", at(HOUR));
        expect(await refused(put(checkpoint("1"), nothing, writer(at(HOUR), old.lease.token)))).toBe("LEASE_LOST");
        expect(await refused(putWrites([write("t", 0, "w")], writer(at(HOUR), old.lease.token)))).toBe("LEASE_LOST");
        expect(await refused(put(checkpoint("1"), nothing, writer(at(3 * HOUR), newer.lease.token)))).toBe("stored");
      });

      test("are renewed by their token, also late while nobody took them over", async () => {
        const { lease } = await acquire("a");
        expect(await store.renewLease(thread, lease.token, at(3 * HOUR))).toEqual({ ...lease, expiresAt: at(3 * HOUR) });
        const { lease: newer } = await acquire("b", at(3 * HOUR));
        expect(await store.renewLease(thread, lease.token, at(9 * HOUR))).toBeUndefined();
        expect(await store.renewLease(thread, newer.token, at(9 * HOUR))).toBeDefined();
        expect(await store.renewLease({ ...thread, threadId: "none" }, newer.token, at(9 * HOUR))).toBeUndefined();
      });

      test("that were given back are free, and their token is worth nothing", async () => {
        const { lease } = await acquire("a");
        await store.releaseLease(thread, lease.token);
        await store.releaseLease(thread, lease.token);
        expect(await refused(put(checkpoint("1"), nothing, writer(start, lease.token)))).toBe("LEASE_LOST");
        expect(await store.renewLease(thread, lease.token, at(9 * HOUR))).toBeUndefined();
        expect(await refused(put(checkpoint("1")))).toBe("stored");
        expect((await acquire("b")).granted).toBe(true);
      });

      test("are shown with the thread while they last", async () => {
        await put(checkpoint("1"));
        const { lease } = await acquire("a");
        expect((await store.thread(thread, at(HOUR - 1)))?.lease).toEqual(lease);
        expect((await store.thread(thread, at(HOUR)))?.lease).toBeUndefined();
      });

      test("of a deleted thread write nothing any more", async () => {
        const { lease } = await acquire("a");
        await store.deleteThread(thread);
        expect(await refused(put(checkpoint("1"), nothing, writer(start, lease.token)))).toBe("LEASE_LOST");
        expect((await acquire("b")).lease.token).toBeGreaterThan(lease.token);
      });

      test("go to one of many who ask at once", async () => {
        const all = await Promise.all(Array.from({ length: 8 }, (_, i) => acquire(`owner ${i}`)));
        expect(all.filter(({ granted }) => granted)).toHaveLength(1);
      });
    });

    describe("expiry", () => {
      test("hides a thread that was not used, and puts begin it anew", async () => {
        await put(checkpoint("1"), { contents: [segment("a")], required: [] });
        await putWrites([write("t", 0, "w")]);
        const late = at(SUITE_TTL_MS);
        expect(await get("1", at(SUITE_TTL_MS - 1))).toBeDefined();
        await clear();
        await put(checkpoint("1"), { contents: [segment("a")], required: [] });
        expect(await get("1", late)).toBeUndefined();
        expect(await store.thread(thread, late)).toBeUndefined();
        expect(await store.threads("acme", "", "", 9, late)).toEqual([]);
        expect(await store.list({ tenant: "acme", threadId: undefined, namespace: undefined, checkpointId: undefined, before: undefined, filter: undefined }, undefined, 9, late)).toEqual([]);
        expect(await store.copyThreads("acme", [{ source: "talk", target: "copy" }], late)).toEqual(["no source"]);
        const { checkpointCount } = await put(checkpoint("2"), nothing, writer(late));
        expect(checkpointCount).toBe(1);
        expect((await store.get(thread, "", "1", late))).toBeUndefined();
        expect((await store.thread(thread, late))?.createdAt).toEqual(late);
      });

      test("is put off by reading and by writing", async () => {
        await put(checkpoint("1"));
        await get("1", at(SUITE_TTL_MS / 2));
        expect(await get("1", at(SUITE_TTL_MS))).toBeDefined();
        await putWrites([write("t", 0, "w")], writer(at(SUITE_TTL_MS + HOUR)));
        expect(await get("1", at(2 * SUITE_TTL_MS))).toBeDefined();
      });

      test("deletes in batches", async () => {
        for (const threadId of ["a", "b", "c"]) await put(checkpoint("1"), nothing, writer(), { tenant: "acme", threadId });
        await put(checkpoint("1"), nothing, writer(at(HOUR)), { tenant: "acme", threadId: "later" });
        const late = at(SUITE_TTL_MS);
        expect(await store.deleteExpired(late, 2)).toBe(2);
        expect(await store.deleteExpired(late, 2)).toBe(1);
        expect(await store.deleteExpired(late, 2)).toBe(0);
        expect((await store.stats("acme")).threads).toBe(1);
      });
    });

    test("one replica at a time cleans, until its turn ends", async () => {
      expect(await store.takeCleaningTurn("a", at(HOUR), start)).toBe(true);
      expect(await store.takeCleaningTurn("b", at(HOUR), at(HOUR - 1))).toBe(false);
      expect(await store.takeCleaningTurn("a", at(2 * HOUR), at(HOUR - 1))).toBe(true);
      expect(await store.takeCleaningTurn("b", at(3 * HOUR), at(2 * HOUR))).toBe(true);
      expect(await store.takeCleaningTurn("a", at(3 * HOUR), at(2 * HOUR))).toBe(false);
    });

    test("writers of one thread stand in line", async () => {
      const puts = Array.from({ length: 20 }, (_, i) =>
        store.put(thread, { checkpoint: checkpoint(`${i}`), writes: [write("t", i, "w", { checkpointId: "0" })] }, { contents: [segment("same"), segment(`own ${i}`)], required: [] }, writer()),
      );
      const counts = (await Promise.all(puts)).map(({ checkpointCount }) => checkpointCount);
      expect(Math.max(...counts)).toBe(20);
      expect((await get("0"))?.writes).toHaveLength(20);
      const bytes = segment("same").stored.length + Array.from({ length: 20 }, (_, i) => segment(`own ${i}`).stored.length).reduce((a, b) => a + b);
      expect((await store.thread(thread, start))?.storedBytes).toBe(bytes);
    });

    test("answers a ping", async () => {
      await store.ping();
    });
  });
}
