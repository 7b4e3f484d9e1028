import { mkdtemp, realpath, rm, unlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from "vitest";
import { InlineDocumentSchema } from "../../../gen/ragents/rag/v1/rag_pb.js";
import { backgroundCall, runInCall } from "../../../runtime/call-context.js";
import { systemClock } from "../../../runtime/clock.js";
import type { Embedder } from "../../../runtime/embedding/embedder.js";
import { silentLogger } from "../../../runtime/logger.js";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { openPglite } from "../../../runtime/sql/pglite.js";
import { Analyzer } from "../../../runtime/terms/terms.js";
import { memoryCache } from "../../../tests/support/memory-cache.js";
import { cachedEmbedder } from "../cached-embedder.js";
import { ThreadedCutter } from "../cutting/cutter.js";
import { withDefaults } from "../settings.js";
import { openSqlStore } from "../store/sql-store.js";
import type { CollectionRecord, JobRecord, RagStore } from "../store/store.js";
import { JobStarter } from "./start-job.js";
import { IngestionWorker } from "./worker.js";

const tenant = "tenant";
const cutter = new ThreadedCutter();
/** What the model was given, since the last look. */
const embedded: string[] = [];
const model: Embedder = {
  model: "static-256",
  dimension: 4,
  embed: async (texts) => {
    embedded.push(...texts);
    return texts.map(() => Float32Array.from([1, 0, 0, 0]));
  },
};
let db: SqlDatabase;
let store: RagStore;
let root: string;
let collection: CollectionRecord;
let worker: IngestionWorker;
let starter: JobStarter;

beforeAll(async () => {
  db = await openPglite();
  store = await openSqlStore(db);
  root = await realpath(await mkdtemp(join(tmpdir(), "incremental-")));
  collection = (await store.createCollection({ tenant, id: "c" }, withDefaults({ chunkSize: 100, chunkOverlap: 0 }), new Date()))!;
  const embedder = cachedEmbedder(model, memoryCache(), () => systemClock.monotonic());
  const analyzer = new Analyzer("english");
  worker = new IngestionWorker({
    cutter,
    store,
    clock: systemClock,
    logger: silentLogger,
    toolsFor: () => ({ embedder, analyzer }),
    embedderFor: () => embedder,
    onChange: () => {},
    onIndexed: () => {},
  });
  starter = new JobStarter({ store, clock: systemClock, folders: [{ path: root, idPrefix: "" }], pathTenants: [tenant], onQueued: () => worker.wake() });
  worker.start();
});
afterAll(async () => {
  await worker.stop();
  await cutter.close();
  await db.close();
  await rm(root, { recursive: true });
});

/** Brings the collection in step with the folder, and tells what that took. */
async function sync(metadata = {}): Promise<{ job: JobRecord; embedded: string[]; epochs: number }> {
  return done(() => starter.ingestPath({ collection, metadata, readers: [], idempotencyKey: "" }, root, true));
}

async function done(start: () => Promise<JobRecord>): Promise<{ job: JobRecord; embedded: string[]; epochs: number }> {
  const before = (await store.getCollection(collection))!.epoch;
  embedded.length = 0;
  const { id } = await runInCall(backgroundCall({ tenant }, "test", new AbortController().signal), start);
  await expect.poll(async () => (await store.getJob(tenant, id))!.endTime, { timeout: 10_000 }).toBeDefined();
  const job = (await store.getJob(tenant, id))!;
  expect(job.state).toBe("SUCCEEDED");
  return { job, embedded: [...embedded], epochs: (await store.getCollection(collection))!.epoch - before };
}

const paragraph = (n: number) => `Paragraph ${n} says that the bearing of pump number ${n} is greased every ${n * 100} hours.`;
const text = (numbers: number[]) => numbers.map(paragraph).join("\n\n");

test("only what changed is embedded, and every change moves the epoch once", async () => {
  await writeFile(join(root, "a.txt"), text([1, 2, 3, 4, 5]));
  await writeFile(join(root, "b.txt"), text([11, 12]));
  expect(await sync()).toMatchObject({ embedded: { length: 7 }, epochs: 1 });

  expect(await sync()).toMatchObject({ job: { skippedDocuments: 2 }, embedded: [], epochs: 0 });

  await writeFile(join(root, "a.txt"), text([1, 2, 33, 4, 5]));
  expect(await sync()).toMatchObject({ job: { skippedDocuments: 1, chunks: 5 }, embedded: [paragraph(33)], epochs: 1 });

  expect(await sync({ kind: "manual" })).toMatchObject({ embedded: [], epochs: 1 });
  expect((await store.getDocument(collection.uid, undefined, "a.txt"))!.metadata).toMatchObject({ kind: "manual" });

  await unlink(join(root, "b.txt"));
  expect(await sync({ kind: "manual" })).toMatchObject({ job: { removedDocuments: 1 }, embedded: [], epochs: 1 });
  expect(await store.getCollection(collection)).toMatchObject({ documentCount: 1, chunkCount: 5 });
});

test("of an upload only what changed is read again", async () => {
  const upload = (texts: Record<string, string>) => {
    const documents = Object.entries(texts).map(([id, content]) => create(InlineDocumentSchema, { id, text: content, mimeType: "text/plain" }));
    return done(() => starter.ingestInline({ collection, metadata: {}, readers: [], idempotencyKey: "" }, documents));
  };
  await upload({ u1: text([1]), u2: text([2]) });
  const read = vi.spyOn(store, "readPart");
  onTestFinished(() => read.mockRestore());
  expect(await upload({ u1: text([1]), u2: text([22]) })).toMatchObject({ job: { skippedDocuments: 1 }, embedded: [paragraph(22)], epochs: 1 });
  expect(read.mock.calls.map(([, ordinal, part]) => [ordinal, part])).toEqual([[1, 0]]);
});
