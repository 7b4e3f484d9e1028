import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { create } from "@bufbuild/protobuf";
import { InlineDocumentSchema } from "../../../gen/ragents/rag/v1/rag_pb.js";
import { systemClock } from "../../../runtime/clock.js";
import { loadStaticEmbedder } from "../../../runtime/embedding/static-embedder.js";
import type { Viewer } from "../../../runtime/identity/viewer.js";
import { silentLogger } from "../../../runtime/logger.js";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { openPglite } from "../../../runtime/sql/pglite.js";
import { Analyzer } from "../../../runtime/terms/terms.js";
import { JobStarter } from "../ingestion/start-job.js";
import { IngestionWorker } from "../ingestion/worker.js";
import { withDefaults } from "../settings.js";
import { openSqlStore } from "../store/sql-store.js";
import { Arranger } from "../ranking/arranger.js";
import type { CollectionRecord, IndexStore, RagStore } from "../store/store.js";
import { SearchIndexes } from "./search-indexes.js";
import { Retriever } from "./retriever.js";
import { ThreadedCutter } from "../cutting/cutter.js";

let db: SqlDatabase;
let store: RagStore;
let worker: IngestionWorker;

beforeAll(async () => {
  db = await openPglite();
  store = await openSqlStore(db);
  const embedder = await loadStaticEmbedder();
  worker = new IngestionWorker({
    cutter: new ThreadedCutter(),
    store,
    clock: systemClock,
    logger: silentLogger,
    toolsFor: () => ({ embedder, analyzer: new Analyzer("english") }),
    embedderFor: () => embedder,
    onChange: () => {},
    onIndexed: () => {},
  });
  worker.start();
});

afterAll(async () => {
  await worker.stop();
  await db.close();
});

let made = 0;
async function collectionOf(documents: Record<string, { text: string; readers?: string[] }>): Promise<CollectionRecord> {
  made += 1;
  const collection = (await store.createCollection({ tenant: "t", id: `c${made}` }, withDefaults({}), new Date()))!;
  return ingest(collection, documents);
}

async function ingest(collection: CollectionRecord, documents: Record<string, { text: string; readers?: string[] }>): Promise<CollectionRecord> {
  const starter = new JobStarter({ store, clock: systemClock, folders: [], onQueued: () => worker.wake() });
  const inline = Object.entries(documents).map(([id, document]) => create(InlineDocumentSchema, { id, ...document }));
  const { id } = await starter.ingestInline({ collection, metadata: {}, readers: [], idempotencyKey: "" }, inline);
  await expect.poll(async () => (await store.getJob("t", id))!.state, { timeout: 20_000 }).toBe("SUCCEEDED");
  return (await store.getCollection(collection))!;
}

async function replica(options: { store?: IndexStore; budgetBytes?: number } = {}): Promise<{ retriever: Retriever; indexes: SearchIndexes }> {
  const embedder = await loadStaticEmbedder();
  const own = options.store ?? store;
  const indexes = new SearchIndexes(own, { budgetBytes: options.budgetBytes ?? 1e9, dimensionOf: () => 256 });
  const arranger = new Arranger({ store: own, rerankers: new Map(), onRerankFailed: () => {} });
  return { indexes, retriever: new Retriever({ store: own, arranger, indexes, embedderFor: () => embedder, analyzerFor: () => new Analyzer("english") }) };
}

async function found({ retriever }: { retriever: Retriever }, collection: CollectionRecord, query: string, viewer?: Viewer): Promise<string[]> {
  const { chunks } = await retriever.retrieve(collection, viewer, { query, topK: 10, mode: "keyword", filters: undefined });
  return chunks.map(({ document }) => document.id).sort();
}

describe("a replica", () => {
  test("answers from what others committed, at once", async () => {
    const one = await replica();
    const two = await replica();
    let collection = await collectionOf({ a: { text: "red apples" } });
    expect(await found(one, collection, "apples")).toEqual(["a"]);
    collection = await ingest(collection, { a: { text: "green pears" }, b: { text: "yellow apples" } });
    expect(await found(one, collection, "apples")).toEqual(["b"]);
    expect(await found(two, collection, "pears")).toEqual(["a"]);
    await store.deleteDocument(collection.uid, undefined, "b", new Date());
    collection = (await store.getCollection(collection))!;
    expect(await found(one, collection, "apples")).toEqual([]);
    expect(await found(two, collection, "apples")).toEqual([]);
  });

  test("reads what was merged away meanwhile from what took its place", async () => {
    const collection = await collectionOf({ a: { text: "red apples" } });
    const asked: number[] = [];
    const merging: IndexStore = {
      ...store,
      async readSegment(uid, segment) {
        asked.push(segment);
        // The first time the segment is gone: another replica has merged it since the manifest was read.
        return asked.length === 1 ? undefined : store.readSegment(uid, segment);
      },
    };
    expect(await found(await replica({ store: merging }), collection, "apples")).toEqual(["a"]);
    expect(asked.length).toBeGreaterThan(1);
  });

  test("searches once more when a hit is deleted before its text is read", async () => {
    const collection = await collectionOf({ a: { text: "red apples" }, b: { text: "apples and apples" } });
    let first = true;
    const deleting: IndexStore = {
      ...store,
      async readChunks(uid, viewer, ids) {
        if (first) await store.deleteDocument(uid, undefined, "b", new Date());
        first = false;
        return store.readChunks(uid, viewer, ids);
      },
    };
    expect(await found(await replica({ store: deleting }), collection, "apples")).toEqual(["a"]);
  });

  test("reads the texts that it finds again once an epoch, and those that not everyone may read each time", async () => {
    let collection = await collectionOf({ a: { text: "red apples" }, b: { text: "green apples" } });
    const read: number[] = [];
    const counting: IndexStore = { ...store, readChunks: (uid, viewer, ids) => (read.push(ids.length), store.readChunks(uid, viewer, ids)) };
    const one = await replica({ store: counting });
    for (const query of ["red", "apples", "green", "apples"]) await found(one, collection, query);
    expect(read).toEqual([1, 1]);
    collection = await ingest(collection, { a: { text: "red apples", readers: ["user:ada"] } });
    const readers: Viewer[] = [["user:ada"], ["user:bob"], undefined, ["user:bob"]];
    const answers = [];
    for (const viewer of readers) answers.push(await found(one, collection, "apples", viewer));
    expect(answers).toEqual([["a", "b"], ["b"], ["a", "b"], ["b"]]);
    expect(read).toEqual([1, 1, 2, 1, 2, 1]);
  });

  test("keeps within its memory by dropping what was asked least recently", async () => {
    const collections = [];
    for (let n = 0; n < 4; n += 1) collections.push(await collectionOf({ a: { text: `apples number ${n}` } }));
    const large = await replica();
    for (const collection of collections) await found(large, collection, "apples");
    const each = large.indexes.byteLength / collections.length;
    const small = await replica({ budgetBytes: each * 2.5 });
    for (const collection of [...collections, ...collections]) expect(await found(small, collection, "apples")).toEqual(["a"]);
    expect(small.indexes.byteLength).toBeLessThanOrEqual(each * 2.5);
    expect(small.indexes.byteLength).toBeGreaterThan(each);
  });
});

test("a collection larger than the memory answers as one that is loaded", async () => {
  const collection = await collectionOf(Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`d${i}`, { text: `apple number ${i} `.repeat(i + 1) }])));
  const [loaded, unloaded] = [await replica(), await replica({ budgetBytes: 0 })];
  for (const mode of ["hybrid", "keyword", "semantic"] as const) {
    const question = { query: "apple number 7", topK: 8, mode, filters: undefined };
    const answer = await unloaded.retriever.retrieve(collection, undefined, question);
    expect(answer.chunks).toHaveLength(8);
    expect(answer).toEqual(await loaded.retriever.retrieve(collection, undefined, question));
  }
  expect(unloaded.indexes.byteLength).toBeLessThan(loaded.indexes.byteLength / 10);
});

describe("an access list", () => {
  test("holds before the cut to k", async () => {
    const documents = Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`d${i}`, { text: "apples", readers: i < 3 ? ["user:ada"] : ["user:bob"] }]));
    const collection = await collectionOf({ ...documents, open: { text: "apples" } });
    const one = await replica();
    expect(await found(one, collection, "apples", ["user:ada"])).toEqual(["d0", "d1", "d2", "open"]);
    expect(await found(one, collection, "apples", [])).toEqual(["open"]);
    expect(await found(one, collection, "apples", ["user:bob"])).toHaveLength(10);
    expect(await found(one, collection, "apples", undefined)).toHaveLength(10);
  });

  test("that came after the collection was read holds too", async () => {
    const before = await collectionOf({ a: { text: "red apples" }, b: { text: "green apples" } });
    const one = await replica();
    await ingest(before, { a: { text: "red apples", readers: ["user:ada"] } });
    expect(before.restrictedCount).toBe(0);
    expect(await found(one, before, "apples", ["user:bob"])).toEqual(["b"]);
    expect(await found(one, before, "apples", ["user:ada"])).toEqual(["a", "b"]);
  });
});
