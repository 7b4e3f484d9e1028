import { createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { CacheKind as Kind } from "../../gen/ragents/cache/v1/cache_pb.js";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { backgroundCall, runInCall } from "../../runtime/call-context.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { createMetrics } from "../../runtime/metrics.js";
import { ManualClock } from "../../tests/manual-clock.js";
import { startTestCache, type TestCacheService } from "../../tests/servers/cache-service.js";
import { resolveScope, sha256 } from "./cache-key.js";
import { type CacheClient, type CacheClientOptions, type CacheScope, createCacheClient } from "./index.js";

const scope: CacheScope = { collection: "docs", epoch: 1n, model: "m", parameters: '{"top_k":5}' };
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined) => (value === undefined ? undefined : Buffer.from(value).toString());
/** A busy machine may take its time. */
const POLL = { timeout: 20_000 };
const never = () => new Promise<never>(() => {});

function connect(service: Pick<TestCacheService, "address">, options: CacheClientOptions = {}): CacheClient {
  // Patient unless a test is about patience: a busy machine must not look like a silent service.
  const client = createCacheClient({ address: service.address, patienceMs: 10_000, ...options });
  onTestFinished(() => client.close());
  return client;
}

/** Lets time pass in steps of `ms` until `work` is done. */
async function passingUntil<T>(clock: ManualClock, ms: number, work: Promise<T>): Promise<T> {
  let done = false;
  const finish = () => (done = true);
  work.then(finish, finish);
  while (!done) {
    await clock.advance(ms);
    // What is under way over the network has its turn too.
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return work;
}

/** What other programs do, without our client. */
function callerOf(service: TestCacheService) {
  const transport = createGrpcTransport({ address: service.address, services: [CacheService] });
  onTestFinished(() => transport.close());
  return createClient(CacheService, transport);
}

describe("a cache client", () => {
  test("finds what it and others put, under the same kind and scope only", async () => {
    const service = await startTestCache();
    const [client, other] = [connect(service), connect(service)];
    await client.put("ANSWER", scope, "q", bytes("answer"));
    expect(text(await client.get("ANSWER", scope, "q"))).toBe("answer");
    expect(text(await other.get("ANSWER", { ...scope, epoch: "1" }, "q"))).toBe("answer");
    const others = [{ epoch: 2 }, { collection: "doc" }, { model: "m2" }, { parameters: '{"top_k":6}' }, { collection: "docs1", epoch: "" }];
    for (const change of others) expect(await client.get("ANSWER", { ...scope, ...change }, "q")).toBeUndefined();
    expect(await client.get("RETRIEVAL", scope, "q")).toBeUndefined();
    expect(await client.get("ANSWER", scope, "p")).toBeUndefined();
  });

  test("sends what is looked up in one turn together, and answers each with its own", async () => {
    const service = await startTestCache();
    const client = connect(service);
    const names = Array.from({ length: 100 }, (_, i) => `text ${i}`);
    await Promise.all(names.map((name) => client.put("EMBEDDING", scope, name, bytes(name))));
    expect(service.calls["batchPut"]).toBe(1);
    const scopes = names.map((_, i) => (i % 3 === 0 ? { ...scope, epoch: 2 } : scope));
    const found = await Promise.all(names.map((name, i) => client.get("EMBEDDING", scopes[i]!, name)));
    expect(found.map(text)).toEqual(names.map((name, i) => (i % 3 === 0 ? undefined : name)));
    expect(service.calls["streamGet"]).toBeLessThanOrEqual(4);
  });

  test("asks again for values that one response has no room for", async () => {
    const service = await startTestCache();
    const client = connect(service);
    const names = Array.from({ length: 10 }, (_, i) => `large ${i}`);
    await Promise.all(names.map((name) => client.put("RETRIEVAL", scope, name, Buffer.alloc(1024 * 1024, name))));
    const found = await Promise.all(names.map((name) => client.get("RETRIEVAL", scope, name)));
    names.forEach((name, i) => expect(Buffer.compare(found[i]!, Buffer.alloc(1024 * 1024, name))).toBe(0));
  });

  test("lets values live as long as their writer says", async () => {
    const service = await startTestCache();
    const client = connect(service);
    await client.put("ANSWER", scope, "q", bytes("v"), { ttlMs: 90_000 });
    const { kind, message } = resolveScope("ANSWER", scope)!;
    const { lookups } = await callerOf(service).batchGet({ groups: [{ kind, scope: message, textHashes: [sha256("q")] }] });
    expect(lookups?.ttlsMs[0]).toBeGreaterThan(80_000);
    expect(lookups?.ttlsMs[0]).toBeLessThanOrEqual(90_000);
  });

  test.each([
    { what: "an empty collection", change: { collection: "" } },
    { what: "an empty epoch", change: { epoch: "" } },
    { what: "an empty model", change: { model: "" } },
    { what: "an oversized collection", change: { collection: "x".repeat(129) } },
    { what: "an oversized model", change: { model: "é".repeat(65) } },
  ])("with $what misses without asking, and computes", async ({ change }) => {
    const service = await startTestCache();
    const client = connect(service);
    const bad = { ...scope, ...change };
    await client.put("ANSWER", bad, "q", bytes("v"));
    expect(await client.get("ANSWER", bad, "q")).toBeUndefined();
    expect(await client.getOrCompute("ANSWER", bad, "q", async () => bytes("v"))).toMatchObject({ cached: false });
    expect(await client.get("ANSWER", scope, "q")).toBeUndefined();
    expect(service.calls).toMatchObject({ streamGet: 1 });
    expect(service.calls["batchPut"]).toBeUndefined();
  });

  test("does not send a value that its maker does not want stored, and lets others make it", async () => {
    const service = await startTestCache();
    const [client, other] = [connect(service), connect(service)];
    const mayStore = (value: Uint8Array) => Buffer.from(value).toString() !== "poor";
    expect(await client.getOrCompute("ANSWER", scope, "q", async () => bytes("poor"), { mayStore })).toMatchObject({ cached: false });
    expect(await other.getOrCompute("ANSWER", scope, "q", async () => bytes("good"), { mayStore })).toMatchObject({ cached: false });
    expect(await client.getOrCompute("ANSWER", scope, "q", async () => bytes("never"), { mayStore })).toMatchObject({ cached: true });
  });

  test("does not send a value above the service's limit, and lets others make it", async () => {
    const service = await startTestCache();
    const [client, other] = [connect(service), connect(service)];
    const large = async () => new Uint8Array(1024 * 1024 + 1);
    expect(await client.getOrCompute("ANSWER", scope, "q", large)).toMatchObject({ cached: false });
    expect(await other.getOrCompute("ANSWER", scope, "q", large)).toMatchObject({ cached: false });
    expect(service.calls["batchPut"]).toBeUndefined();
  });
});

describe("getOrCompute", () => {
  test("computes once for all callers of a process and of others, and says who computed", async () => {
    const service = await startTestCache();
    const clients = [connect(service), connect(service)];
    let computed = 0;
    let release = () => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    const compute = async () => {
      computed += 1;
      await gate;
      return bytes("made");
    };
    const asked = Array.from({ length: 40 }, (_, i) => clients[i % 2]!.getOrCompute("ANSWER", scope, "q", compute));
    await expect.poll(() => computed, POLL).toBe(1);
    release();
    const filled = await Promise.all(asked);
    expect(filled.map(({ value }) => text(value))).toEqual(asked.map(() => "made"));
    expect(filled.filter(({ cached }) => !cached)).toHaveLength(1);
    expect(computed).toBe(1);
    const { hits, misses, requests } = await callerOf(service).getStats({});
    expect(misses).toBe(1n);
    expect(requests).toBe(hits + misses);
  });

  test("rejects with its own failure only, and the next caller computes at once", async () => {
    const service = await startTestCache();
    const [client, other] = [connect(service), connect(service)];
    let fail: ((error: Error) => void) | undefined;
    const failing = client.getOrCompute("ANSWER", scope, "q", () => new Promise((_, reject) => (fail = reject)));
    await expect.poll(() => fail, POLL).toBeDefined();
    const joined = client.getOrCompute("ANSWER", scope, "q", async () => bytes("second"));
    const elsewhere = other.getOrCompute("ANSWER", scope, "q", async () => bytes("third"));
    await expect.poll(() => service.calls["streamGet"], POLL).toBeGreaterThanOrEqual(2);
    fail!(new Error("the model is away"));
    await expect(failing).rejects.toThrow("the model is away");
    const values = [text((await joined).value), text((await elsewhere).value)];
    expect(values[0]).toBe(values[1]);
    expect(["second", "third"]).toContain(values[0]);
  });

  test("replaces a holder that died", async () => {
    const clock = new ManualClock();
    const service = await startTestCache({ clock });
    const { kind, message } = resolveScope("ANSWER", scope)!;
    const lookup = { kind, scope: message, textHashes: [sha256("q")], takeLeases: true };
    await callerOf(service).batchGet({ groups: [lookup] });
    const filled = connect(service, { clock }).getOrCompute("ANSWER", scope, "q", async () => bytes("made"));
    expect(text((await passingUntil(clock, 100, filled)).value)).toBe("made");
    expect(clock.monotonic()).toBeGreaterThanOrEqual(5_000);
    expect(text(await connect(service).get("ANSWER", scope, "q"))).toBe("made");
  });

  test("does not wait for another process for longer than it may", async () => {
    const service = await startTestCache();
    const held = connect(service).getOrCompute("ANSWER", scope, "q", never);
    held.catch(() => {});
    await expect.poll(() => service.calls["streamGet"], POLL).toBe(1);
    const filled = await connect(service, { maxWaitMs: 50 }).getOrCompute("ANSWER", scope, "q", async () => bytes("own"));
    expect(filled).toEqual({ value: bytes("own"), cached: false });
  });

  test("gives its value to its caller, not to others, when the scope was invalidated meanwhile", async () => {
    const service = await startTestCache();
    const client = connect(service);
    const filled = await client.getOrCompute("ANSWER", scope, "q", async () => {
      await callerOf(service).invalidate({ selector: { collection: "docs" } });
      return bytes("of the old world");
    });
    expect(text(filled.value)).toBe("of the old world");
    expect(await client.get("ANSWER", scope, "q")).toBeUndefined();
  });
});

describe("a cache that fails", () => {
  test("is a miss when nobody listens, and getOrCompute computes", async () => {
    const metrics = createMetrics();
    const client = connect({ address: "127.0.0.1:1" }, { metrics, patienceMs: 200 });
    expect(await client.get("ANSWER", scope, "q")).toBeUndefined();
    await client.put("ANSWER", scope, "q", bytes("v"));
    expect(await client.getOrCompute("ANSWER", scope, "q", async () => bytes("v"))).toEqual({ value: bytes("v"), cached: false });
    expect(await metrics.registry.metrics()).toMatch(/ragents_cache_client_lookups_total\{result="fault"\} [1-9]/);
  });

  test("is a miss when it is silent, and is soon not asked any more", async () => {
    const service = await startTestCache({ change: () => ({ streamGet: never as never }) });
    const metrics = createMetrics();
    const client = connect(service, { patienceMs: 50, metrics });
    for (let i = 0; i < 8; i += 1) expect(await client.get("ANSWER", scope, `q${i}`)).toBeUndefined();
    const shown = await metrics.registry.metrics();
    expect(shown).toContain('ragents_cache_client_lookups_total{result="fault"} 5');
    expect(shown).toContain('ragents_cache_client_lookups_total{result="skipped"} 3');
  });

  test("is asked again when it is back", async () => {
    let silent = true;
    const service = await startTestCache({
      change: (handlers) => ({ streamGet: (...call) => (silent ? never() : handlers.streamGet(...call)) as never }),
    });
    const client = connect(service, { patienceMs: 50 });
    await client.put("ANSWER", scope, "q", bytes("v"));
    for (let i = 0; i < 6; i += 1) await client.get("ANSWER", scope, "q");
    silent = false;
    await expect.poll(async () => text(await client.get("ANSWER", scope, "q")), POLL).toBe("v");
  });

  test("gives back a lease that came too late", async () => {
    let answer = () => {};
    const gate = new Promise<void>((resolve) => (answer = resolve));
    const service = await startTestCache({
      change: (handlers) => ({
        async *streamGet(requests, context) {
          for await (const found of handlers.streamGet(requests, context)) {
            await gate;
            yield found;
          }
        },
      }),
    });
    const client = connect(service, { patienceMs: 50 });
    expect(await client.getOrCompute("ANSWER", scope, "q", async () => bytes("own"))).toMatchObject({ cached: false });
    answer();
    await expect.poll(() => service.calls["releaseLease"], POLL).toBe(1);
  });

  test("does not hold a put up", async () => {
    const service = await startTestCache({ change: () => ({ batchPut: never as never }) });
    await connect(service, { patienceMs: 50 }).put("ANSWER", scope, "q", bytes("v"));
    expect(service.calls["batchPut"]).toBe(1);
  });
});

describe("the memory of a caller", () => {
  /** A client whose next lookup of "q" is answered by its own memory. */
  async function warm(service: TestCacheService, options: CacheClientOptions = {}): Promise<CacheClient> {
    const client = connect(service, options);
    await client.put("ANSWER", scope, "q", bytes("old"));
    const before = () => service.calls["streamGet"] ?? 0;
    await expect
      .poll(async () => {
        const asked = before();
        expect(text(await client.get("ANSWER", scope, "q"))).toBe("old");
        return before() - asked;
      }, POLL)
      .toBe(0);
    return client;
  }

  test("answers without the service, and tells it of the hits", async () => {
    const service = await startTestCache();
    const client = await warm(service);
    const asked = service.calls["streamGet"];
    for (let i = 0; i < 100; i += 1) expect(text(await client.get("ANSWER", scope, "q"))).toBe("old");
    expect(await client.getOrCompute("ANSWER", scope, "q", never)).toMatchObject({ cached: true });
    expect(service.calls["streamGet"]).toBe(asked);
    const localHits = async () => (await callerOf(service).getStats({})).byKind["answer"]!.localHits;
    await expect.poll(localHits, POLL).toBeGreaterThanOrEqual(101n);
  });

  test.each([
    { what: "invalidates its scope", act: (other: ReturnType<typeof callerOf>) => other.invalidate({ selector: { collection: "docs" } }) },
    { what: "invalidates its kind", act: (other: ReturnType<typeof callerOf>) => other.invalidate({ selector: { kinds: [Kind.ANSWER] } }) },
    { what: "clears", act: (other: ReturnType<typeof callerOf>) => other.clear({}) },
  ])("forgets a value when another caller $what", async ({ act }) => {
    const service = await startTestCache();
    const client = await warm(service);
    await act(callerOf(service));
    await expect.poll(() => client.get("ANSWER", scope, "q"), POLL).toBeUndefined();
  });

  test("keeps a value when another caller invalidates something else", async () => {
    const service = await startTestCache();
    const client = await warm(service);
    await callerOf(service).invalidate({ selector: { collection: "other" } });
    await callerOf(service).invalidate({ selector: { kinds: [Kind.EMBEDDING] } });
    const watcher = await warm(service);
    await callerOf(service).invalidate({ selector: { collection: "other" } });
    const asked = service.calls["streamGet"];
    expect(text(await client.get("ANSWER", scope, "q"))).toBe("old");
    expect(text(await watcher.get("ANSWER", scope, "q"))).toBe("old");
    expect(service.calls["streamGet"]).toBe(asked);
  });

  test("forgets a value when another caller replaces it", async () => {
    const service = await startTestCache();
    const client = await warm(service);
    await connect(service).put("ANSWER", scope, "q", bytes("new"));
    await expect.poll(async () => text(await client.get("ANSWER", scope, "q")), POLL).toBe("new");
  });

  test("shows its own writes at once", async () => {
    const service = await startTestCache();
    const client = await warm(service);
    await client.put("ANSWER", scope, "q", bytes("new"));
    expect(text(await client.get("ANSWER", scope, "q"))).toBe("new");
  });

  test("does not keep a value that was replaced while it was on its way", async () => {
    let hold: Promise<void> | undefined;
    const service = await startTestCache({
      change: (handlers) => ({
        async *streamGet(requests, context) {
          for await (const answer of handlers.streamGet(requests, context)) {
            await hold;
            yield answer;
          }
        },
      }),
    });
    const client = await warm(service);
    // Something else of the scope is in the memory, so that the arrival of the change can be seen.
    await client.put("ANSWER", scope, "r", bytes("r"));
    await client.get("ANSWER", scope, "r");
    let release = () => {};
    hold = new Promise((resolve) => (release = resolve));
    await client.put("ANSWER", scope, "s", bytes("old"));
    const asked = service.calls["streamGet"]!;
    const late = client.get("ANSWER", scope, "s");
    await expect.poll(() => service.calls["streamGet"], POLL).toBe(asked + 1);
    await callerOf(service).invalidate({ selector: { collection: "docs" } });
    // The memory has heard of it when "q", which it held, is asked for at the service.
    await expect
      .poll(() => {
        void client.get("ANSWER", scope, "q");
        return new Promise((resolve) => setImmediate(() => setImmediate(() => resolve(service.calls["streamGet"]))));
      }, POLL)
      .toBeGreaterThan(asked + 1);
    release();
    expect(text(await late)).toBe("old");
    expect(await client.get("ANSWER", scope, "s")).toBeUndefined();
  });

  test("is empty after the connection was lost: something may have been missed", async () => {
    const service = await startTestCache();
    const client = await warm(service);
    await service.stop();
    await expect.poll(() => client.get("ANSWER", scope, "q"), POLL).toBeUndefined();
    const again = await startTestCache({ port: Number(service.address.split(":")[1]) });
    const writer = connect(again);
    // Clients of one process share the connection, and with it the wait before it is tried again.
    const putAndGet = async () => {
      await writer.put("ANSWER", scope, "q", bytes("new"));
      return text(await client.get("ANSWER", scope, "q"));
    };
    await expect.poll(putAndGet, POLL).toBe("new");
  });

  test("is each tenant's own", async () => {
    const service = await startTestCache();
    const client = connect(service);
    const as = <T>(tenant: string, fn: () => T) => runInCall(backgroundCall({ tenant }, "test", new AbortController().signal), fn);
    const asked = () => service.calls["streamGet"] ?? 0;
    await as("a", () => client.put("ANSWER", scope, "q", bytes("v")));
    await expect
      .poll(async () => {
        const before = asked();
        await as("a", () => client.get("ANSWER", scope, "q"));
        return asked() - before;
      }, POLL)
      .toBe(0);
    const before = asked();
    await as("b", () => client.get("ANSWER", scope, "q"));
    expect(asked()).toBe(before + 1);
  });

  test("holds no more bytes than it may, and drops what was not used", async () => {
    const service = await startTestCache();
    const client = await warm(service, { localBytes: 20_000 });
    for (let i = 0; i < 20; i += 1) {
      await client.put("ANSWER", scope, `t${i}`, new Uint8Array(4_000));
      await client.get("ANSWER", scope, `t${i}`);
      await client.get("ANSWER", scope, "q");
    }
    const asked = service.calls["streamGet"]!;
    await client.get("ANSWER", scope, "q");
    expect(service.calls["streamGet"]).toBe(asked);
    await client.get("ANSWER", scope, "t0");
    expect(service.calls["streamGet"]).toBe(asked + 1);
  });

  test("can be done without", async () => {
    const service = await startTestCache();
    const client = connect(service, { localBytes: 0 });
    await client.put("ANSWER", scope, "q", bytes("v"));
    for (let i = 0; i < 3; i += 1) expect(text(await client.get("ANSWER", scope, "q"))).toBe("v");
    expect(service.calls["streamGet"]).toBe(3);
    expect(service.calls["watchInvalidations"]).toBeUndefined();
  });
});
