import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { InlineDocumentSchema } from "../../../gen/ragents/rag/v1/rag_pb.js";
import { systemClock } from "../../../runtime/clock.js";
import { type Embedder, EmbeddingError } from "../../../runtime/embedding/embedder.js";
import { reasonOf } from "../../../runtime/errors.js";
import { silentLogger } from "../../../runtime/logger.js";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { openPglite } from "../../../runtime/sql/pglite.js";
import { Analyzer } from "../../../runtime/terms/terms.js";
import { failureOf } from "../../../tests/failure-of.js";
import { ThreadedCutter } from "../cutting/cutter.js";
import { embedderFor as find } from "../embedders.js";
import { JobStarter } from "../ingestion/start-job.js";
import { IngestionWorker } from "../ingestion/worker.js";
import { Arranger } from "../ranking/arranger.js";
import { Retriever } from "../retrieval/retriever.js";
import { SearchIndexes } from "../retrieval/search-indexes.js";
import { withDefaults } from "../settings.js";
import { openSqlStore } from "../store/sql-store.js";
import type { CollectionRecord, JobRecord, RagStore } from "../store/store.js";
import { batchesOf } from "./reembedding-run.js";
import { startReembedding } from "./start-reembedding.js";

const OLD = "static-256";
const NEW = "new-model";
const tenant = "tenant";
const cutter = new ThreadedCutter();
const analyzer = new Analyzer("english");
let db: SqlDatabase;
let store: RagStore;

beforeAll(async () => {
  db = await openPglite();
  store = await openSqlStore(db);
});
afterAll(async () => {
  await cutter.close();
  await db.close();
});

type Before = (texts: readonly string[], signal: AbortSignal | undefined) => unknown;

/** Sees nothing in a text but one word: what is found by it tells which model was asked. */
function embedder(model: string, dimension: number, word: string, before: Before = () => {}): Embedder {
  return {
    model,
    dimension,
    async embed(texts, signal) {
      await before(texts, signal);
      return texts.map((text) => Float32Array.from({ length: dimension }, (_, i) => (i === (text.includes(word) ? 0 : 1) ? 1 : 0)));
    },
  };
}

interface Mesh {
  readonly collection: CollectionRecord;
  readonly asked: string[];
  ingest(documents: Record<string, string>): Promise<JobRecord>;
  reembed(model?: string, idempotencyKey?: string): Promise<JobRecord>;
  ended(job: JobRecord): Promise<JobRecord>;
  /** The document that each of two replicas finds first; the second one holds no index in memory. */
  best(): Promise<(string | undefined)[]>;
}

/** A worker and two replicas that answer, over a collection whose old model looks for "alpha"; `before` comes before what the new one does, `beforeOld` before what that does. */
async function startMesh(before?: Before, beforeOld?: Before): Promise<Mesh> {
  const asked: string[] = [];
  const embedders = new Map([
    [OLD, embedder(OLD, 4, "alpha", beforeOld)],
    [NEW, embedder(NEW, 8, "beta", async (texts, signal) => {
      await before?.(texts, signal);
      asked.push(...texts);
    })],
  ]);
  const embedderFor = (model: string) => find(embedders, model);
  const collection = (await store.createCollection({ tenant, id: randomUUID() }, withDefaults({}), new Date()))!;
  const deps = { store, clock: systemClock, logger: silentLogger, cutter, embedderFor, onChange: () => {}, onIndexed: () => {} };
  const worker = new IngestionWorker({ ...deps, toolsFor: (job) => ({ embedder: embedderFor(job.collection.settings.embeddingModel), analyzer }) });
  worker.start();
  onTestFinished(() => worker.stop());
  const onQueued = () => worker.wake();
  const arranger = new Arranger({ store, rerankers: new Map(), onRerankFailed: () => {} });
  const replicas = [1e9, 0].map((budgetBytes) => {
    const indexes = new SearchIndexes(store, { budgetBytes, dimensionOf: (model) => embedderFor(model).dimension });
    return new Retriever({ store, arranger, indexes, embedderFor, analyzerFor: () => analyzer });
  });
  const fresh = async () => (await store.getCollection(collection))!;
  return {
    collection,
    asked,
    ingest(documents) {
      const starter = new JobStarter({ store, clock: systemClock, folders: [], onQueued });
      const inline = Object.entries(documents).map(([id, text]) => create(InlineDocumentSchema, { id, text }));
      return starter.ingestInline({ collection, metadata: {}, readers: [], idempotencyKey: "" }, inline);
    },
    async reembed(embeddingModel = NEW, idempotencyKey = "") {
      const request = { collection: await fresh(), embeddingModel, idempotencyKey };
      return startReembedding({ store, clock: systemClock, embedders, onQueued }, request, new AbortController().signal);
    },
    async ended({ id }) {
      await expect.poll(async () => (await store.getJob(tenant, id))!.endTime, { timeout: 20_000, interval: 10 }).toBeDefined();
      return (await store.getJob(tenant, id))!;
    },
    async best() {
      const current = await fresh();
      const question = { query: "alpha beta", topK: 1, mode: "semantic", filters: undefined } as const;
      const answers = await Promise.all(replicas.map((replica) => replica.retrieve(current, undefined, question)));
      return answers.map(({ chunks }) => chunks[0]?.document.id);
    },
  };
}

/** A door that is closed until it is opened. */
function gate(): { passed: Promise<void>; open(): void } {
  let open = () => {};
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { passed, open };
}

test("the old model answers until the switch, the new one right after, on every replica; what was ingested meanwhile is there", async () => {
  const door = gate();
  const mesh = await startMesh((texts) => (texts.length > 1 ? door.passed : undefined));
  await mesh.ended(await mesh.ingest({ a: "alpha", b: "beta", c: "gamma" }));
  expect(await mesh.best()).toEqual(["a", "a"]);
  const { epoch } = (await store.getCollection(mesh.collection))!;
  const job = await mesh.reembed(NEW, "key");
  expect(job).toMatchObject({ targetModel: NEW, state: "QUEUED" });
  expect((await mesh.reembed(NEW, "key")).id).toBe(job.id);
  const second = await failureOf(mesh.reembed());
  expect([second.code, reasonOf(second)]).toEqual([Code.FailedPrecondition, "REEMBEDDING_RUNNING"]);
  expect(await mesh.ended(await mesh.ingest({ b: "beta again", d: "delta" }))).toMatchObject({ state: "SUCCEEDED" });
  expect(await mesh.best()).toEqual(["a", "a"]);

  const answers: (string | undefined)[][] = [];
  let asking = true;
  const user = (async () => {
    while (asking) answers.push(await mesh.best());
  })();
  door.open();
  expect(await mesh.ended(job)).toMatchObject({ state: "SUCCEEDED", chunks: 4, totalChunks: 4 });
  expect(await mesh.best()).toEqual(["b", "b"]);
  asking = false;
  await user;
  // Never nothing, and never back.
  const firstNew = answers.findIndex(([one]) => one === "b");
  for (const [i, answer] of answers.entries()) expect(answer).toEqual(i < firstNew ? ["a", expect.stringMatching(/[ab]/)] : ["b", "b"]);
  expect(await store.getCollection(mesh.collection)).toMatchObject({ epoch: epoch + 2, settings: { embeddingModel: NEW } });

  // A job that was queued before the switch goes on with the new model.
  await mesh.ended(await mesh.ingest({ e: "epsilon beta" }));
  expect(mesh.asked).toContain("epsilon beta");
  expect((await mesh.reembed(NEW, "key")).state).toBe("SUCCEEDED");
});

test("an ingestion that is embedding when the model changes embeds again with the new one", async () => {
  const [begun, door] = [gate(), gate()];
  const mesh = await startMesh(undefined, (texts) => {
    if (texts[0] !== "beta") return undefined;
    begun.open();
    return door.passed;
  });
  await mesh.ended(await mesh.ingest({ a: "alpha" }));
  const ingestion = await mesh.ingest({ b: "beta" });
  await begun.passed;
  expect(await mesh.ended(await mesh.reembed())).toMatchObject({ state: "SUCCEEDED", chunks: 1 });
  door.open();
  expect(await mesh.ended(ingestion)).toMatchObject({ state: "SUCCEEDED", doneDocuments: 1, failedDocuments: 0 });
  expect(await mesh.best()).toEqual(["b", "b"]);
  expect(mesh.asked).toContain("beta");
});

test("one that is cancelled on the way leaves the old model", async () => {
  const begun = gate();
  const mesh = await startMesh((texts, signal) => {
    if (texts.length === 1) return undefined;
    begun.open();
    return new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
  });
  await mesh.ended(await mesh.ingest({ a: "alpha", b: "beta" }));
  const job = await mesh.reembed();
  await begun.passed;
  await store.cancelJob(tenant, job.id, new Date());
  expect((await store.getJob(tenant, job.id))!.state).toBe("CANCELLED");
  expect(await mesh.best()).toEqual(["a", "a"]);
});

test("a model that answers something else on the way fails the job, which says why, and the old one answers", async () => {
  const mesh = await startMesh((texts) => {
    if (texts.length > 1) throw new EmbeddingError("WRONG_DIMENSION", "3 components instead of 8");
  });
  await mesh.ended(await mesh.ingest({ a: "alpha", b: "beta" }));
  const job = await mesh.ended(await mesh.reembed());
  expect(job).toMatchObject({ state: "FAILED", failures: [{ documentId: "", reason: "EMBEDDING_FAILED", message: "3 components instead of 8" }] });
  expect(await mesh.best()).toEqual(["a", "a"]);
});

test.each([
  { name: "that is unknown", model: "unknown", before: () => {}, code: Code.InvalidArgument, reason: "UNKNOWN_EMBEDDING_MODEL", says: "known: static-256, new-model" },
  { name: "that the collection has", model: OLD, before: () => {}, code: Code.InvalidArgument, reason: "SAME_EMBEDDING_MODEL", says: "name another" },
  {
    name: "of another dimension than configured",
    model: NEW,
    before: () => { throw new EmbeddingError("WRONG_DIMENSION", "3 components instead of 8"); },
    code: Code.FailedPrecondition,
    reason: "EMBEDDING_FAILED",
    says: "3 components instead of 8",
  },
  { name: "that is away", model: NEW, before: () => { throw new Error("connect to 10.0.0.1"); }, code: Code.FailedPrecondition, reason: "EMBEDDING_FAILED", says: "cannot be reached" },
])("a model $name is refused at once", async ({ model, before, code, reason, says }) => {
  const mesh = await startMesh(before);
  const error = await failureOf(mesh.reembed(model));
  expect([error.code, reasonOf(error)]).toEqual([code, reason]);
  expect(error.message).toContain(says);
  expect(error.message).not.toContain("10.0.0.1");
  expect(await store.listJobs(tenant, mesh.collection.id, { limit: 9 })).toEqual([]);
});

test("runs are cut and joined into batches of a size", () => {
  const runs = [{ first: 1, count: 5 }, { first: 10, count: 1 }, { first: 20, count: 4 }];
  expect([...batchesOf(runs, 3)]).toEqual([
    [{ first: 1, count: 3 }],
    [{ first: 4, count: 2 }, { first: 10, count: 1 }],
    [{ first: 20, count: 3 }],
    [{ first: 23, count: 1 }],
  ]);
  expect([...batchesOf([], 3)]).toEqual([]);
});
