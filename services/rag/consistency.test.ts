import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InlineDocumentSchema } from "../../gen/ragents/rag/v1/rag_pb.js";
import type { Clock } from "../../runtime/clock.js";
import type { Embedder } from "../../runtime/embedding/embedder.js";
import { quantize } from "../../runtime/embedding/quantize.js";
import { silentLogger } from "../../runtime/logger.js";
import type { SqlDatabase, SqlSession } from "../../runtime/sql/database.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { Analyzer } from "../../runtime/terms/terms.js";
import { chunkText } from "./chunking/chunker.js";
import { B, K1 } from "./index/bm25.js";
import type { Mode } from "./index/fusion.js";
import { JobRun, type JobRunDependencies } from "./ingestion/job-run.js";
import { JobStarter } from "./ingestion/start-job.js";
import { Merger } from "./merging/merger.js";
import { ReembeddingRun } from "./reembedding/reembedding-run.js";
import { SearchIndexes } from "./retrieval/search-indexes.js";
import { Retriever } from "./retrieval/retriever.js";
import { withDefaults } from "./settings.js";
import { openSqlStore } from "./store/sql-store.js";
import { Arranger } from "./ranking/arranger.js";
import type { CollectionRecord, RagStore } from "./store/store.js";
import { ThreadedCutter } from "./cutting/cutter.js";

const settings = withDefaults({ chunkSize: 100, chunkOverlap: 0, language: "none" });
const analyzer = new Analyzer("none");
/** The models that a collection can be given, with the dimensions of their vectors. */
const models = new Map([[settings.embeddingModel, 16], ["another", 24]]);
const LEASE_MS = 10_000;

/** A vector that only model and text decide. */
function vectorOf(model: string, text: string): Float32Array {
  const dimension = models.get(model)!;
  const vector = new Float32Array(dimension);
  for (const [i, character] of [...text].entries()) vector[(character.charCodeAt(0) * 7 + i) % dimension]! += Math.sin(character.charCodeAt(0) + i);
  const norm = Math.hypot(...vector);
  return norm === 0 ? vector : vector.map((component) => component / norm);
}

function embedderFor(model: string): Embedder {
  return { model, dimension: models.get(model)!, embed: async (texts) => texts.map((text) => vectorOf(model, text)) };
}

class CrashError extends Error {
  override name = "CrashError";
}

/** A database whose process dies: from the n-th statement on, counted over transactions and their commits, nothing answers any more. */
class MortalDatabase implements SqlDatabase {
  readonly engine;
  readonly #db: SqlDatabase;
  #left = Number.POSITIVE_INFINITY;

  constructor(db: SqlDatabase) {
    this.#db = db;
    this.engine = db.engine;
  }

  /** Dies after so many more statements. */
  dieAfter(statements: number): void {
    this.#left = statements;
  }

  async query<R>(text: string, parameters?: unknown[]): Promise<R[]> {
    this.#count();
    return this.#db.query<R>(text, parameters);
  }

  async transaction<T>(work: (tx: SqlSession) => Promise<T>): Promise<T> {
    this.#count();
    const result = await this.#db.transaction((tx) =>
      work({
        query: async <R>(text: string, parameters?: unknown[]) => {
          this.#count();
          return tx.query<R>(text, parameters);
        },
      }),
    );
    // Committed, but nobody is told any more.
    this.#count();
    return result;
  }

  ping = async () => this.#db.ping();
  close = async () => {};

  #count(): void {
    this.#left -= 1;
    if (this.#left < 0) throw new CrashError("the process is dead");
  }
}

let time = Date.UTC(2026, 0, 1);
const clock: Clock = { now: () => time, monotonic: () => time, sleep: async () => {} };

/** One process of the service: what it holds in memory dies with it. */
async function startProcess(db: SqlDatabase) {
  const mortal = new MortalDatabase(db);
  const store = await openSqlStore(mortal);
  const arranger = new Arranger({ store, rerankers: new Map(), onRerankFailed: () => {} });
  const retrieverWith = (budgetBytes: number) => {
    const indexes = new SearchIndexes(store, { budgetBytes, dimensionOf: (model) => models.get(model)! });
    return new Retriever({ store, arranger, indexes, embedderFor, analyzerFor: () => analyzer });
  };
  return { mortal, store, cutter: new ThreadedCutter(), loaded: retrieverWith(1e9), unloaded: retrieverWith(0), merger: new Merger(store, silentLogger, 2) };
}

type Process = Awaited<ReturnType<typeof startProcess>>;
type Documents = Map<string, string>;

/** What is in the collection, by the documents' own rows. */
async function storedDocuments(store: RagStore, collection: CollectionRecord, written: ReadonlyMap<string, readonly string[]>): Promise<Documents> {
  const documents: Documents = new Map();
  for (const { id, metadata } of await store.listDocuments(collection.uid, undefined, { limit: 1_000 })) {
    documents.set(id, written.get(id)![Number(metadata["version"])]!);
  }
  return documents;
}

async function runJobs(process: Process): Promise<void> {
  for (;;) {
    time += 1_000;
    const claimed = await process.store.claimJob(randomUUID(), new Date(time), new Date(time + LEASE_MS));
    if (claimed === undefined) return;
    const deps: JobRunDependencies = {
      store: process.store,
      clock,
      logger: silentLogger,
      cutter: process.cutter,
      toolsFor: ({ collection }) => ({ embedder: embedderFor(collection.settings.embeddingModel), analyzer }),
      embedderFor,
      onChange: () => {},
      onIndexed: () => {},
    };
    const { signal } = new AbortController();
    const { targetModel } = claimed.job;
    await (targetModel === undefined ? new JobRun(claimed, deps, signal) : new ReembeddingRun(claimed, targetModel, deps, signal)).run();
  }
}

interface Reference {
  key: string;
  bm25: number;
  cosine: number;
}

/** Every chunk scored as the formulas say, nothing cleverer. */
function bruteForce(documents: Documents, model: string, query: string): Reference[] {
  const chunks = [...documents].flatMap(([id, text]) =>
    chunkText(text, { size: settings.chunkSize, overlap: 0, structure: "plain" }).map((chunk, i) => ({ key: `${id}#${i}`, text: chunk.text, terms: analyzer.terms(chunk.text) })),
  );
  const average = chunks.reduce((sum, { terms }) => sum + terms.length, 0) / chunks.length;
  const question = vectorOf(model, query);
  return chunks.map(({ key, text, terms }) => {
    let bm25 = 0;
    for (const term of analyzer.terms(query)) {
      const df = chunks.filter((other) => other.terms.includes(term)).length;
      const tf = terms.filter((other) => other === term).length;
      if (tf > 0) bm25 += (Math.log(1 + (chunks.length - df + 0.5) / (df + 0.5)) * tf * (K1 + 1)) / (tf + K1 * (1 - B + (B * terms.length) / average));
    }
    const { values, scale } = quantize(vectorOf(model, text));
    const cosine = values.reduce((sum, value, i) => sum + value * scale * question[i]!, 0);
    return { key, bm25, cosine };
  });
}

async function expectExact(process: Process, collection: CollectionRecord, documents: Documents, query: string): Promise<void> {
  const current = (await process.store.getCollection(collection))!;
  const reference = bruteForce(documents, current.settings.embeddingModel, query);
  expect(current).toMatchObject({ documentCount: documents.size, chunkCount: reference.length });
  const ask = (retriever: Retriever, mode: Mode, topK = 10, of = current) => retriever.retrieve(of, undefined, { query, topK, mode, filters: undefined });
  for (const topK of [1, 7]) expect(await ask(process.unloaded, "hybrid", topK)).toEqual(await ask(process.loaded, "hybrid", topK));
  // A question that began when the collection was as it was created, with the model that it had then.
  expect(await ask(process.loaded, "semantic", 7, collection)).toEqual(await ask(process.loaded, "semantic", 7));
  for (const [mode, retriever] of [["keyword", process.loaded], ["semantic", process.loaded], ["keyword", process.unloaded], ["semantic", process.unloaded]] as const) {
    const score = (one: Reference) => (mode === "keyword" ? one.bm25 : one.cosine);
    const { chunks } = await ask(retriever, mode);
    const best = reference.filter((one) => mode === "semantic" || one.bm25 > 0).sort((a, b) => score(b) - score(a)).slice(0, 10);
    const top = best[0] === undefined ? 1 : mode === "keyword" ? best[0].bm25 : 1;
    expect(chunks).toHaveLength(best.length);
    const byKey = new Map(reference.map((one) => [one.key, one]));
    chunks.forEach((chunk, place) => {
      const found = byKey.get(`${chunk.document.id}#${chunk.ordinal}`)!;
      expect(chunk.score).toBeCloseTo(score(found) / top, mode === "keyword" ? 9 : 3);
      expect(score(found) / top).toBeCloseTo(score(best[place]!) / top, mode === "keyword" ? 9 : 3);
    });
  }
}

const words = ["pump", "valve", "seal", "grease", "bearing", "relief", "motor", "hour", "bar", "lithium"];
const text = fc.array(fc.constantFrom(...words), { minLength: 1, maxLength: 60 }).map((list) => list.join(" "));
const id = fc.constantFrom("a", "b", "c", "d", "e", "f");
const crash = fc.option(fc.integer({ min: 0, max: 40 }), { nil: undefined, freq: 2 });

const action = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("ingest" as const), documents: fc.dictionary(id, text, { minKeys: 1, maxKeys: 4 }), crash }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), id, crash }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("reembed" as const), crash }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("merge" as const), meanwhile: fc.option(id), crash }) },
);

describe("whatever is added, deleted, merged and re-embedded, and whenever a process dies on the way", () => {
  let db: SqlDatabase;
  beforeAll(async () => {
    db = await openPglite();
  });
  afterAll(() => db.close());

  test("both rankings are those of brute force over the documents that are there", async () => {
    let made = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 4, maxLength: 14 }), fc.constantFrom(...words), async (actions, query) => {
        const survivor = await startProcess(db);
        made += 1;
        const collection = (await survivor.store.createCollection({ tenant: "t", id: `c${made}` }, settings, new Date(time)))!;
        const written = new Map<string, string[]>();
        let process = await startProcess(db);

        for (const step of actions) {
          if (step.crash !== undefined) process.mortal.dieAfter(step.crash);
          try {
            if (step.kind === "ingest") {
              const documents = Object.entries(step.documents).map(([documentId, content]) => {
                const versions = written.get(documentId) ?? [];
                written.set(documentId, [...versions, content]);
                return create(InlineDocumentSchema, { id: documentId, text: content, mimeType: "text/plain", metadata: { version: versions.length } });
              });
              const starter = new JobStarter({ store: process.store, clock, folders: [], onQueued: () => {} });
              await starter.ingestInline({ collection, metadata: {}, readers: [], idempotencyKey: "" }, documents);
              await runJobs(process);
            } else if (step.kind === "delete") {
              await process.store.deleteDocument(collection.uid, undefined, step.id, new Date(time));
            } else if (step.kind === "reembed") {
              const { settings: { embeddingModel } } = (await process.store.getCollection(collection))!;
              const targetModel = [...models.keys()].find((model) => model !== embeddingModel)!;
              const job = randomUUID();
              await process.store.createJob({ id: job, collection, metadata: {}, readers: [], targetModel }, new Date(time), new Date(time + LEASE_MS));
              await process.store.queueJob(job, "", new Date(0));
              await runJobs(process);
            } else {
              const other = new Merger(survivor.store, silentLogger, 2);
              for (const merger of [process.merger, other]) merger.consider(collection.uid);
              if (step.meanwhile !== null) await survivor.store.deleteDocument(collection.uid, undefined, step.meanwhile, new Date(time));
              await Promise.all([process.merger.stop(), other.stop()]);
            }
          } catch {
            // Whatever it says: the process that says it is dead.
          }
          if (step.crash !== undefined || step.kind === "merge") process = await startProcess(db);
          // Half way through a job, and after it: what is seen is whole.
          await expectExact(survivor, collection, await storedDocuments(survivor.store, collection, written), query);
          time += 2 * LEASE_MS;
          await runJobs(process);
          await expectExact(survivor, collection, await storedDocuments(survivor.store, collection, written), query);
        }
        await expectExact(process, collection, await storedDocuments(survivor.store, collection, written), `${query} grease motor`);
      }),
      { numRuns: 30 },
    );
  }, 120_000);
});
