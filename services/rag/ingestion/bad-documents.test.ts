import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { backgroundCall, runInCall } from "../../../runtime/call-context.js";
import { systemClock } from "../../../runtime/clock.js";
import type { Embedder } from "../../../runtime/embedding/embedder.js";
import { loadStaticEmbedder } from "../../../runtime/embedding/static-embedder.js";
import { silentLogger } from "../../../runtime/logger.js";
import type { SqlDatabase } from "../../../runtime/sql/database.js";
import { openPglite } from "../../../runtime/sql/pglite.js";
import { Analyzer } from "../../../runtime/terms/terms.js";
import { ThreadedCutter } from "../cutting/cutter.js";
import { docxOf, pdfOf, wordParagraph } from "../extraction/document-builders.js";
import { withDefaults } from "../settings.js";
import { openSqlStore } from "../store/sql-store.js";
import type { CollectionRecord, JobRecord, RagStore } from "../store/store.js";
import { JobStarter } from "./start-job.js";
import { IngestionWorker } from "./worker.js";

const tenant = "tenant";
const cutter = new ThreadedCutter();
let db: SqlDatabase;
let store: RagStore;
let root: string;
let collection: CollectionRecord;
let made = 0;

beforeAll(async () => {
  db = await openPglite();
  store = await openSqlStore(db);
});
beforeEach(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "bad-")));
  made += 1;
  collection = (await store.createCollection({ tenant, id: `c${made}` }, withDefaults({}), new Date()))!;
  return () => rm(root, { recursive: true });
});
afterAll(async () => {
  await cutter.close();
  await db.close();
});

async function ingest(files: Record<string, string | Uint8Array>, used?: Embedder): Promise<JobRecord> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(join(root, name, ".."), { recursive: true });
    await writeFile(join(root, name), content);
  }
  const embedder = used ?? (await loadStaticEmbedder());
  const worker = new IngestionWorker({
    cutter,
    store,
    clock: systemClock,
    logger: silentLogger,
    toolsFor: () => ({ embedder, analyzer: new Analyzer("english") }),
    embedderFor: () => embedder,
    onChange: () => {},
    onIndexed: () => {},
  });
  const starter = new JobStarter({ store, clock: systemClock, folders: [{ path: root, idPrefix: "" }], pathTenants: [tenant], onQueued: () => worker.wake() });
  const { id } = await runInCall(backgroundCall({ tenant }, "test", new AbortController().signal), () =>
    starter.ingestPath({ collection, metadata: {}, readers: [], idempotencyKey: "" }, root, false),
  );
  worker.start();
  try {
    await expect.poll(async () => (await store.getJob(tenant, id))!.endTime, { timeout: 20_000 }).toBeDefined();
  } finally {
    await worker.stop();
  }
  return (await store.getJob(tenant, id))!;
}

const failuresOf = ({ failures }: JobRecord) => Object.fromEntries(failures.map(({ documentId, reason, message }) => [documentId, { reason, message }]));
const good = { "good.md": "# Pump\n\nThe bearing is greased every 900 hours." };

test("bad files fail alone, each with its reason and what to do; the job goes on", async () => {
  const job = await ingest({
    ...good,
    "encrypted.pdf": pdfOf([["text"]], { encrypted: true }),
    "truncated.pdf": pdfOf([["text"], ["more"]]).subarray(0, 300),
    "pictures.pdf": pdfOf([[], []]),
    "bomb.docx": docxOf(wordParagraph("x".repeat(70_000_000))),
    "deep.json": "[".repeat(10_000) + "]".repeat(10_000),
    "shift-jis.txt": Buffer.from([0x93, 0xfa, 0x96, 0x7b, 0x83, 0x8f]),
    "program.txt": Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0, 1]),
    "open-quote.csv": 'a,b\n"1,2\n3,4\n',
    "empty.md": "",
    "two\nlines.txt": "A name with a line break.",
  });
  expect(job).toMatchObject({ state: "SUCCEEDED", totalDocuments: 11, failedDocuments: 10 });
  const unreadable = (message: RegExp) => ({ reason: "UNREADABLE_DOCUMENT", message: expect.stringMatching(message) });
  expect(failuresOf(job)).toEqual({
    "encrypted.pdf": unreadable(/password/),
    "truncated.pdf": unreadable(/damaged or incomplete/),
    "pictures.pdf": unreadable(/no text.*ocrmypdf/),
    "bomb.docx": { reason: "DOCUMENT_TOO_LARGE", message: expect.stringMatching(/67108864 bytes/) },
    "deep.json": unreadable(/more than 200/),
    "shift-jis.txt": unreadable(/neither UTF-8 nor windows-1252.*iconv/),
    "program.txt": unreadable(/a program/),
    "open-quote.csv": unreadable(/never closed/),
    "empty.md": unreadable(/empty/),
    "two\nlines.txt": unreadable(/control characters; rename/),
  });
  expect((await store.getCollection(collection))!.documentCount).toBe(1);
});

test("odd files that can be read are read", async () => {
  const job = await ingest({
    "one-line.html": `<p>${"The bearing is greased. ".repeat(45_000)}</p>`,
    "ragged.csv": 'a,b\n1\n1,2,3\n5" pipe,x\n',
    "utf16.txt": Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from("The bearing is greased.", "utf16le")]),
    "latin1.txt": Buffer.from("caf\xe9 cr\xe8me", "latin1"),
    "mixed.txt": Buffer.concat([Buffer.from("Überschrift, dann "), Buffer.from("caf\xe9", "latin1")]),
    // Above the size from which texts are read piece by piece.
    "large-latin1.txt": Buffer.from("Der Käse reift im Keller.\n\n".repeat(160_000), "latin1"),
    "thousand-pages.pdf": pdfOf(Array.from({ length: 1_000 }, (_, page) => [`The bearing on page ${page} is greased.`])),
    "..hidden-looking/..name.txt": "Hidden.",
    "sub/..name.txt": "Hidden too.",
    "sub/with space & ümlaut.txt": "A bearing.",
  });
  expect(failuresOf(job)).toEqual({});
  const documents = await store.listDocuments(collection.uid, undefined, { limit: 100 });
  expect(Object.fromEntries(documents.map(({ id, metadata }) => [id, metadata["encoding"] ?? "utf-8"]))).toEqual({
    "large-latin1.txt": "windows-1252",
    "latin1.txt": "windows-1252",
    "mixed.txt": "utf-8, windows-1252",
    "one-line.html": "utf-8",
    "ragged.csv": "utf-8",
    "sub/with space & ümlaut.txt": "utf-8",
    "thousand-pages.pdf": "utf-8",
    "utf16.txt": "utf-16le",
  });
});

test.each([
  { name: "vectors of another dimension", vector: Float32Array.from([1, 0]), message: /2 components.*not 256/ },
  { name: "NaN", vector: new Float32Array(256).fill(NaN), message: /not a number/ },
])("a model that answers $name fails the documents with that reason, at once", async ({ vector, message }) => {
  const embedder: Embedder = { model: "static-256", dimension: 256, embed: async (texts) => texts.map(() => vector) };
  const job = await ingest(good, embedder);
  expect(job.state).toBe("FAILED");
  expect(failuresOf(job)).toEqual({ "good.md": { reason: "EMBEDDING_FAILED", message: expect.stringMatching(message) } });
  expect(await store.getCollection(collection)).toMatchObject({ documentCount: 0, epoch: collection.epoch });
});
