import { create } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";
import { CacheService, LookupState, PutState, StreamGetRequestSchema, type WatchInvalidationsResponse } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { BadRequestSchema } from "../../gen/google/rpc/error_details_pb.js";
import { systemClock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import { failureOf } from "../../tests/failure-of.js";
import { startCacheService } from "./service.js";

async function start(env: NodeJS.ProcessEnv = {}) {
  const service = await startCacheService(
    { RAGENTS_CACHE_PORT: "0", ...env },
    { logger: silentLogger, metrics: createMetrics(), clock: systemClock },
  );
  const transport = createGrpcTransport({ address: service.address, services: [CacheService] });
  onTestFinished(async () => {
    transport.close();
    await service.stop(1_000);
  });
  return { service, client: createClient(CacheService, transport) };
}

const hash = (byte: number) => new Uint8Array(32).fill(byte);
const kind = CacheKind.RETRIEVAL;
const scope = { collection: "docs", epoch: "1", model: "m", parametersHash: hash(0) };

describe("the cache service", () => {
  test("stores and finds entries, in the order in which they were asked for", async () => {
    const { client } = await start();
    const items = [1, 2].map((byte) => ({ textHash: hash(byte), value: Uint8Array.of(byte) }));
    const { states } = await client.batchPut({ groups: [{ kind, scope, items }] });
    expect(states).toEqual([PutState.STORED, PutState.STORED]);
    const { lookups } = await client.batchGet({
      groups: [
        { kind, scope, textHashes: [hash(2), hash(9), hash(1)] },
        { kind: CacheKind.ANSWER, scope, textHashes: [hash(1)] },
      ],
    });
    expect(lookups?.states).toEqual([LookupState.HIT, LookupState.MISS, LookupState.HIT, LookupState.MISS]);
    expect(lookups?.values.map(([byte]) => byte)).toEqual([2, 1]);
    expect(lookups?.ttlsMs.every((ttlMs) => ttlMs > 3_500_000 && ttlMs <= 3_600_000)).toBe(true);
  });

  test("gives each kind its own time to live, and each value its writer's", async () => {
    const { client } = await start({ RAGENTS_CACHE_RETRIEVAL_TTL_S: "7" });
    const kinds = [CacheKind.EMBEDDING, kind, CacheKind.QUERY_REWRITE, CacheKind.ANSWER];
    const value = Uint8Array.of(1);
    await client.batchPut({ groups: kinds.map((one) => ({ kind: one, scope, items: [{ textHash: hash(1), value }] })) });
    await client.batchPut({ groups: [{ kind, scope, items: [{ textHash: hash(2), value, ttl: { seconds: 90n } }] }] });
    const { lookups } = await client.batchGet({
      groups: [...kinds.map((one) => ({ kind: one, scope, textHashes: [hash(1)] })), { kind, scope, textHashes: [hash(2)] }],
    });
    const seconds = lookups?.ttlsMs.map((ttlMs) => Math.round(ttlMs / 1_000));
    expect(seconds).toEqual([24 * 3_600, 7, 2 * 3_600, 3_600, 90]);
  });

  test("compresses large texts and gives them back as they were", async () => {
    const { client } = await start();
    const value = new TextEncoder().encode(JSON.stringify(Array.from({ length: 1_000 }, (_, i) => ({ chunk: `chunk ${i}` }))));
    const items = [{ textHash: hash(1), value }];
    await client.batchPut({ groups: [kind, CacheKind.EMBEDDING].map((one) => ({ kind: one, scope, items })) });
    const { lookups } = await client.batchGet({ groups: [{ kind, scope, textHashes: [hash(1)] }] });
    expect(Buffer.compare(lookups!.values[0]!, value)).toBe(0);
    const { byKind } = await client.getStats({});
    expect(Number(byKind["retrieval"]!.bytes)).toBeLessThan(value.length / 2);
    expect(Number(byKind["embedding"]!.bytes)).toBeGreaterThan(value.length);
  });

  test("defers values that one response has no room for", async () => {
    const { client } = await start();
    const value = new Uint8Array(1024 * 1024).fill(1);
    const hashes = [1, 2, 3, 4, 5].map(hash);
    for (const textHash of hashes) await client.batchPut({ groups: [{ kind, scope, items: [{ textHash, value }] }] });
    const { lookups } = await client.batchGet({ groups: [{ kind, scope, textHashes: hashes }] });
    const { HIT, DEFERRED } = LookupState;
    expect(lookups?.states).toEqual([HIT, HIT, HIT, DEFERRED, DEFERRED]);
    expect(lookups?.values).toHaveLength(3);
    expect(await client.getStats({})).toMatchObject({ hits: 3n, misses: 0n });
  });

  test("counts requests by kind, and clears only what is named", async () => {
    const { client } = await start();
    const items = [{ textHash: hash(1), value: Uint8Array.of(1, 2, 3) }];
    await client.batchPut({ groups: [kind, CacheKind.ANSWER].map((one) => ({ kind: one, scope, items })) });
    await client.batchGet({ groups: [{ kind, scope, textHashes: [hash(1), hash(1), hash(1), hash(2)] }] });
    await client.reportLocalHits({ hits: [{ kind: CacheKind.ANSWER, count: 4n }] });
    const stats = await client.getStats({});
    expect(stats).toMatchObject({ hits: 7n, misses: 1n, requests: 8n, hitRate: 7 / 8, localHits: 4n, entries: 2n });
    expect(Object.keys(stats.byKind)).toEqual(["embedding", "retrieval", "query_rewrite", "answer"]);
    expect(stats.byKind["retrieval"]).toMatchObject({ hits: 3n, misses: 1n, hitRate: 0.75, entries: 1n });
    expect(stats.byKind["answer"]).toMatchObject({ hits: 4n, localHits: 4n, entries: 1n });
    expect(await client.clear({ kinds: [CacheKind.EMBEDDING] })).toMatchObject({ removed: 0n });
    expect(await client.invalidate({ selector: { collection: "docs", kinds: [kind] } })).toMatchObject({ removed: 1n });
    expect(await client.getStats({})).toMatchObject({ entries: 1n, requests: 8n });
    expect(await client.clear({})).toMatchObject({ removed: 1n });
    expect(await client.getStats({})).toMatchObject({ entries: 0n, bytes: 0n });
  });

  test("gives the lease on a missing value to one caller, and refuses to extend a lost one", async () => {
    const { client } = await start();
    const ask = () => client.batchGet({ groups: [{ kind, scope, textHashes: [hash(1)], takeLeases: true }] });
    const [first, second] = [await ask(), await ask()];
    expect([first.lookups?.states, second.lookups?.states]).toEqual([[LookupState.LEASED], [LookupState.FILLING]]);
    expect([first.lookups?.leaseTokens.length, second.lookups?.leaseTokens.length]).toEqual([1, 0]);
    expect(first.lookups?.leaseTtl).toMatchObject({ seconds: 5n });
    const lease = { kind, scope, textHash: hash(1), leaseToken: first.lookups!.leaseTokens[0]! };
    expect((await client.extendLease(lease)).leaseTtl).toMatchObject({ seconds: 5n });
    await client.invalidate({ selector: { collection: "docs" } });
    const error = await failureOf(client.extendLease(lease));
    expect([error.code, reasonOf(error)]).toEqual([Code.FailedPrecondition, "CACHE_LEASE_LOST"]);
    const items = [{ textHash: hash(1), value: Uint8Array.of(1), leaseToken: lease.leaseToken }];
    expect((await client.batchPut({ groups: [{ kind, scope, items }] })).states).toEqual([PutState.LEASE_LOST]);
    await client.releaseLease(lease);
  });

  test("answers lookups on a stream, in the order in which they were sent", async () => {
    const { client } = await start();
    const bytes = Array.from({ length: 40 }, (_, i) => i);
    const items = bytes.map((byte) => ({ textHash: hash(byte), value: Uint8Array.of(byte) }));
    await client.batchPut({ groups: [{ kind, scope, items }] });
    async function* requests() {
      for (const byte of bytes) yield create(StreamGetRequestSchema, { groups: [{ kind, scope, textHashes: [hash(byte)] }] });
    }
    const got: (number | undefined)[] = [];
    for await (const { lookups } of client.streamGet(requests())) got.push(lookups?.values[0]?.[0]);
    expect(got).toEqual(bytes);
  });

  test("ends a stream of lookups at a request that breaks a limit", async () => {
    const { client } = await start();
    async function* requests() {
      yield create(StreamGetRequestSchema, { groups: [{ kind, scope, textHashes: [hash(1)] }] });
      yield create(StreamGetRequestSchema, { groups: [{ kind, scope, textHashes: [] }] });
    }
    const answers = client.streamGet(requests())[Symbol.asyncIterator]();
    expect((await answers.next()).value?.lookups?.states).toEqual([LookupState.MISS]);
    expect((await failureOf(answers.next())).code).toBe(Code.InvalidArgument);
  });

  test("tells watchers what changes, at once and first that it is alive", async () => {
    const { client } = await start();
    const stop = new AbortController();
    const events = client.watchInvalidations({}, { signal: stop.signal })[Symbol.asyncIterator]();
    const next = async (): Promise<WatchInvalidationsResponse["event"] | undefined> => (await events.next()).value?.event;
    expect((await next())?.case).toBe("heartbeat");
    await client.invalidate({ selector: { model: "m" } });
    expect(await next()).toMatchObject({ case: "invalidated", value: { model: "m", kinds: [] } });
    const put = (byte: number) =>
      client.batchPut({ groups: [{ kind, scope, items: [{ textHash: hash(1), value: Uint8Array.of(byte) }] }] });
    await put(1);
    await put(2);
    const replaced = await next();
    if (replaced?.case !== "replaced") expect.fail(`told ${replaced?.case}`);
    expect(replaced.value).toMatchObject({ kind, scope: { collection: "docs" } });
    expect(replaced.value.textHashes.map((bytes) => [...bytes])).toEqual([[...hash(1)]]);
    stop.abort();
    await expect(events.next()).rejects.toThrow();
  });

  test("ends its streams and stops at once while callers watch and look up", async () => {
    const { client, service } = await start();
    const events = client.watchInvalidations({})[Symbol.asyncIterator]();
    await events.next();
    const ended = failureOf(events.next());
    async function* requests() {
      yield create(StreamGetRequestSchema, { groups: [{ kind, scope, textHashes: [hash(1)] }] });
      await new Promise(() => {});
    }
    const answers = client.streamGet(requests())[Symbol.asyncIterator]();
    expect((await answers.next()).value?.lookups?.states).toEqual([LookupState.MISS]);
    const answered = answers.next();
    await service.stop(20_000);
    expect((await ended).code).toBe(Code.Unavailable);
    expect((await answered).done).toBe(true);
  });
});

describe("the cache service refuses", () => {
  const item = { textHash: hash(1), value: Uint8Array.of(1) };
  const lookup = (change: object) => ({ groups: [{ kind, scope, textHashes: [hash(1)], ...change }] });
  const put = (change: object) => ({ groups: [{ kind, scope, items: [{ ...item, ...change }] }] });

  test.each([
    { what: "a lookup of nothing", rpc: "batchGet", request: { groups: [] }, field: "groups" },
    { what: "an unknown kind", rpc: "batchGet", request: lookup({ kind: 99 }), field: "groups[0].kind" },
    { what: "no kind", rpc: "batchGet", request: lookup({ kind: 0 }), field: "groups[0].kind" },
    { what: "no scope", rpc: "batchGet", request: lookup({ scope: undefined }), field: "groups[0].scope" },
    {
      what: "an empty collection",
      rpc: "batchGet",
      request: lookup({ scope: { ...scope, collection: "" } }),
      field: "groups[0].scope.collection",
    },
    { what: "an empty epoch", rpc: "batchPut", request: { groups: [{ kind, scope: { ...scope, epoch: "" }, items: [item] }] }, field: "groups[0].scope.epoch" },
    { what: "an empty model", rpc: "batchGet", request: lookup({ scope: { ...scope, model: "" } }), field: "groups[0].scope.model" },
    {
      what: "a scope without a parameters hash",
      rpc: "batchGet",
      request: lookup({ scope: { ...scope, parametersHash: new Uint8Array() } }),
      field: "groups[0].scope.parameters_hash",
    },
    {
      what: "an oversized collection",
      rpc: "batchGet",
      request: lookup({ scope: { ...scope, collection: "x".repeat(129) } }),
      field: "groups[0].scope.collection",
    },
    { what: "an oversized hash", rpc: "batchGet", request: lookup({ textHashes: [new Uint8Array(33)] }), field: "groups[0].text_hashes[0]" },
    { what: "too many hashes", rpc: "batchGet", request: lookup({ textHashes: Array.from({ length: 513 }, () => hash(1)) }), field: "groups[0].text_hashes" },
    { what: "texts that do not match the hashes", rpc: "batchGet", request: lookup({ texts: ["a", "b"] }), field: "groups[0]" },
    { what: "an oversized text", rpc: "batchGet", request: lookup({ texts: ["x".repeat(4_097)] }), field: "groups[0].texts[0]" },
    { what: "an oversized value", rpc: "batchPut", request: put({ value: new Uint8Array(1024 * 1024 + 1) }), field: "groups[0].items[0].value" },
    { what: "a value that never lives", rpc: "batchPut", request: put({ ttl: { seconds: 0n } }), field: "groups[0].items[0].ttl" },
    { what: "a negative time to live", rpc: "batchPut", request: put({ ttl: { seconds: -1n } }), field: "groups[0].items[0].ttl" },
    { what: "a value that lives too long", rpc: "batchPut", request: put({ ttl: { seconds: 2_592_001n } }), field: "groups[0].items[0].ttl" },
    { what: "no lease to extend", rpc: "extendLease", request: { kind, scope, textHash: hash(1) }, field: "lease_token" },
    { what: "an invalidation of nothing in particular", rpc: "invalidate", request: { selector: {} }, field: "selector" },
    { what: "an invalidation without a selector", rpc: "invalidate", request: {}, field: "selector" },
    { what: "an invalidation of an empty collection", rpc: "invalidate", request: { selector: { collection: "" } }, field: "selector.collection" },
    { what: "to clear an unknown kind", rpc: "clear", request: { kinds: [7] }, field: "kinds[0]" },
    { what: "negative counts", rpc: "reportLocalHits", request: { hits: [{ kind, count: -1n }] }, field: "hits[0].count" },
  ] as const)("$what, naming $field", async ({ rpc, request, field }) => {
    const { client } = await start();
    const error = await failureOf((client[rpc] as (request: unknown) => Promise<unknown>)(request));
    expect([error.code, reasonOf(error)]).toEqual([Code.InvalidArgument, "INVALID_FIELD"]);
    expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations.map((violation) => violation.field)).toEqual([field]);
  });

  test("a message above the size of any request", async () => {
    const { client } = await start();
    const items = [1, 2, 3, 4, 5].map((byte) => ({ textHash: hash(byte), value: new Uint8Array(1024 * 1024) }));
    expect((await failureOf(client.batchPut({ groups: [{ kind, scope, items }] }))).code).toBe(Code.ResourceExhausted);
  });

  test("a configuration that is wrong, naming every variable", async () => {
    const env = { RAGENTS_CACHE_URL: "http://cache", RAGENTS_CACHE_MAX_BYTES: "-1", RAGENTS_CACHE_ANSWER_TTL_S: "soon" };
    const started = startCacheService(env, { logger: silentLogger, metrics: createMetrics(), clock: systemClock });
    await expect(started).rejects.toThrow(/RAGENTS_CACHE_URL[^]*RAGENTS_CACHE_MAX_BYTES[^]*RAGENTS_CACHE_ANSWER_TTL_S/);
  });
});
