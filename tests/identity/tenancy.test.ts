import { hash } from "node:crypto";
import { type DescMessage, type DescMethod, type DescService, type Message, toJson } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GrpcCheckpointSaver } from "../../clients/checkpoint/index.js";
import { AgentService } from "../../gen/ragents/agent/v1/agent_service_pb.js";
import { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { CheckpointService } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { IdentityService } from "../../gen/ragents/gateway/v1/identity_service_pb.js";
import { JobState } from "../../gen/ragents/rag/v1/rag_pb.js";
import { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { QueueService } from "../../gen/ragents/ratelimit/v1/queue_service_pb.js";
import { RateLimitService } from "../../gen/ragents/ratelimit/v1/rate_limit_service_pb.js";
import { channelSecurity } from "../../runtime/channel-security.js";
import { reasonOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { startTestMesh, type TestMesh } from "../support/mesh.js";
import { allServices } from "../support/services.js";

const ADMIN_KEY = "the-operator-s-key-of-this-test-mesh-only";
const SECRET_TEXT = "The vault opens with the number 4711.";
const QUESTION = "With which number does the vault open?";
const TASK = { checkpointNs: "", taskId: "task", taskPath: "", writes: [] };

/** Names of what a tenant has. */
interface Ids {
  collection: string;
  document: string;
  job: string;
  thread: string;
  trace: string;
  saverThread: string;
  checkpoint: string;
  segment: Uint8Array;
  textHash: Uint8Array;
  parametersHash: Uint8Array;
  limitKey: string;
  reservation: string;
  queueItem: string;
  apiKey: string;
  fencingToken: bigint;
}

const scopeOf = (ids: Ids) => ({ collection: ids.collection, epoch: "1", model: "m", parametersHash: ids.parametersHash });
const groupOf = (ids: Ids) => ({ kind: CacheKind.ANSWER, scope: scopeOf(ids) });
const leaseOf = (ids: Ids) => ({ ...groupOf(ids), textHash: ids.textHash, leaseToken: "0123456789abcdef" });
const channel = (ids: Ids) => ({ channel: "c", version: "1", value: { encoding: "json", segments: ids.segment, tail: new Uint8Array() } });

/** What an RPC is asked with someone's ids. */
type Probe = (ids: Ids) => object;
/** There is no such thing for this caller: that and nothing else is the answer. */
const NOT_FOUND = (probe: Probe) => ({ probe, code: "NotFound" });
/** No tenant may do this, not even its admin. */
const NOT_ALLOWED = (probe: Probe) => ({ probe, code: "PermissionDenied" });
/** Answers the same to everybody who has nothing of the kind: an empty list, a miss, a new thing of the caller's own. */
const AS_NOBODY = (probe: Probe) => ({ probe, code: undefined });

/** Every RPC of the mesh, in the order in which they are tried: what creates something comes last. */
const WALK: Record<string, { probe: Probe; code: string | undefined }> = {
  "ragents.gateway.v1.GatewayService/GetHealth": AS_NOBODY(() => ({})),
  "ragents.gateway.v1.IdentityService/GetIdentity": AS_NOBODY(() => ({})),
  "ragents.gateway.v1.IdentityService/RevokeApiKey": NOT_FOUND((ids) => ({ key: ids.apiKey })),
  "ragents.gateway.v1.IdentityService/ListApiKeys": AS_NOBODY(() => ({})),

  "ragents.rag.v1.RagService/GetCollection": NOT_FOUND((ids) => ({ collection: ids.collection })),
  "ragents.rag.v1.RagService/ListCollections": AS_NOBODY(() => ({})),
  "ragents.rag.v1.RagService/ListDocuments": NOT_FOUND((ids) => ({ collection: ids.collection })),
  "ragents.rag.v1.RagService/GetDocument": NOT_FOUND((ids) => ({ collection: ids.collection, document: ids.document })),
  "ragents.rag.v1.RagService/DeleteDocument": NOT_FOUND((ids) => ({ collection: ids.collection, document: ids.document })),
  "ragents.rag.v1.RagService/DeleteDocuments": NOT_FOUND((ids) => ({ collection: ids.collection, filters: { a: 1 } })),
  "ragents.rag.v1.RagService/ReembedCollection": NOT_FOUND((ids) => ({ collection: ids.collection, embeddingModel: "static-256" })),
  "ragents.rag.v1.RagService/Retrieve": NOT_FOUND((ids) => ({ collection: ids.collection, query: QUESTION })),
  "ragents.rag.v1.RagService/BatchRetrieve": AS_NOBODY((ids) => ({ requests: [{ collection: ids.collection, query: QUESTION }] })),
  "ragents.rag.v1.RagService/Answer": NOT_FOUND((ids) => ({ collection: ids.collection, query: QUESTION })),
  "ragents.rag.v1.RagService/IngestDocuments": NOT_FOUND((ids) => ({
    collection: ids.collection,
    documents: [{ id: ids.document, text: "overwritten" }],
  })),
  "ragents.rag.v1.RagService/UploadDocuments": NOT_FOUND((ids) => ({ part: { case: "header", value: { collection: ids.collection } } })),
  "ragents.rag.v1.RagService/GetJob": NOT_FOUND((ids) => ({ job: ids.job })),
  "ragents.rag.v1.RagService/WatchJob": NOT_FOUND((ids) => ({ job: ids.job })),
  "ragents.rag.v1.RagService/CancelJob": NOT_FOUND((ids) => ({ job: ids.job })),
  "ragents.rag.v1.RagService/EmbedTexts": AS_NOBODY(() => ({ texts: [QUESTION] })),
  "ragents.rag.v1.RagService/ListEmbeddingModels": AS_NOBODY(() => ({})),
  "ragents.rag.v1.RagService/ListJobs": AS_NOBODY((ids) => ({ collection: ids.collection })),

  "ragents.agent.v1.AgentService/ListAgents": AS_NOBODY(() => ({})),
  "ragents.agent.v1.AgentService/GetThread": NOT_FOUND((ids) => ({ thread: ids.thread })),
  "ragents.agent.v1.AgentService/ListThreadMessages": NOT_FOUND((ids) => ({ thread: ids.thread })),
  "ragents.agent.v1.AgentService/ListThreads": AS_NOBODY(() => ({})),
  "ragents.agent.v1.AgentService/ListCheckpoints": NOT_FOUND((ids) => ({ thread: ids.thread })),
  "ragents.agent.v1.AgentService/GetThreadState": NOT_FOUND((ids) => ({ thread: ids.thread })),
  "ragents.agent.v1.AgentService/UpdateThreadState": NOT_FOUND((ids) => ({ thread: ids.thread, values: { notes: "changed" } })),
  "ragents.agent.v1.AgentService/ForkThread": NOT_FOUND((ids) => ({ thread: ids.thread, newThreadId: "fork" })),
  "ragents.agent.v1.AgentService/CancelRun": NOT_FOUND((ids) => ({ thread: ids.thread })),
  "ragents.agent.v1.AgentService/ResumeRun": NOT_FOUND((ids) => ({
    thread: ids.thread,
    decisions: [{ interruptId: "1", approved: true, comment: "" }],
  })),
  "ragents.agent.v1.AgentService/StreamResumeRun": NOT_FOUND((ids) => ({
    thread: ids.thread,
    decisions: [{ interruptId: "1", approved: true, comment: "" }],
  })),
  "ragents.agent.v1.AgentService/ResumeStream": NOT_FOUND((ids) => ({ eventId: `${ids.thread}/${ids.thread}/0-0-0-0-0-0` })),
  "ragents.agent.v1.AgentService/ScoreTrace": NOT_FOUND((ids) => ({ trace: ids.trace, name: "helpful", value: 1 })),
  "ragents.agent.v1.AgentService/DeleteThread": NOT_FOUND((ids) => ({ thread: ids.thread })),

  "ragents.checkpoint.v1.CheckpointService/GetCheckpoint": NOT_FOUND((ids) => ({ threadId: ids.saverThread })),
  "ragents.checkpoint.v1.CheckpointService/GetContents": NOT_FOUND((ids) => ({ threadId: ids.saverThread, hashes: ids.segment })),
  "ragents.checkpoint.v1.CheckpointService/ListCheckpoints": AS_NOBODY((ids) => ({ threadId: ids.saverThread })),
  "ragents.checkpoint.v1.CheckpointService/GetThread": NOT_FOUND((ids) => ({ threadId: ids.saverThread })),
  "ragents.checkpoint.v1.CheckpointService/ListThreads": AS_NOBODY(() => ({})),
  "ragents.checkpoint.v1.CheckpointService/CopyThread": NOT_FOUND((ids) => ({ sourceThreadId: ids.saverThread, targetThreadId: "copy" })),
  "ragents.checkpoint.v1.CheckpointService/BatchCopyThread": AS_NOBODY((ids) => ({ copies: [{ sourceThreadId: ids.saverThread, targetThreadId: "copies" }] })),
  "ragents.checkpoint.v1.CheckpointService/PruneThread": AS_NOBODY((ids) => ({ threadId: ids.saverThread, keep: 1 })),
  "ragents.checkpoint.v1.CheckpointService/DeleteThread": AS_NOBODY((ids) => ({ threadId: ids.saverThread })),
  "ragents.checkpoint.v1.CheckpointService/RenewThreadLease": AS_NOBODY((ids) => ({
    threadId: ids.saverThread,
    fencingToken: ids.fencingToken,
    ttl: durationFromMs(60_000),
  })),
  "ragents.checkpoint.v1.CheckpointService/ReleaseThreadLease": AS_NOBODY((ids) => ({ threadId: ids.saverThread, fencingToken: ids.fencingToken })),
  "ragents.checkpoint.v1.CheckpointService/ListExpiredLeases": NOT_ALLOWED(() => ({})),
  "ragents.checkpoint.v1.CheckpointService/GetStats": AS_NOBODY(() => ({})),
  // Contents that another tenant has are not there for this one: a hash alone never gives what it names.
  "ragents.checkpoint.v1.CheckpointService/PutCheckpoint": AS_NOBODY((ids) => ({
    threadId: ids.saverThread,
    checkpointId: "1",
    data: new TextEncoder().encode("{}"),
    metadata: new TextEncoder().encode("{}"),
    channels: [channel(ids)],
  })),
  "ragents.checkpoint.v1.CheckpointService/PutWrites": AS_NOBODY((ids) => ({
    threadId: ids.saverThread,
    taskWrites: [{ ...TASK, checkpointId: ids.checkpoint, writes: [{ index: 0, channel: "c", value: channel(ids).value }] }],
  })),
  "ragents.checkpoint.v1.CheckpointService/StreamPuts": AS_NOBODY((ids) => ({
    put: { case: "writes", value: { threadId: ids.saverThread, taskWrites: [{ ...TASK, checkpointId: ids.checkpoint }] } },
  })),
  "ragents.checkpoint.v1.CheckpointService/PutContents": AS_NOBODY((ids) => ({
    threadId: ids.saverThread,
    contents: { hashes: hash("sha256", SECRET_TEXT, "buffer").subarray(0, 16), sizes: [SECRET_TEXT.length], data: Buffer.from(SECRET_TEXT) },
  })),
  // Someone else's lease of someone else's thread holds nobody up.
  "ragents.checkpoint.v1.CheckpointService/AcquireThreadLease": AS_NOBODY((ids) => ({
    threadId: ids.saverThread,
    owner: "me",
    ttl: durationFromMs(60_000),
  })),

  "ragents.cache.v1.CacheService/BatchGet": AS_NOBODY((ids) => ({ groups: [{ ...groupOf(ids), textHashes: [ids.textHash] }] })),
  "ragents.cache.v1.CacheService/StreamGet": AS_NOBODY((ids) => ({ groups: [{ ...groupOf(ids), textHashes: [ids.textHash] }] })),
  "ragents.cache.v1.CacheService/ExtendLease": AS_NOBODY(leaseOf),
  "ragents.cache.v1.CacheService/ReleaseLease": AS_NOBODY(leaseOf),
  "ragents.cache.v1.CacheService/Invalidate": AS_NOBODY((ids) => ({ selector: { collection: ids.collection } })),
  "ragents.cache.v1.CacheService/Clear": AS_NOBODY(() => ({})),
  "ragents.cache.v1.CacheService/ReportLocalHits": AS_NOBODY(() => ({ hits: [{ kind: CacheKind.ANSWER, count: 1n }] })),
  "ragents.cache.v1.CacheService/GetStats": AS_NOBODY(() => ({})),
  "ragents.cache.v1.CacheService/WatchInvalidations": AS_NOBODY(() => ({})),
  "ragents.cache.v1.CacheService/BatchPut": AS_NOBODY((ids) => ({
    groups: [{ ...groupOf(ids), items: [{ textHash: ids.textHash, value: new Uint8Array([1]) }] }],
  })),

  "ragents.ratelimit.v1.RateLimitService/GetLimit": AS_NOBODY((ids) => ({ key: ids.limitKey })),
  "ragents.ratelimit.v1.RateLimitService/Check": AS_NOBODY((ids) => ({ key: ids.limitKey })),
  "ragents.ratelimit.v1.RateLimitService/BatchCheck": AS_NOBODY((ids) => ({ checks: [{ key: ids.limitKey }] })),
  "ragents.ratelimit.v1.RateLimitService/Acquire": AS_NOBODY((ids) => ({ key: ids.limitKey })),
  "ragents.ratelimit.v1.RateLimitService/LeaseQuota": AS_NOBODY((ids) => ({
    holder: "holder-1",
    sequence: 1n,
    shares: [{ key: ids.limitKey, want: 1 }],
  })),
  "ragents.ratelimit.v1.RateLimitService/GetBudgets": AS_NOBODY((ids) => ({ key: ids.limitKey })),
  "ragents.ratelimit.v1.RateLimitService/SettleReservation": AS_NOBODY((ids) => ({
    key: ids.limitKey,
    reservation: ids.reservation,
    used: [{ budget: "llm_tokens", amount: 1n }],
  })),
  "ragents.ratelimit.v1.RateLimitService/ReserveBudget": AS_NOBODY((ids) => ({
    key: ids.limitKey,
    reservation: ids.reservation,
    amounts: [{ budget: "llm_tokens", amount: 1n }],
  })),

  "ragents.ratelimit.v1.QueueService/Cancel": NOT_FOUND((ids) => ({ queue: "default", item: ids.queueItem })),
  "ragents.ratelimit.v1.QueueService/Dequeue": NOT_ALLOWED(() => ({ queue: "default" })),
  "ragents.ratelimit.v1.QueueService/Ack": NOT_ALLOWED((ids) => ({ queue: "default", item: ids.queueItem, lease: "lease" })),
  "ragents.ratelimit.v1.QueueService/Nack": NOT_ALLOWED((ids) => ({ queue: "default", item: ids.queueItem, lease: "lease" })),
  "ragents.ratelimit.v1.QueueService/Extend": NOT_ALLOWED((ids) => ({ queue: "default", item: ids.queueItem, lease: "lease" })),
  "ragents.ratelimit.v1.QueueService/Stats": NOT_ALLOWED(() => ({ queue: "default" })),
  "ragents.ratelimit.v1.QueueService/Enqueue": AS_NOBODY(() => ({ queue: "default", payload: new Uint8Array(1) })),

  "ragents.agent.v1.AgentService/Query": AS_NOBODY((ids) => ({ query: QUESTION, threadId: ids.thread })),
  "ragents.agent.v1.AgentService/StreamQuery": AS_NOBODY((ids) => ({ query: QUESTION, threadId: ids.thread })),
  "ragents.rag.v1.RagService/CreateCollection": AS_NOBODY((ids) => ({ id: ids.collection })),
  "ragents.rag.v1.RagService/DeleteCollection": AS_NOBODY((ids) => ({ collection: ids.collection })),
  "ragents.gateway.v1.IdentityService/CreateApiKey": AS_NOBODY(() => ({ roles: [1] })),
};

let mesh: TestMesh;
let services: DescService[];
const transports: { close(): void }[] = [];

/** A tenant's way to every service: gRPC where there is one, the gateway else. */
async function openTenant(tenant: string) {
  const { body } = await mesh.rest("POST", "/v1/keys", { tenant, roles: ["admin"] }, { authorization: `Bearer ${ADMIN_KEY}` });
  const { secret: apiKey, api_key: key } = body as { secret: string; api_key: { id: string } };
  const transportOf = ({ typeName }: DescService): Transport => {
    if (typeName.startsWith("ragents.gateway.")) {
      const authorized = (next: (request: never) => unknown) => (request: { header: Headers }) => {
        request.header.set("authorization", `Bearer ${apiKey}`);
        return next(request as never);
      };
      return createConnectTransport({ baseUrl: mesh.url, httpVersion: "1.1", interceptors: [authorized as never] });
    }
    const transport = createGrpcTransport({ address: addressOf(typeName), services: [], security: channelSecurity({ apiKey }) });
    transports.push(transport);
    return transport;
  };
  const known = new Map<string, Transport>();
  return {
    apiKey,
    keyId: key.id,
    client<S extends DescService>(service: S) {
      const transport = known.get(service.typeName) ?? transportOf(service);
      known.set(service.typeName, transport);
      return createClient(service, transport);
    },
  };
}

type Tenant = Awaited<ReturnType<typeof openTenant>>;

const addressOf = (typeName: string) => mesh.addressOf(typeName.split(".")[1]!);

/** Ids that the services give. */
const GIVEN = ["job", "trace", "apiKey", "fencingToken", "segment", "checkpoint", "queueItem"] as const;

/** Gives a tenant one of everything. */
async function furnish(tenant: Tenant, ids: Omit<Ids, (typeof GIVEN)[number]>): Promise<Ids> {
  const rag = tenant.client(RagService);
  await rag.createCollection({ id: ids.collection });
  const { job } = await rag.ingestDocuments({ collection: ids.collection, documents: [{ id: ids.document, text: SECRET_TEXT }] });
  for await (const update of rag.watchJob({ job: job!.id })) if (update.job?.state === JobState.SUCCEEDED) break;
  const answer = await tenant.client(AgentService).query({ query: QUESTION, threadId: ids.thread, configOverrides: { collection: ids.collection } });
  expect(answer.response).toContain("4711");
  const trace = answer.metadata!.traceId;

  const saver = new GrpcCheckpointSaver({ address: mesh.addressOf("checkpoint"), apiKey: tenant.apiKey });
  const state = { v: 4, id: "1f0-checkpoint", ts: new Date().toISOString(), channel_values: { note: SECRET_TEXT.repeat(100) }, channel_versions: { note: 1 }, versions_seen: {} };
  await saver.put({ configurable: { thread_id: ids.saverThread, checkpoint_ns: "" } }, state, { source: "input", step: 0, parents: {} }, { note: 1 });
  saver.close();
  const checkpoints = tenant.client(CheckpointService);
  const { checkpoint } = await checkpoints.getCheckpoint({ threadId: ids.saverThread });
  const segments = checkpoint!.channels.map(({ value }) => value?.segments ?? new Uint8Array()).find(({ length }) => length > 0);
  expect(segments, "the checkpoint has no contents of its own to ask for").toBeDefined();
  const { lease } = await checkpoints.acquireThreadLease({ threadId: ids.saverThread, owner: "writer", ttl: durationFromMs(600_000) });

  const { item } = await tenant.client(QueueService).enqueue({ queue: "default", payload: Buffer.from(SECRET_TEXT), idempotencyKey: "once" });
  const all = { ...ids, trace, queueItem: item, job: job!.id, apiKey: tenant.keyId, fencingToken: lease!.fencingToken, checkpoint: "1f0-checkpoint", segment: segments!.slice(0, 16) };
  await tenant.client(CacheService).batchPut({ groups: [{ ...groupOf(all), items: [{ textHash: ids.textHash, value: new TextEncoder().encode("4711") }] }] });
  await tenant.client(RateLimitService).check({ key: ids.limitKey, cost: 3 });
  return all;
}

/** Calls an RPC and says all that the caller learns, in words that are the same for the same knowledge. */
async function learned(tenant: Tenant, method: DescMethod, request: object, ids: Ids): Promise<string> {
  const controller = new AbortController();
  const client = tenant.client(method.parent) as unknown as Record<string, (request: object, options: object) => unknown>;
  const call = client[method.localName]!;
  const options = { signal: controller.signal, timeoutMs: 20_000 };
  const messages: unknown[] = [];
  const show = (message: Message) => messages.push(toJson(method.output as DescMessage, message, { alwaysEmitImplicit: true }));
  try {
    if (method.methodKind === "unary") show((await call(request, options)) as Message);
    else if (method.methodKind === "client_streaming") show((await call(once(request), options)) as Message);
    else {
      const sent = method.methodKind === "bidi_streaming" ? once(request) : request;
      for await (const message of call(sent, options) as AsyncIterable<Message>) {
        show(message);
        // A watch has no end of its own.
        if (method.name === "WatchInvalidations") break;
      }
    }
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    messages.push([Code[error.code], reasonOf(error), error.rawMessage]);
  } finally {
    controller.abort();
  }
  return neutral(JSON.stringify(messages), ids, tenant);
}

async function* once(request: object) {
  yield request;
}

/** A text without the names and numbers that differ from call to call. */
function neutral(text: string, ids: Ids, tenant: Tenant): string {
  let shown = text;
  for (const [name, value] of Object.entries({ ...ids, ownKey: tenant.keyId })) {
    const written = value instanceof Uint8Array ? Buffer.from(value).toString("base64") : String(value);
    if (written.length > 3) shown = shown.replaceAll(written, `<${name}>`);
  }
  return shown
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>")
    .replace(/"[\d.]+s"/g, '"<duration>"')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<uuid>")
    .replace(/ragents_\w{12}(_\w{43})?/g, "<key>")
    .replace(/"(fencingToken|leaseToken|item|traceId|eventId|processingTime|seconds|uptimeSeconds)":("[^"]*"|[\d.e-]+)/g, '"$1":"<any>"');
}

/** All that a tenant can read of what it has. */
async function possessions(tenant: Tenant, ids: Ids): Promise<string> {
  const rag = tenant.client(RagService);
  const checkpoints = tenant.client(CheckpointService);
  const limits = tenant.client(RateLimitService);
  const found = await Promise.all([
    rag.getCollection({ collection: ids.collection }),
    rag.getDocument({ collection: ids.collection, document: ids.document }),
    rag.getJob({ job: ids.job }),
    rag.retrieve({ collection: ids.collection, query: QUESTION }),
    tenant.client(AgentService).listThreadMessages({ thread: ids.thread }),
    checkpoints.getCheckpoint({ threadId: ids.saverThread }),
    checkpoints.getContents({ threadId: ids.saverThread, hashes: ids.segment }),
    checkpoints.getThread({ threadId: ids.saverThread }),
    checkpoints.renewThreadLease({ threadId: ids.saverThread, fencingToken: ids.fencingToken, ttl: durationFromMs(600_000) }),
    checkpoints.getStats({}),
    tenant.client(CacheService).batchGet({ groups: [{ ...groupOf(ids), textHashes: [ids.textHash] }] }),
    limits.getBudgets({ key: ids.limitKey }),
    // The same item, for it is still there.
    tenant.client(QueueService).enqueue({ queue: "default", payload: Buffer.from(SECRET_TEXT), idempotencyKey: "once" }),
    tenant.client(IdentityService).listApiKeys({}),
  ]);
  const text = JSON.stringify(found, (_, value) => (typeof value === "bigint" ? String(value) : value));
  // Times of use and of leases' ends move on by themselves.
  return text
    .replace(/"(seconds|nanos)":"?\d+"?/g, "")
    .replace(/"ttlsMs":\[\d+\]/g, "")
    .replace(/"lastUseTime":\{[^}]*\}/g, "")
    .replace(/"data":\[[\d,]{200,}\]/g, (data) => `"data":"${hash("sha256", data)}"`);
}

const bytes = (length: number, fill: number) => new Uint8Array(length).fill(fill);

describe("another tenant's ids", () => {
  let owner: Tenant;
  let stranger: Tenant;
  let nobody: Tenant;
  let ids: Ids;
  let madeUp: Ids;
  let before: string;

  beforeAll(async () => {
    mesh = await startTestMesh({ RAGENTS_ADMIN_KEY: ADMIN_KEY });
    services = await allServices();
    owner = await openTenant("acme");
    stranger = await openTenant("globex");
    nobody = await openTenant("nobody");
    ids = await furnish(owner, {
      collection: "acme-vault",
      document: "acme-document",
      thread: "acme-thread",
      saverThread: "acme-graph",
      textHash: bytes(32, 1),
      parametersHash: bytes(32, 2),
      limitKey: "acme-user",
      reservation: "acme-reservation-1",
    });
    madeUp = {
      collection: "none-vault",
      document: "none-document",
      thread: "none-thread",
      trace: "11111111-2222-7333-8444-555555555555",
      saverThread: "none-graph",
      job: "11111111-2222-4333-8444-555555555555",
      checkpoint: "1f0-nonexistent",
      segment: bytes(16, 9),
      textHash: bytes(32, 7),
      parametersHash: bytes(32, 8),
      limitKey: "none-user",
      reservation: "none-reservation-1",
      apiKey: "ragents_AAAAAAAAAAAA",
      queueItem: "0nosuchitem0",
      fencingToken: ids.fencingToken,
    };
    before = await possessions(owner, ids);
  });
  afterAll(async () => {
    for (const transport of transports) transport.close();
    await mesh?.stop();
  });

  test("are tried at every RPC that there is", () => {
    const all = services.flatMap(({ typeName, methods }) => methods.map(({ name }) => `${typeName}/${name}`));
    expect(Object.keys(WALK).sort()).toEqual(all.sort());
  });

  test.each(Object.entries(WALK))("tell nothing at %s", async (rpc, { probe, code }) => {
    const [typeName, name] = rpc.split("/");
    const method = services.find((service) => service.typeName === typeName)!.methods.find((one) => one.name === name)!;
    const real = await learned(stranger, method, probe(ids), ids);
    const invented = await learned(nobody, method, probe(madeUp), madeUp);
    expect(real.replaceAll("globex", "<tenant>")).toBe(invented.replaceAll("nobody", "<tenant>"));
    if (code !== undefined) expect(real).toMatch(new RegExp(`^\\[\\["${code}",`));
    else expect(real).not.toMatch(/^\[\["(Unauthenticated|PermissionDenied|InvalidArgument|Internal|Unavailable|Unimplemented)"/);
    expect(real).not.toMatch(/4711|acme/);
  });

  test("change nothing of what their tenant has", async () => {
    expect(await possessions(owner, ids)).toBe(before);
  });

  test("of a cache are not even told when they are invalidated", async () => {
    const controller = new AbortController();
    const heard: (string | undefined)[] = [];
    const cache = stranger.client(CacheService);
    let watching = () => {};
    const begun = new Promise<void>((resolve) => (watching = resolve));
    const listening = (async () => {
      for await (const { event } of cache.watchInvalidations({}, { signal: controller.signal })) {
        if (event.case === "heartbeat") watching();
        if (event.case === "invalidated") heard.push(event.value.collection);
        if (heard.includes("globex-own")) return;
      }
    })();
    await begun;
    await owner.client(CacheService).invalidate({ selector: { collection: ids.collection } });
    await cache.invalidate({ selector: { collection: "globex-own" } });
    await listening;
    controller.abort();
    expect(heard).toEqual(["globex-own"]);
  });

  test("and names are not in the metrics, but for what the operator bills tenants by", async () => {
    const all = await (await fetch(`http://${mesh.probes}/metrics`)).text();
    const text = all.replaceAll(/^agent_(?:tokens|cost_dollars)_total\{tenant="[^"]*"/gm, "");
    expect(text).toContain("grpc_server_handled_total");
    expect(text).not.toMatch(/acme|globex|alice|ragents_[A-Za-z0-9]{12}\b/);
  });
});
