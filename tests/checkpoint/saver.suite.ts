import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { AIMessage, HumanMessage, SystemMessage, ToolMessage } from "@langchain/core/messages";
import type { RunnableConfig } from "@langchain/core/runnables";
import { type Checkpoint, type CheckpointMetadata, type CheckpointTuple, emptyCheckpoint, ERROR, INTERRUPT, uuid6 } from "@langchain/langgraph-checkpoint";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { CheckpointService } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import type { Clock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import { createGrpcTransport, type GrpcTransport } from "../../runtime/grpc-transport.js";
import type { Backend } from "./backend.js";
import { type CheckpointServer, serveCheckpoints } from "./checkpoint-server.js";

const MIB = 1024 * 1024;
const metadata = (rest: object = {}): CheckpointMetadata => ({ source: "loop", step: 1, parents: {}, ...rest });

/** What a program sees of the saver, over real gRPC, against a store. */
export function describeSaver(name: string, open: () => Promise<Backend>): void {
  describe(name, () => {
    let backend: Backend;
    let server: CheckpointServer;
    let time = Date.now();
    const opened: GrpcTransport[] = [];
    const clock: Clock = { now: () => time, monotonic: () => time, sleep: () => new Promise(() => {}) };

    beforeAll(async () => {
      backend = await open();
    });
    beforeEach(async () => {
      await backend.clear();
      time = Date.now();
      server = await serveCheckpoints(backend.store, { clock });
    });
    afterEach(async () => {
      for (const transport of opened.splice(0)) transport.close();
      await server.stop();
    });
    afterAll(() => backend.store.close());

    /** A saver of its own connection and memory, as in another process. */
    function newSaver(as: { tenant?: string; watch?: (transport: Transport) => Transport } = {}) {
      const security = as.tenant === undefined ? undefined : { callHeaders: () => [["x-tenant", as.tenant!]] as const };
      const transport = createGrpcTransport({ address: server.address, services: [CheckpointService], ...(security && { security }) });
      opened.push(transport);
      return new GrpcCheckpointSaver({ transport: as.watch?.(transport) ?? transport });
    }
    /** Counts what goes over the wire. */
    function counting() {
      const calls: { rpc: string; bytes: number }[] = [];
      const counted = (rpc: string, message: unknown) => {
        const put = (message as { put?: { value: unknown } }).put?.value ?? message;
        calls.push({ rpc, bytes: (put as { contents?: { data: Uint8Array } }).contents?.data.length ?? 0 });
      };
      const watch = (transport: Transport): Transport => ({
        unary(method, signal, timeoutMs, header, input, values) {
          counted(method.name, input);
          return transport.unary(method, signal, timeoutMs, header, input, values);
        },
        stream(method, signal, timeoutMs, header, input, values) {
          async function* watched() {
            for await (const message of input) {
              counted(method.name, message);
              yield message;
            }
          }
          return transport.stream(method, signal, timeoutMs, header, watched(), values);
        },
      });
      return { calls, watch };
    }

    /** Puts a checkpoint whose channels all changed; answers its config. */
    function put(
      saver: GrpcCheckpointSaver,
      values: Record<string, unknown>,
      options: { thread?: string; ns?: string; parent?: RunnableConfig; meta?: CheckpointMetadata; id?: string; version?: number } = {},
    ): Promise<RunnableConfig> {
      const versions = Object.fromEntries(Object.keys(values).map((channel) => [channel, options.version ?? 1]));
      const checkpoint: Checkpoint = { ...emptyCheckpoint(), id: options.id ?? uuid6(1), channel_values: values, channel_versions: versions };
      const config = options.parent ?? { configurable: { thread_id: options.thread ?? "t", checkpoint_ns: options.ns ?? "" } };
      return saver.put(config, checkpoint, options.meta ?? metadata(), versions);
    }
    const valuesOf = async (saver: GrpcCheckpointSaver, config: RunnableConfig) => (await saver.getTuple(config))?.checkpoint.channel_values;
    async function all(items: AsyncIterable<CheckpointTuple>): Promise<CheckpointTuple[]> {
      const found: CheckpointTuple[] = [];
      for await (const item of items) found.push(item);
      return found;
    }
    const failure = (work: Promise<unknown>): Promise<ConnectError> =>
      work.then(() => expect.fail("it succeeded"), (error: unknown) => ConnectError.from(error));
    const text = (length: number, seed = 1) => {
      let state = seed;
      const next = () => (state = (state * 1_103_515_245 + 12_345) % 2_147_483_648);
      let words = "";
      while (words.length < length) words += `${next().toString(36)} `;
      return words.slice(0, length);
    };
    const ofThread = (thread: string, id?: string) => ({ configurable: { thread_id: thread, ...(id !== undefined && { checkpoint_id: id }) } });

    describe("values", () => {
      test.each<[string, unknown]>([
        ["text in all scripts", "naïve 日本語 🙂 \u{1F469}\u200D\u{1F680} \\ \" \n \u2028 \u0000 end"],
        ["half a surrogate pair", "a\ud800b"],
        ["undefined", undefined],
        ["undefined inside", { a: undefined, b: [undefined, 1] }],
        ["numbers that JSON lacks", [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -0, 1e308, 5e-324, Number.MAX_SAFE_INTEGER]],
        ["a big integer", 2n ** 100n],
        ["a date", new Date("2026-02-03T04:05:06.789Z")],
        ["an invalid date", new Date(Number.NaN)],
        ["a map", new Map<unknown, unknown>([["a", 1], [{ b: 1 }, new Map([[1n, undefined]])]])],
        ["a set", new Set([1, "a", new Set([Number.NaN])])],
        ["bytes", Uint8Array.from({ length: 256 }, (_, i) => i)],
        ["bytes inside", { bytes: new Uint8Array([0, 255]), floats: new Float32Array([0.5, -1]), big: new BigInt64Array([-1n]) }],
        ["no bytes", new Uint8Array(0)],
        ["a regular expression", /a+\/"b/giu],
        ["an error", new Error("wrong", { cause: "why" })],
        ["an empty list", []],
        ["lists in lists", [[], [[1]], [null]]],
        ["a list with holes and line breaks", ["a\nb", "\n", "", null, undefined]],
        ["awkward keys", JSON.parse('{"__proto__":{"polluted":true},"constructor":1,"":2,"$type":"date","value":0}') as object],
        ["deep nesting", Array.from({ length: 200 }).reduce<unknown>((inner) => ({ inner }), "core")],
        ["messages", [
          new HumanMessage({ content: "hi", id: "1", name: "ann" }),
          new AIMessage({ content: [{ type: "text", text: "look" }], tool_calls: [{ id: "c", name: "f", args: { x: [1] } }], usage_metadata: { input_tokens: 1, output_tokens: 2, total_tokens: 3 }, response_metadata: { model: "m" } }),
          new ToolMessage({ content: "42", tool_call_id: "c", status: "success", artifact: { big: 1n } }),
          new SystemMessage("be kind"),
        ]],
      ])("%s come back as they were", async (_, value) => {
        const config = await put(newSaver(), { value, other: "o" });
        const saver = newSaver();
        const values = await valuesOf(saver, config);
        expect(Object.keys(values ?? {})).toEqual(["value", "other"]);
        expect(values).toStrictEqual({ value, other: "o" });
        await saver.putWrites(config, [["c", value]], "task");
        expect((await newSaver().getTuple(config))?.pendingWrites).toStrictEqual([["task", "c", value]]);
      });

      test.each([
        ["bytes", new Uint8Array(16 * MIB).map((_, i) => (i * 7 + (i >> 11)) % 256)],
        ["text", "äb€".repeat((4 * MIB) / 1.5)],
        ["a list", Array.from({ length: 64 }, (_, i) => text(256 * 1024, i + 1))],
      ])("of 16 MiB come back: %s", async (_, value) => {
        const config = await put(newSaver(), { value });
        const values = await valuesOf(newSaver(), config);
        const same = value instanceof Uint8Array ? Buffer.compare(values?.value as Uint8Array, value) === 0 : JSON.stringify(values?.value) === JSON.stringify(value);
        expect(same).toBe(true);
        expect(await all(newSaver().list({}, { limit: 1 }))).toHaveLength(1);
      }, 60_000);

      test("that contain themselves are refused, naming the channel", async () => {
        const loop: { self?: unknown } = {};
        loop.self = [loop];
        await expect(put(newSaver(), { "my channel": loop })).rejects.toThrow('Channel "my channel": a value that contains itself');
      });

      test("are stored once however often they are written", async () => {
        const saver = newSaver();
        const messages = Array.from({ length: 50 }, (_, i) => new HumanMessage({ content: text(1000, i + 1), id: `${i}` }));
        const first = await put(saver, { messages });
        const { storedBytes = 0 } = (await saver.getThread("t")) ?? {};
        await saver.putWrites(first, [["messages", messages.slice(0, 10)]], "task");
        await put(newSaver(), { messages, copy: [...messages] }, { parent: first, version: 2 });
        expect((await saver.getThread("t"))?.storedBytes).toBe(storedBytes);
      });

      test("of a growing conversation take bytes in proportion to it", async () => {
        const saver = newSaver();
        const messages: HumanMessage[] = [];
        let parent: RunnableConfig | undefined;
        const bytes: number[] = [];
        for (let i = 1; i <= 200; i += 1) {
          messages.push(new HumanMessage({ content: text(1000, i), id: `${i}` }));
          parent = await put(saver, { messages: [...messages] }, { version: i, ...(parent && { parent }) });
          if (i === 100 || i === 200) bytes.push((await saver.getThread("t"))?.storedBytes ?? 0);
        }
        const [at100 = 0, at200 = 0] = bytes;
        expect(at100).toBeGreaterThan(100_000);
        expect(at200 / at100).toBeLessThan(2.1);
        expect((await valuesOf(newSaver(), parent as RunnableConfig))?.messages).toEqual(messages);
      }, 60_000);

      test("that were changed in place are stored as they are now", async () => {
        const saver = newSaver();
        const messages = [new HumanMessage({ content: text(1000), id: "1" }), new AIMessage({ content: text(1000, 2), id: "2" })];
        const first = await put(saver, { messages });
        (messages[0] as HumanMessage).content = "changed";
        (messages[1] as AIMessage).additional_kwargs.note = { deep: [1] };
        const second = await put(saver, { messages }, { parent: first, version: 2 });
        (messages[1] as AIMessage).additional_kwargs.note = { deep: [2] };
        const third = await put(saver, { messages }, { parent: second, version: 3 });
        const contents = async (config: RunnableConfig) =>
          ((await valuesOf(newSaver(), config))?.messages as AIMessage[]).map(({ content, additional_kwargs }) => [content, additional_kwargs]);
        expect(await contents(first)).toEqual([[text(1000), {}], [text(1000, 2), {}]]);
        expect(await contents(second)).toEqual([["changed", {}], [text(1000, 2), { note: { deep: [1] } }]]);
        expect(await contents(third)).toEqual([["changed", {}], [text(1000, 2), { note: { deep: [2] } }]]);
      });
    });

    describe("the wire", () => {
      test("carries what is new, in one call a turn", async () => {
        const { calls, watch } = counting();
        const saver = newSaver({ watch });
        const messages = Array.from({ length: 20 }, (_, i) => new HumanMessage({ content: text(1000, i + 1), id: `${i}` }));
        const first = await put(saver, { messages });
        const next = new AIMessage({ content: text(1000, 99), id: "next" });
        calls.length = 0;
        const writing = saver.putWrites(first, [["messages", [next]]], "task");
        await put(saver, { messages: [...messages, next] }, { parent: first, version: 2 });
        await writing;
        expect(calls.map(({ rpc }) => rpc)).toEqual(["StreamPuts"]);
        expect(calls[0]?.bytes).toBeLessThan(1300);
        calls.length = 0;
        const tuple = await newSaver({ watch }).getTuple(first);
        expect(tuple?.pendingWrites).toEqual([["task", "messages", [next]]]);
        expect(calls.map(({ rpc }) => rpc)).toEqual(["GetCheckpoint"]);
      });

      test("carries everything again after the service has lost it", async () => {
        const saver = newSaver();
        const other = newSaver();
        const messages = [new HumanMessage({ content: text(1000), id: "1" })];
        await put(saver, { messages });
        await other.deleteThread("t");
        const again = await put(saver, { messages: [...messages, new HumanMessage("2")] }, { version: 2 });
        expect((await valuesOf(newSaver(), again))?.messages).toHaveLength(2);
      });

      test("says so when a client names what is nowhere", async () => {
        const transport = createGrpcTransport({ address: server.address, services: [CheckpointService] });
        opened.push(transport);
        const client = createClient(CheckpointService, transport);
        const value = { encoding: "json", segments: new Uint8Array(32).fill(1), tail: new Uint8Array() };
        const request = { threadId: "t", checkpointId: "1", metadata: Buffer.from("{}"), channels: [{ channel: "c", version: "1", value }] };
        const error = await failure(client.putCheckpoint(request));
        expect([error.code, reasonOf(error)]).toEqual([Code.FailedPrecondition, "MISSING_CONTENTS"]);
        const gone = await failure(client.getContents({ threadId: "t", hashes: new Uint8Array(16) }));
        expect([gone.code, reasonOf(gone)]).toEqual([Code.NotFound, "MISSING_CONTENTS"]);
      });

      test("refuses segments that are not what their hash says", async () => {
        const transport = createGrpcTransport({ address: server.address, services: [CheckpointService] });
        opened.push(transport);
        const client = createClient(CheckpointService, transport);
        const contents = { hashes: new Uint8Array(16), sizes: [3], data: Buffer.from("abc") };
        const error = await failure(client.putContents({ threadId: "t", contents }));
        expect([error.code, error.rawMessage]).toEqual([Code.InvalidArgument, "contents.hashes[0]: is not the first half of the segment's SHA-256"]);
        const short = await failure(client.putContents({ threadId: "t", contents: { ...contents, sizes: [4] } }));
        expect(short.rawMessage).toContain("contents.data");
        const metadata = await failure(client.putCheckpoint({ threadId: "t", checkpointId: "1", metadata: Buffer.from("[1]") }));
        expect(metadata.rawMessage).toBe("metadata: must be a JSON object");
      });
    });

    describe("namespaces and writes", () => {
      test("of subgraphs are apart", async () => {
        const saver = newSaver();
        const root = await put(saver, { v: "root" });
        const child = await put(saver, { v: "child" }, { ns: "child:1" });
        const deeper = await put(saver, { v: "deeper" }, { ns: "child:1|deeper:2" });
        expect(await valuesOf(saver, ofThread("t"))).toEqual({ v: "root" });
        for (const [config, v] of [[root, "root"], [child, "child"], [deeper, "deeper"]] as const) {
          expect(await valuesOf(saver, config)).toEqual({ v });
        }
        expect((await all(saver.list(ofThread("t")))).map(({ config }) => config.configurable?.checkpoint_ns).sort()).toEqual(["", "child:1", "child:1|deeper:2"]);
      });

      test("are ordered by task path, task and place, and the special ones are replaced", async () => {
        const saver = newSaver();
        const config = await put(saver, {});
        await saver.putWrites(config, [["c", "b0"], ["c", "b1"], [ERROR, "old"]], "b", "2");
        await saver.putWrites(config, [["c", "a0"]], "a", "3");
        await saver.putWrites(config, [["c", "late"], [ERROR, "new"], [INTERRUPT, "stop"]], "b", "2");
        const writes = (await newSaver().getTuple(config))?.pendingWrites;
        expect(writes).toEqual([["b", INTERRUPT, "stop"], ["b", ERROR, "new"], ["b", "c", "b0"], ["b", "c", "b1"], ["a", "c", "a0"]]);
      });

      test("of many tasks in one turn go together", async () => {
        const { calls, watch } = counting();
        const saver = newSaver({ watch });
        const config = await put(saver, {});
        calls.length = 0;
        await Promise.all(Array.from({ length: 30 }, (_, i) => saver.putWrites(config, [["c", i]], `task ${String(i).padStart(2, "0")}`)));
        expect(calls).toHaveLength(1);
        expect((await saver.getTuple(config))?.pendingWrites?.map(([, , value]) => value)).toEqual(Array.from({ length: 30 }, (_, i) => i));
      });
    });

    describe("lists", () => {
      test("stream filtered, newest first, as far as they are read", async () => {
        const saver = newSaver();
        const ids: string[] = [];
        const messages: HumanMessage[] = [];
        let parent: RunnableConfig | undefined;
        for (let i = 0; i < 130; i += 1) {
          messages.push(new HumanMessage({ content: text(400, i + 1), id: `${i}` }));
          parent = await put(saver, { messages: [...messages] }, { version: i, meta: metadata({ step: i, even: i % 2 === 0, who: { name: "ann" } }), ...(parent && { parent }) });
          ids.unshift(parent.configurable?.checkpoint_id as string);
        }
        const found = await all(newSaver().list(ofThread("t")));
        expect(found.map(({ checkpoint }) => checkpoint.id)).toEqual(ids);
        expect(found.map(({ checkpoint }) => (checkpoint.channel_values.messages as unknown[]).length)).toEqual(ids.map((_, i) => 130 - i));
        expect(found[3]).toEqual(await saver.getTuple(ofThread("t", ids[3])));
        const some = await all(saver.list(ofThread("t"), { filter: { even: true, who: { name: "ann" } }, before: ofThread("t", ids[9] as string), limit: 2 }));
        expect(some.map(({ metadata: found }) => (found as { step: number }).step)).toEqual([118, 116]);
        for await (const first of saver.list(ofThread("t"))) {
          expect(first.checkpoint.id).toBe(ids[0]);
          break;
        }
        expect(await all(saver.list(ofThread("t"), { limit: 0 }))).toEqual([]);
        expect(await all(saver.list(ofThread("none")))).toEqual([]);
      }, 60_000);

      test("search metadata of every kind across threads", async () => {
        const saver = newSaver();
        for (const thread of ["a", "b"]) {
          await put(saver, {}, { thread, meta: metadata({ user: thread, note: "nul \u0000 and \ud800", when: new Date(0), n: 1n, none: null, tags: ["x"] }) });
        }
        const threads = async (filter: Record<string, unknown>) => (await all(saver.list({}, { filter }))).map(({ config }) => config.configurable?.thread_id);
        expect(await threads({ user: "b" })).toEqual(["b"]);
        expect(await threads({ source: "loop" })).toEqual(["a", "b"]);
        expect(await threads({ when: new Date(0), n: 1n, tags: ["x"], none: null })).toEqual(["a", "b"]);
        expect(await threads({ when: new Date(1) })).toEqual([]);
        expect(await threads({ user: undefined })).toEqual(["a", "b"]);
        const [first] = await all(saver.list(ofThread("a")));
        expect(first?.metadata).toEqual(metadata({ user: "a", note: "nul \u0000 and \ud800", when: new Date(0), n: 1n, none: null, tags: ["x"] }));
      });
    });

    describe("threads", () => {
      test("are summed up, listed, copied and deleted", async () => {
        const saver = newSaver();
        for (const thread of ["x1", "x2", "y"]) await put(saver, { v: text(1000) }, { thread });
        expect(await saver.getThread("x1")).toMatchObject({ threadId: "x1", checkpointCount: 1, createdAt: new Date(time), expiresAt: undefined });
        expect(await saver.getThread("none")).toBeUndefined();
        const page = await saver.listThreads({ prefix: "x", pageSize: 1 });
        expect(page.threads.map(({ threadId }) => threadId)).toEqual(["x1"]);
        const rest = await saver.listThreads({ prefix: "x", pageSize: 1, pageToken: page.nextPageToken });
        expect([rest.threads.map(({ threadId }) => threadId), rest.nextPageToken]).toEqual([["x2"], ""]);
        await saver.copyThread("y", "z");
        await saver.deleteThread("y");
        expect(await valuesOf(newSaver(), ofThread("y"))).toBeUndefined();
        expect(await valuesOf(newSaver(), ofThread("z"))).toEqual({ v: text(1000) });
        await put(saver, { v: text(1000) }, { thread: "z", version: 2 });
        expect(reasonOf(await failure(saver.copyThread("y", "q")))).toBe("THREAD_NOT_FOUND");
        expect(reasonOf(await failure(saver.copyThread("z", "x1")))).toBe("THREAD_EXISTS");
      });

      test("are pruned to the newest, which can still be read and gone on from", async () => {
        const saver = newSaver();
        const messages: HumanMessage[] = [];
        let parent: RunnableConfig | undefined;
        for (let i = 1; i <= 40; i += 1) {
          messages.push(new HumanMessage({ content: text(500, i), id: `${i}` }));
          parent = await put(saver, { messages: [...messages] }, { version: i, ...(parent && { parent }) });
        }
        expect(await saver.pruneThread("t", { keep: 3 })).toBe(37);
        expect(await saver.pruneThread("t", { keep: 3 })).toBe(0);
        await backend.store.sweepContents({ tenant: "local", threadId: "t" }, new Date(time + 1), new Date(time + 2));
        const kept = await all(newSaver().list(ofThread("t")));
        expect(kept.map(({ checkpoint }) => (checkpoint.channel_values.messages as unknown[]).length)).toEqual([40, 39, 38]);
        const next = await put(saver, { messages: [...messages, new HumanMessage("41")] }, { version: 41, parent: parent as RunnableConfig });
        expect((await valuesOf(newSaver(), next))?.messages).toHaveLength(41);
      });

      test("of another tenant are not there", async () => {
        const ours = newSaver({ tenant: "ours" });
        const theirs = newSaver({ tenant: "theirs" });
        const config = await put(ours, { v: "secret" });
        expect(await theirs.getTuple(config)).toBeUndefined();
        expect(await all(theirs.list({}))).toEqual([]);
        expect(await all(theirs.list(config))).toEqual([]);
        expect(await theirs.getThread("t")).toBeUndefined();
        expect((await theirs.listThreads()).threads).toEqual([]);
        expect(reasonOf(await failure(theirs.copyThread("t", "stolen")))).toBe("THREAD_NOT_FOUND");
        expect(await theirs.pruneThread("t", { keep: 1 })).toBe(0);
        await theirs.deleteThread("t");
        await put(theirs, { v: "other" });
        expect(await valuesOf(ours, config)).toEqual({ v: "secret" });
        const lease = await ours.acquireLease("t");
        await put(theirs, { v: "free" });
        await lease.release();
      });
    });

    describe("leases", () => {
      test("refuse the put of an owner that was paused too long", async () => {
        const [paused, quick] = [newSaver(), newSaver()];
        const lease = await paused.acquireLease("t", { ttlMs: 10_000 });
        await put(paused, { v: 1 });
        expect(reasonOf(await failure(put(quick, { v: 2 })))).toBe("THREAD_LEASED");
        expect(reasonOf(await failure(quick.acquireLease("t")))).toBe("THREAD_LEASED");
        time += 10_000;
        const taken = await quick.acquireLease("t", { ttlMs: 10_000 });
        const config = await put(quick, { v: 3 }, { version: 2 });
        for (const late of [
          () => put(paused, { v: 4 }, { version: 3 }),
          () => paused.putWrites(config, [["c", 1]], "task"),
          () => lease.renew(),
        ]) {
          const error = await failure(late());
          expect([error.code, reasonOf(error)]).toEqual([Code.FailedPrecondition, "LEASE_LOST"]);
        }
        expect(lease.lost.aborted).toBe(true);
        expect(await valuesOf(newSaver(), ofThread("t"))).toEqual({ v: 3 });
        // It stays refused until it holds the thread again.
        expect(reasonOf(await failure(put(paused, { v: 5 }, { version: 3 })))).toBe("LEASE_LOST");
        await taken.release();
        await using again = await paused.acquireLease("t");
        await put(paused, { v: 6 }, { version: 3 });
        expect(again.fencingToken).toBeGreaterThan(taken.fencingToken);
      });
    });

    describe("damaged bytes", () => {
      test("of segments are DATA_LOSS that names the checkpoint, and the rest is readable", async () => {
        const saver = newSaver();
        const small = await put(saver, { v: "small" });
        const large = await put(saver, { v: text(5000) }, { parent: small, version: 2 });
        const last = await put(saver, { v: "small again" }, { parent: large, version: 3 });
        await backend.damageContents();
        await server.stop();
        server = await serveCheckpoints(backend.store, { clock });
        const id = large.configurable?.checkpoint_id as string;
        const error = await failure(newSaver().getTuple(large));
        expect([error.code, reasonOf(error)]).toEqual([Code.DataLoss, "CHECKPOINT_DAMAGED"]);
        expect(error.rawMessage).toContain(id);
        expect(await valuesOf(newSaver(), small)).toEqual({ v: "small" });
        expect(await valuesOf(newSaver(), last)).toEqual({ v: "small again" });
        const seen: string[] = [];
        const listing = (async () => {
          for await (const { checkpoint } of newSaver().list(ofThread("t"))) seen.push(checkpoint.id);
        })();
        const end = await failure(listing);
        expect([end.code, end.rawMessage.includes(id)]).toEqual([Code.DataLoss, true]);
        expect(seen).toEqual([last, small].map(({ configurable }) => configurable?.checkpoint_id));
      });

      test("of a checkpoint are DATA_LOSS that names it", async () => {
        const saver = newSaver();
        const first = await put(saver, { v: 1 });
        const second = await put(saver, { v: 2 }, { parent: first, version: 2 });
        const id = second.configurable?.checkpoint_id as string;
        await backend.damageCheckpoint("t", id);
        const error = await failure(newSaver().getTuple(ofThread("t")));
        expect([error.code, error.rawMessage.includes(id)]).toEqual([Code.DataLoss, true]);
        expect(await valuesOf(newSaver(), first)).toEqual({ v: 1 });
      });
    });
  });
}
