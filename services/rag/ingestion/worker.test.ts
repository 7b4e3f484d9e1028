import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { InlineDocumentSchema } from "../../../gen/ragents/rag/v1/rag_pb.js";
import { reasonOf } from "../../../runtime/errors.js";
import { silentLogger } from "../../../runtime/logger.js";
import type { Embedder } from "../../../runtime/embedding/embedder.js";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { openPglite } from "../../../runtime/sql/pglite.js";
import { Analyzer } from "../../../runtime/terms/terms.js";
import { failureOf } from "../../../tests/failure-of.js";
import { ManualClock } from "../../../tests/manual-clock.js";
import { withDefaults } from "../settings.js";
import { openSqlStore } from "../store/sql-store.js";
import type { CollectionRecord, JobRecord, RagStore } from "../store/store.js";
import { JobChanges } from "./job-changes.js";
import { chunkIds } from "../store/chunk-runs.js";
import { JobStarter } from "./start-job.js";
import type { TenantLimits } from "./tenant-quota.js";
import { watchJob } from "./watch-job.js";
import { IngestionWorker } from "./worker.js";
import { ThreadedCutter } from "../cutting/cutter.js";

const tenant = "tenant";
let db: SqlDatabase;
let store: RagStore;
let collection: CollectionRecord;
let clock: ManualClock;
const running: IngestionWorker[] = [];

beforeAll(async () => {
  db = await openPglite();
  store = await openSqlStore(db);
});

afterEach(async () => {
  await until(Promise.all(running.splice(0).map((worker) => worker.stop())));
});

afterAll(() => db.close());

let made = 0;
async function begin(): Promise<void> {
  clock = new ManualClock(Date.UTC(2026, 0, 1) + made * 3_600_000);
  made += 1;
  collection = (await store.createCollection({ tenant, id: `c${made}` }, withDefaults({}), new Date(clock.now())))!;
}

/** An embedder that does `before` first, each time. */
function embedder(before: (signal?: AbortSignal) => Promise<void> | void): Embedder {
  return {
    model: "static-256",
    dimension: 256,
    async embed(texts, signal) {
      await before(signal);
      return texts.map(() => new Float32Array(256).fill(1 / 16));
    },
  };
}

function startWorker(used: Embedder = embedder(() => {}), tenantLimits: TenantLimits = {}): { worker: IngestionWorker; changes: JobChanges } {
  const changes = new JobChanges();
  const worker = new IngestionWorker({
    cutter: new ThreadedCutter(),
    store,
    clock,
    logger: silentLogger,
    toolsFor: () => ({ embedder: used, analyzer: new Analyzer("english") }),
    embedderFor: () => used,
    tenantLimits,
    onChange: (jobId) => changes.announce(jobId),
    onIndexed: () => {},
  });
  worker.start();
  running.push(worker);
  return { worker, changes };
}

async function queue(ids: string[], tenantLimits: TenantLimits = {}): Promise<JobRecord> {
  const starter = new JobStarter({ store, clock, folders: [], tenantLimits, onQueued: () => {} });
  const documents = ids.map((id) => create(InlineDocumentSchema, { id, text: `Text of ${id}.` }));
  return starter.ingestInline({ collection, metadata: {}, readers: [], idempotencyKey: "" }, documents);
}

/** Rejects when the signal is aborted, also when it was before. */
function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    const abort = () => reject(signal.reason as Error);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort);
  });
}

/** Lets the time pass until a promise has settled. */
async function until<T>(promise: Promise<T>): Promise<T> {
  let settled = false;
  const mark = () => (settled = true);
  promise.then(mark, mark);
  while (!settled) {
    await clock.advance(100);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return promise;
}

async function untilJob(id: string, condition: (job: JobRecord) => boolean): Promise<JobRecord> {
  for (let looks = 0; looks < 2_000; looks += 1) {
    const job = (await store.getJob(tenant, id))!;
    if (condition(job)) return job;
    await clock.advance(100);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return expect.fail("the job did not get there");
}

const ended = (job: JobRecord) => job.endTime !== undefined;
const documentCount = async () => (await store.getCollection(collection))!.documentCount;

describe("a worker", () => {
  test("tries again what fails now and then", async () => {
    await begin();
    let calls = 0;
    startWorker(embedder(() => {
      calls += 1;
      if (calls <= 3) throw new Error("the model is away");
    }));
    const { id } = await queue(["a", "b"]);
    expect(await untilJob(id, ended)).toMatchObject({ state: "SUCCEEDED", doneDocuments: 2, failedDocuments: 0 });
    expect(calls).toBe(4);
  });

  test("goes on with a document of many chunks behind those that the one before it stored", async () => {
    await begin();
    const small = withDefaults({ chunkSize: 100, chunkOverlap: 0 });
    collection = (await store.createCollection({ tenant, id: `many-${made}` }, small, new Date(clock.now())))!;
    const text = Array.from({ length: 4_500 }, (_, n) => `<p>Paragraph ${n} tells of the bearing that needs grease, and of the pump at its side.</p>`).join("");
    const starter = new JobStarter({ store, clock, folders: [], onQueued: () => {} });
    const { id } = await starter.ingestInline({ collection, metadata: {}, readers: [], idempotencyKey: "" }, [create(InlineDocumentSchema, { id: "page", text, mimeType: "text/html" })]);
    const embedded: number[] = [];
    const counting = (most: number): Embedder => ({
      ...embedder(() => {}),
      async embed(texts, signal) {
        if (embedded.length === most) await aborted(signal!);
        embedded.push(texts.length);
        return texts.map(() => new Float32Array(256).fill(1 / 16));
      },
    });
    const { worker } = startWorker(counting(2));
    await untilJob(id, ({ doneBytes }) => doneBytes > 100_000);
    expect(await documentCount()).toBe(0);
    await worker.stop();
    startWorker(counting(Infinity));
    expect(await untilJob(id, ended)).toMatchObject({ state: "SUCCEEDED", chunks: 4_500, doneDocuments: 1 });
    expect(embedded).toEqual([1_000, 1_000, 1_000, 1_000, 500]);
    const runs = await store.allowedChunks(collection.uid, undefined, { text: "true", parameters: [] });
    const chunks = await store.readChunks(collection.uid, undefined, [...chunkIds(runs)]);
    expect(chunks.sort((a, b) => a.id - b.id).map(({ ordinal }) => ordinal)).toEqual(Array.from({ length: 4_500 }, (_, n) => n));
    expect(chunks.at(-1)!.text).toContain("Paragraph 4499");
  });

  test("comes back later to a job whose model is away for longer, and loses none of its documents", async () => {
    await begin();
    let away = true;
    startWorker(embedder(() => {
      if (away) throw new Error("the model is away");
    }));
    const { id } = await queue(["a"]);
    const from = clock.now();
    while (clock.now() < from + 8_000) await clock.advance(500).then(() => store.ping());
    expect(await store.getJob(tenant, id)).toMatchObject({ state: "RUNNING", doneDocuments: 0 });
    away = false;
    expect(await untilJob(id, ended)).toMatchObject({ state: "SUCCEEDED", doneDocuments: 1, failedDocuments: 0 });
  });

  test("gives up a job that has cost several workers, and says so", async () => {
    await begin();
    const { id } = await queue(["a"]);
    for (let deaths = 0; deaths < 5; deaths += 1) {
      await store.claimJob(`dead ${deaths}`, new Date(clock.now()), new Date(clock.now() + 1_000));
      await clock.advance(2_000);
    }
    startWorker();
    const job = await untilJob(id, ended);
    expect(job).toMatchObject({ state: "FAILED", failedDocuments: 1, failures: [{ documentId: "a", reason: "INTERNAL" }] });
    expect(job.failures[0]!.message).toContain("smaller jobs");
  });

  test("takes over from one that died when its lease is over, not before", async () => {
    await begin();
    const { id } = await queue(["a"]);
    const dead = await store.claimJob("dead", new Date(clock.now()), new Date(clock.now() + 15_000));
    const lease = clock.now() + 15_000;
    startWorker();
    while (clock.now() < lease - 1_000) await clock.advance(500).then(() => store.ping());
    expect((await store.getJob(tenant, id))!.doneDocuments).toBe(0);
    expect(await untilJob(id, ended)).toMatchObject({ state: "SUCCEEDED" });
    await expect(store.renewLease(dead!.lease, { phase: "NONE" }, new Date(clock.now()))).rejects.toThrow();
  });

  test("keeps its lease as long as it works", async () => {
    await begin();
    let finish = () => {};
    const work = new Promise<void>((resolve) => (finish = resolve));
    startWorker(embedder(() => work));
    const { id } = await queue(["a"]);
    await untilJob(id, ({ state }) => state === "RUNNING");
    for (const from = clock.now(); clock.now() < from + 60_000; ) {
      await clock.advance(1_000);
      await store.ping();
      expect(await store.claimJob("other", new Date(clock.now()), new Date(clock.now() + 1_000))).toBeUndefined();
    }
    finish();
    expect(await untilJob(id, ended)).toMatchObject({ state: "SUCCEEDED" });
  });

  test("stops at once when its job is cancelled, and leaves nothing of it", async () => {
    await begin();
    const { worker } = startWorker(embedder((signal) => aborted(signal!)));
    const { id } = await queue(["a"]);
    await untilJob(id, () => worker.phaseOf(id) === "EMBEDDING");
    await store.cancelJob(tenant, id, new Date(clock.now()));
    worker.abandon(id);
    await untilJob(id, () => worker.phaseOf(id) === undefined);
    expect(await store.getJob(tenant, id)).toMatchObject({ state: "CANCELLED", doneDocuments: 0 });
    expect(await documentCount()).toBe(0);
  });

  test("that is stopped gives its job back, and the next goes on with it", async () => {
    await begin();
    const { worker } = startWorker(embedder((signal) => aborted(signal!)));
    const { id } = await queue(["a"]);
    await untilJob(id, () => worker.phaseOf(id) === "EMBEDDING");
    await until(worker.stop());
    expect(await store.getJob(tenant, id)).toMatchObject({ state: "RUNNING", phase: "NONE" });
    const before = clock.now();
    startWorker();
    expect(await untilJob(id, ended)).toMatchObject({ state: "SUCCEEDED" });
    expect(clock.now() - before).toBeLessThan(10_000);
  });
});

test("a watched job is sent as it is, after every change, and to its end", async () => {
  await begin();
  const { worker, changes } = startWorker();
  const { id } = await queue(["a", "b"]);
  const seen: JobRecord[] = [];
  const watching = (async () => {
    const deps = { store, changes, clock, phaseOf: (jobId: string) => worker.phaseOf(jobId) };
    for await (const job of watchJob(deps, tenant, id, new AbortController().signal)) seen.push(job);
  })();
  await until(watching);
  expect(seen[0]!.state).toBe("QUEUED");
  expect(seen.at(-1)).toMatchObject({ state: "SUCCEEDED", doneDocuments: 2 });
  expect(seen.some(({ state, phase }) => state === "RUNNING" && phase !== "NONE")).toBe(true);
  expect(new Set(seen.map((job) => JSON.stringify(job))).size).toBe(seen.length);
});

describe("a tenant's quota", () => {
  /** What the tenant has already, and `more`. */
  async function above(more: TenantLimits): Promise<TenantLimits> {
    const used = await store.tenantUsage(tenant);
    return {
      ...(more.documents !== undefined && { documents: used.documents + more.documents }),
      ...(more.textBytes !== undefined && { textBytes: used.textBytes + more.textBytes }),
    };
  }

  test("of documents lets in as many as it says; the job tells which ones failed, and why", async () => {
    await begin();
    const limits = await above({ documents: 2 });
    startWorker(embedder(() => {}), limits);
    const { id } = await queue(["a", "b", "c"], limits);
    const job = await untilJob(id, ended);
    expect(job).toMatchObject({ state: "SUCCEEDED", failedDocuments: 1, failures: [{ documentId: "c", reason: "QUOTA_EXCEEDED" }] });
    expect(job.failures[0]!.message).toContain("delete documents");
    expect(await documentCount()).toBe(2);

    const refused = await failureOf(queue(["d"], limits));
    expect([refused.code, reasonOf(refused)]).toEqual([Code.ResourceExhausted, "QUOTA_EXCEEDED"]);
  });

  test("of bytes is over when it is used up, and has room again when documents go", async () => {
    await begin();
    const limits = await above({ textBytes: 15 });
    startWorker(embedder(() => {}), limits);
    // Ten bytes each: the second takes what is left, and a little more.
    const { id } = await queue(["a", "b", "c"], limits);
    expect(await untilJob(id, ended)).toMatchObject({ failedDocuments: 1, failures: [{ documentId: "c", reason: "QUOTA_EXCEEDED" }] });
    expect((await failureOf(queue(["d"], limits))).code).toBe(Code.ResourceExhausted);
    await store.deleteDocument(collection.uid, undefined, "a", new Date(clock.now()));
    const again = await queue(["d"], limits);
    expect(await untilJob(again.id, ended)).toMatchObject({ state: "SUCCEEDED", failedDocuments: 0 });
  });

  test("does not keep unchanged documents from being ingested again", async () => {
    await begin();
    const limits = await above({ documents: 1 });
    startWorker(embedder(() => {}), limits);
    // Both wait before the quota is used up.
    const [first, second] = [await queue(["a"], limits), await queue(["a"], limits)];
    const jobs = [await untilJob(first.id, ended), await untilJob(second.id, ended)];
    expect(jobs.map(({ state, failedDocuments }) => [state, failedDocuments])).toEqual([["SUCCEEDED", 0], ["SUCCEEDED", 0]]);
  });
});
