import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { JsonObject, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createRagClient, type RagClient, uploadFiles } from "../../clients/rag/index.js";
import { type Job, JobState } from "../../gen/ragents/rag/v1/rag_pb.js";
import type { UploadDocumentsRequestSchema } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { systemClock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import { silentLogger } from "../../runtime/logger.js";
import { createMetrics } from "../../runtime/metrics.js";
import type { RunningService } from "../../runtime/service.js";
import { startRagService } from "./service.js";

let root: string;
let web: Server;
/** Pages by their paths, and what they were asked for with. */
const pages = new Map<string, { status?: number; headers?: Record<string, string>; body?: string | Buffer }>();
const asked: IncomingMessage[] = [];
let service: RunningService;
let client: RagClient;

beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), "rag-service-")));
  web = createServer((request, response) => {
    asked.push(request);
    const { status = 200, headers = {}, body = "" } = pages.get(request.url!) ?? { status: 404 };
    const isKnown = headers["etag"] !== undefined && request.headers["if-none-match"] === headers["etag"];
    response.writeHead(isKnown ? 304 : status, headers).end(isKnown ? undefined : body);
  });
  await new Promise<void>((listening) => web.listen(0, "127.0.0.1", listening));
  service = await startRagService(
    {
      RAGENTS_RAG_PORT: "0",
      RAGENTS_RAG_URL: "memory:",
      RAGENTS_INGEST_ROOTS: root,
      RAGENTS_INGEST_URLS: `http:${(web.address() as AddressInfo).port}`,
      RAGENTS_INGEST_URL_PRIVATE_HOSTS: `127.0.0.1:${(web.address() as AddressInfo).port}`,
    },
    { logger: silentLogger, metrics: createMetrics(), clock: systemClock },
  );
  client = createRagClient({ address: service.address });
});

afterAll(async () => {
  client.close();
  await service.stop(1_000);
  web.close();
  await rm(root, { recursive: true });
});

let made = 0;
async function newCollection(): Promise<string> {
  made += 1;
  const id = `collection-${made}`;
  await client.createCollection({ id });
  return id;
}

async function ended(job: Job | undefined): Promise<Job> {
  let last = job;
  for await (const update of client.watchJob({ job: job!.id })) last = update.job;
  return last!;
}

async function ingest(collection: string, documents: Record<string, string>): Promise<Job> {
  const { job } = await client.ingestDocuments({ collection, documents: Object.entries(documents).map(([id, text]) => ({ id, text })) });
  return ended(job);
}

async function ingestPath(collection: string, path: string): Promise<Job> {
  return ended((await client.ingestDocuments({ collection, path })).job);
}

async function write(files: Record<string, string | Uint8Array>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), content);
  }
}

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  return call.then(
    () => expect.fail("the call succeeded"),
    (error: unknown) => ConnectError.from(error),
  );
}

async function idsFound(collection: string, query: string): Promise<string[]> {
  const { hits } = await client.retrieve({ collection, query, mode: "keyword" });
  return hits.map(({ documentId }) => documentId);
}

describe("collections", () => {
  test("default is there from the start and stays", async () => {
    const { collection } = await client.getCollection({ collection: "default" });
    expect(collection).toMatchObject({ id: "default", settings: { chunkSize: 1000, chunkOverlap: 200, embeddingModel: "static-256", language: "english" } });
    expect(reasonOf(await failure(client.deleteCollection({ collection: "default" })))).toBe("COLLECTION_PROTECTED");
    expect(reasonOf(await failure(client.createCollection({ id: "default" })))).toBe("COLLECTION_EXISTS");
  });

  test("are listed page by page", async () => {
    for (const id of ["page-a", "page-b", "page-c"]) await client.createCollection({ id });
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await client.listCollections({ pageSize: 2, pageToken });
      expect(page.collections.length).toBeLessThanOrEqual(2);
      seen.push(...page.collections.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual([...seen].sort());
    expect(seen).toEqual(expect.arrayContaining(["default", "page-a", "page-b", "page-c"]));
    expect(reasonOf(await failure(client.listCollections({ pageToken: "nonsense" })))).toBe("INVALID_PAGE_TOKEN");
  });

  test("that were deleted are gone with their documents, and their epoch goes on under the same id", async () => {
    const id = await newCollection();
    await ingest(id, { a: "The pump needs grease." });
    const before = (await client.getCollection({ collection: id })).collection!;
    await client.deleteCollection({ collection: id });
    expect(reasonOf(await failure(client.retrieve({ collection: id, query: "pump" })))).toBe("COLLECTION_NOT_FOUND");
    await client.createCollection({ id });
    const after = (await client.getCollection({ collection: id })).collection!;
    expect(after.documentCount).toBe(0n);
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect(await idsFound(id, "pump")).toEqual([]);
  });

  test.each([
    { settings: { chunkSize: 99 }, field: "chunk_size must be from 100 to 8000 characters or from 16 to 2000 tokens" },
    { settings: { chunkSize: 2_001, chunkUnit: "tokens" }, field: "chunk_size must be from 100" },
    { settings: { chunkSize: 15, chunkUnit: "tokens" }, field: "settings.chunk_size" },
    { settings: { chunkOverlap: 126, chunkUnit: "tokens" }, field: "chunk_overlap" },
    { settings: { chunkUnit: "words" }, field: "settings.chunk_unit" },
    { settings: { chunkSize: 200, chunkOverlap: 101 }, field: "settings" },
    { settings: { embeddingModel: "nothing" }, field: "settings.embedding_model" },
  ])("with $settings are refused naming $field", async ({ settings, field }) => {
    const error = await failure(client.createCollection({ id: "bad", settings }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain(field);
  });
});

test("a collection's chunks are as large as its settings say, in tokens too", async () => {
  const { collection } = await client.createCollection({ id: "tokens", settings: { chunkUnit: "tokens", chunkSize: 32, chunkOverlap: 0 } });
  expect(collection!.settings).toMatchObject({ chunkUnit: "tokens", chunkSize: 32, chunkOverlap: 0 });
  const { collection: plain } = await client.createCollection({ id: "tokens-by-default", settings: { chunkUnit: "tokens" } });
  expect(plain!.settings).toMatchObject({ chunkUnit: "tokens", chunkSize: 250, chunkOverlap: 50 });
  await ingest("tokens", { a: "Every nine hundred hours the bearing of the pump is greased with lithium grease. ".repeat(50) });
  const { hits } = await client.retrieve({ collection: "tokens", query: "bearing grease", mode: "keyword", topK: 50 });
  expect(hits).toHaveLength(25);
  for (const { text } of hits) expect(Number((await client.embedTexts({ texts: [text] })).inputTokens)).toBeLessThanOrEqual(32);
});

describe("documents given inline", () => {
  test("are searchable when their job has succeeded", async () => {
    const collection = await newCollection();
    const job = await ingest(collection, {
      "pump.md": "# Pump\n\nThe main bearing needs lithium grease every 900 hours.",
      "valve.md": "# Valve\n\nThe relief valve opens at 16 bar.",
    });
    expect(job).toMatchObject({ state: JobState.SUCCEEDED, totalDocuments: 2n, doneDocuments: 2n, failedDocuments: 0n, chunks: 2n });
    const { hits, epoch } = await client.retrieve({ collection, query: "When does the bearing need grease?" });
    expect(hits[0]).toMatchObject({ documentId: "pump.md", chunkId: "pump.md#0", source: "pump.md", title: "Pump", headingPath: ["Pump"] });
    expect(epoch).toBe((await client.getCollection({ collection })).collection!.epoch);
    const { document } = await client.getDocument({ collection, document: "pump.md" });
    expect(document).toMatchObject({ id: "pump.md", collection, mimeType: "text/markdown", chunkCount: 1 });
  });

  test("replace what their id stood for", async () => {
    const collection = await newCollection();
    await ingest(collection, { a: "apples are red", b: "pears are green" });
    await ingest(collection, { a: "plums are blue" });
    expect(await idsFound(collection, "apples")).toEqual([]);
    expect(await idsFound(collection, "plums pears")).toEqual(expect.arrayContaining(["a", "b"]));
    expect((await client.getCollection({ collection })).collection).toMatchObject({ documentCount: 2n, chunkCount: 2n });
  });

  test("are left alone when nothing changed, and move the epoch only when something did", async () => {
    const collection = await newCollection();
    const document = { id: "a", text: "The pump runs.", metadata: { kind: "pump" } };
    const epoch = async () => (await client.getCollection({ collection })).collection!.epoch;
    await ended((await client.ingestDocuments({ collection, documents: [document] })).job);
    const first = await epoch();
    expect(await ended((await client.ingestDocuments({ collection, documents: [document] })).job)).toMatchObject({ skippedDocuments: 1n, chunks: 0n });
    expect(await epoch()).toBe(first);
    const changed = { ...document, metadata: { kind: "motor" } };
    expect(await ended((await client.ingestDocuments({ collection, documents: [changed] })).job)).toMatchObject({ skippedDocuments: 0n, chunks: 0n });
    expect(await epoch()).toBe(first + 1n);
    expect((await client.getDocument({ collection, document: "a" })).document!.metadata).toEqual({ kind: "motor" });
  });

  test("of one request have different ids", async () => {
    const documents = [{ id: "a", text: "one" }, { id: "a", text: "two" }];
    const error = await failure(client.ingestDocuments({ collection: "default", documents }));
    expect(reasonOf(error)).toBe("DUPLICATE_DOCUMENT");
    expect(error.rawMessage).toContain("documents[1].id");
  });

  test("sent again with the same idempotency key answer the first job", async () => {
    const collection = await newCollection();
    const send = (text: string) => client.ingestDocuments({ collection, documents: [{ id: "a", text }], idempotencyKey: "key" });
    const first = (await send("one")).job!;
    await ended(first);
    expect((await send("two")).job!.id).toBe(first.id);
    expect((await client.listJobs({ collection })).jobs.map(({ id }) => id)).toEqual([first.id]);
  });

  test("are deleted with their chunks", async () => {
    const collection = await newCollection();
    await ingest(collection, { a: "apples are red", "b/c": "pears are green" });
    await client.deleteDocument({ collection, document: "b/c" });
    expect(await idsFound(collection, "pears")).toEqual([]);
    expect(await idsFound(collection, "apples")).toEqual(["a"]);
    expect(reasonOf(await failure(client.getDocument({ collection, document: "b/c" })))).toBe("DOCUMENT_NOT_FOUND");
    expect(reasonOf(await failure(client.deleteDocument({ collection, document: "b/c" })))).toBe("DOCUMENT_NOT_FOUND");
    expect((await client.getCollection({ collection })).collection).toMatchObject({ documentCount: 1n, chunkCount: 1n });
  });

  test("are deleted by a filter, all at once", async () => {
    const collection = await newCollection();
    const documents = ["a", "b", "c"].map((id, year) => ({ id, text: `apples of ${id}`, metadata: { year } }));
    await ended((await client.ingestDocuments({ collection, documents })).job);
    const { epoch } = (await client.getCollection({ collection })).collection!;
    expect(await client.deleteDocuments({ collection, filters: { year: { $gte: 1 } } })).toMatchObject({ deletedDocuments: 2n });
    expect(await idsFound(collection, "apples")).toEqual(["a"]);
    expect(await client.deleteDocuments({ collection, filters: { year: 7 } })).toMatchObject({ deletedDocuments: 0n });
    expect((await client.getCollection({ collection })).collection).toMatchObject({ epoch: epoch + 1n, documentCount: 1n, chunkCount: 1n });
    for (const filters of [{}, undefined]) expect((await failure(client.deleteDocuments({ collection, ...(filters && { filters }) }))).rawMessage).toContain("filters");
    expect(reasonOf(await failure(client.deleteDocuments({ collection, filters: { year: { $near: 1 } } })))).toBe("INVALID_FILTER");
    expect((await client.getCollection({ collection })).collection!.documentCount).toBe(1n);
  });
});

describe("pages of the web", () => {
  const url = (path: string) => `http://127.0.0.1:${(web.address() as AddressInfo).port}${path}`;
  const ingestUrls = async (collection: string, ...paths: string[]) => ended((await client.ingestDocuments({ collection, urls: paths.map(url) })).job);

  test("are fetched by the job, read as what their server says they are, and found", async () => {
    const collection = await newCollection();
    pages.set("/pump", { headers: { "content-type": "text/html; charset=iso-8859-1" }, body: Buffer.from("<head><title>Pump</title></head><p>Größere Pumpen brauchen Fett.", "latin1") });
    pages.set("/notes.md", { headers: { "content-type": "application/octet-stream" }, body: "# Valves\n\nThe valve opens at ninety bar." });
    pages.set("/old", { status: 301, headers: { location: "/rows" } });
    pages.set("/rows", { headers: { "content-type": "text/csv" }, body: "part,hours\nseal,900\n" });
    const job = await ingestUrls(collection, "/pump#top", "/notes.md", "/old");
    expect(job).toMatchObject({ state: JobState.SUCCEEDED, totalDocuments: 3n, failedDocuments: 0n });
    const { documents } = await client.listDocuments({ collection });
    expect(documents.map(({ id, source, title, mimeType, metadata }) => ({ id, source, title, mimeType, metadata }))).toEqual([
      { id: url("/notes.md"), source: url("/notes.md"), title: "Valves", mimeType: "text/markdown", metadata: {} },
      { id: url("/old"), source: url("/old"), title: "", mimeType: "text/csv", metadata: {} },
      { id: url("/pump"), source: url("/pump"), title: "Pump", mimeType: "text/html", metadata: { encoding: "windows-1252" } },
    ]);
    expect(await idsFound(collection, "Größere Pumpen")).toEqual([url("/pump")]);
  });

  test("that did not change are skipped, by what their server says or by their bytes", async () => {
    const collection = await newCollection();
    const tagged = (etag: string, body: string) => pages.set("/tagged", { headers: { "content-type": "text/plain", etag }, body });
    tagged('"1"', "Apples are red.");
    pages.set("/plain", { headers: { "content-type": "text/plain; charset=utf-8" }, body: "Pears are green." });
    const once = () => ingestUrls(collection, "/tagged", "/plain");
    expect(await once()).toMatchObject({ skippedDocuments: 0n, chunks: 2n });
    const { epoch } = (await client.getCollection({ collection })).collection!;
    expect(await once()).toMatchObject({ skippedDocuments: 2n, chunks: 0n });
    expect(asked.findLast(({ url: path }) => path === "/tagged")!.headers["if-none-match"]).toBe('"1"');
    expect((await client.getCollection({ collection })).collection!.epoch).toBe(epoch);
    tagged('"2"', "Apples are yellow.");
    expect(await once()).toMatchObject({ skippedDocuments: 1n, chunks: 1n });
    expect(await idsFound(collection, "yellow")).toEqual([url("/tagged")]);
    expect(await idsFound(collection, "red")).toEqual([]);
    // What is said of a page may change though the page does not.
    await ended((await client.ingestDocuments({ collection, urls: [url("/tagged")], metadata: { kind: "fruit" } })).job);
    expect((await client.getDocument({ collection, document: url("/tagged") })).document!.metadata).toEqual({ kind: "fruit" });
  });

  test("that cannot be read fail alone, each with its reason", async () => {
    const collection = await newCollection();
    pages.set("/good", { headers: { "content-type": "text/plain" }, body: "Good." });
    pages.set("/picture", { headers: { "content-type": "image/png" }, body: Buffer.from("\x89PNG", "latin1") });
    pages.set("/elsewhere", { status: 302, headers: { location: "http://127.0.0.1:1/" } });
    const job = await ingestUrls(collection, "/good", "/missing", "/picture", "/elsewhere");
    expect(job).toMatchObject({ state: JobState.SUCCEEDED, failedDocuments: 3n });
    expect(Object.fromEntries(job.failures.map(({ documentId, reason, message }) => [new URL(documentId).pathname, [reason, message]]))).toEqual({
      "/missing": ["FETCH_FAILED", expect.stringContaining("404")],
      "/picture": ["UNREADABLE_DOCUMENT", expect.stringContaining("image/png")],
      "/elsewhere": ["URL_NOT_ALLOWED", expect.stringContaining("not http:1")],
    });
  });

  test("are refused at once where that can be told", async () => {
    const refusal = async (...urls: string[]) => reasonOf(await failure(client.ingestDocuments({ collection: "default", urls })));
    expect(await refusal("http://10.0.0.1/")).toBe("URL_NOT_ALLOWED");
    expect(await refusal(url("/").replace("//", "//user:secret@"))).toBe("URL_NOT_ALLOWED");
    expect(await refusal("https://localhost:1/")).toBe("URL_NOT_ALLOWED");
    expect(await refusal(url("/a"), url("/a#b"))).toBe("DUPLICATE_DOCUMENT");
    for (const bad of ["ftp://x.test/", "http://[", "http://x.test/\n"]) expect(await refusal(bad), bad).toBe("INVALID_FIELD");
    expect(await failure(client.ingestDocuments({ collection: "default", urls: [url("/")], path: "x" }))).toMatchObject({ code: Code.InvalidArgument, rawMessage: expect.stringContaining("exactly one of path, documents and urls") });
  });
});

describe("a path of the server", () => {
  test("is ingested with all below it but what is hidden or of an unknown type", async () => {
    const collection = await newCollection();
    await write({
      "tree/readme.md": "# Read me\n\nApples.",
      "tree/deep/er/page.html": "<html><head><title>Page</title></head><body><h1>Page</h1><p>Pears are green.</p></body></html>",
      "tree/.secret/key.txt": "hidden apples",
      "tree/.env": "hidden",
      "tree/logo.png": Buffer.from([0x89, 0x50, 0x4e, 0x47]),
      "tree/node_modules/x/readme.md": "apples of others",
    });
    const job = await ingestPath(collection, "tree");
    expect(job).toMatchObject({ state: JobState.SUCCEEDED, totalDocuments: 2n, doneDocuments: 2n, ignoredFiles: 1n });
    const { documents } = await client.listDocuments({ collection });
    expect(documents.map(({ id, title, mimeType }) => ({ id, title, mimeType }))).toEqual([
      { id: "tree/deep/er/page.html", title: "Page", mimeType: "text/html" },
      { id: "tree/readme.md", title: "Read me", mimeType: "text/markdown" },
    ]);
  });

  test("gives a file the same id alone and in its folder", async () => {
    const collection = await newCollection();
    await write({ "same/one.txt": "one pump" });
    await ingestPath(collection, "same");
    expect(await ingestPath(collection, "same/one.txt")).toMatchObject({ totalDocuments: 1n, skippedDocuments: 1n });
    expect(await ingestPath(collection, join(root, "same"))).toMatchObject({ totalDocuments: 1n, skippedDocuments: 1n });
  });

  test.each(["../", "/etc/passwd", "nowhere", "tree/.secret", "links/out.txt", "/"])("%s is refused without telling what is there", async (path) => {
    await write({ "tree/.secret/key.txt": "x" });
    await mkdir(join(root, "links"), { recursive: true });
    await symlink("/etc/hostname", join(root, "links/out.txt")).catch(() => {});
    const error = await failure(client.ingestDocuments({ collection: "default", path }));
    expect(reasonOf(error)).toBe("PATH_NOT_ALLOWED");
    expect(error.rawMessage).not.toContain(root);
  });

  test("is followed along links inside the allowed folder, never out of it or round in circles", async () => {
    const collection = await newCollection();
    const outside = await mkdtemp(join(tmpdir(), "rag-outside-"));
    await writeFile(join(outside, "secret.txt"), "secret");
    await write({ "linked/real/a.txt": "apples" });
    await symlink(outside, join(root, "linked/out"));
    await symlink("..", join(root, "linked/real/up"));
    await symlink(join(root, "linked/real"), join(root, "linked/alias"));
    const job = await ingestPath(collection, "linked");
    const { documents } = await client.listDocuments({ collection });
    expect(documents.map(({ id }) => id)).toEqual(["linked/alias/a.txt"]);
    expect(job).toMatchObject({ state: JobState.SUCCEEDED, failedDocuments: 0n });
    await rm(outside, { recursive: true });
  });

  test("keeps going past bad files, each with its reason", async () => {
    const collection = await newCollection();
    await write({
      "mixed/good.txt": "good apples",
      "mixed/binary.txt": Buffer.from([0, 1, 2, 3, 0, 255]),
      "mixed/latin.txt": Buffer.from("caf\xe9 au lait", "latin1"),
      "mixed/empty.md": "",
    });
    const job = await ingestPath(collection, "mixed");
    expect(job).toMatchObject({ state: JobState.SUCCEEDED, totalDocuments: 4n, failedDocuments: 2n });
    expect(Object.fromEntries(job.failures.map(({ documentId, reason, message }) => [documentId, [reason, message]]))).toEqual({
      "mixed/binary.txt": ["UNREADABLE_DOCUMENT", expect.stringContaining("binary")],
      "mixed/empty.md": ["UNREADABLE_DOCUMENT", expect.stringContaining("empty")],
    });
    expect(JSON.stringify(job.failures)).not.toContain(root);
    expect(await idsFound(collection, "apples")).toEqual(["mixed/good.txt"]);
    expect(await idsFound(collection, "café")).toEqual(["mixed/latin.txt"]);
  });

  test("that is one file of an unknown type fails saying so", async () => {
    await write({ "logo.png": Buffer.from([0x89, 0x50, 0x4e, 0x47, 0, 0]) });
    const job = await ingestPath(await newCollection(), "logo.png");
    expect(job).toMatchObject({ state: JobState.FAILED, failedDocuments: 1n, failures: [{ documentId: "logo.png", reason: "UNREADABLE_DOCUMENT" }] });
  });
});

describe("a source that is to be kept in step with", () => {
  const idsOf = async (collection: string) => (await client.listDocuments({ collection })).documents.map(({ id }) => id);

  test("takes documents with it whose files are gone from its folder", async () => {
    const collection = await newCollection();
    await write({ "step/a.txt": "apples", "step/sub/b.txt": "pears", "other/c.txt": "plums" });
    await ingestPath(collection, "step");
    await ingestPath(collection, "other");
    await rm(join(root, "step/sub"), { recursive: true });
    expect(await ingestPath(collection, "step")).toMatchObject({ removedDocuments: 0n, skippedDocuments: 1n });
    const { job } = await client.ingestDocuments({ collection, path: "step", sync: true });
    expect(await ended(job)).toMatchObject({ state: JobState.SUCCEEDED, removedDocuments: 1n, skippedDocuments: 1n });
    expect(await idsOf(collection)).toEqual(["other/c.txt", "step/a.txt"]);
    expect(await idsFound(collection, "pears")).toEqual([]);
  });

  test("takes documents with it that an upload does not hold", async () => {
    const collection = await newCollection();
    await ingest(collection, { "up/a.txt": "apples", "up/b.txt": "pears", "c.txt": "plums" });
    const job = await uploadFiles(client, [{ documentId: "up/a.txt", content: Buffer.from("apples") }], { collection, syncPrefix: "up/" });
    expect(await ended(job)).toMatchObject({ removedDocuments: 1n });
    expect(await idsOf(collection)).toEqual(["c.txt", "up/a.txt"]);
  });

  test("is a folder", async () => {
    await write({ "step/a.txt": "apples" });
    for (const request of [{ path: "step/a.txt" }, { documents: [{ id: "a", text: "x" }] }]) {
      const error = await failure(client.ingestDocuments({ collection: "default", ...request, sync: true }));
      expect(error.code).toBe(Code.InvalidArgument);
      expect(error.rawMessage).toContain("sync");
    }
  });
});

test("documents tell who may read them, by themselves or by their job", async () => {
  const collection = await newCollection();
  const documents = [{ id: "a", text: "apples", readers: ["user:bob", "user:ada", "user:bob"] }, { id: "b", text: "pears" }];
  await ended((await client.ingestDocuments({ collection, documents, readers: ["role:writer"] })).job);
  const found = (await client.listDocuments({ collection })).documents;
  expect(found.map(({ id, readers }) => [id, readers])).toEqual([["a", ["user:ada", "user:bob"]], ["b", ["role:writer"]]]);
  expect((await client.getCollection({ collection })).collection!.restrictedDocumentCount).toBe(2n);
  const again = [{ ...documents[0]!, readers: [] }, documents[1]!];
  expect(await ended((await client.ingestDocuments({ collection, documents: again })).job)).toMatchObject({ chunks: 0n, skippedDocuments: 0n });
  expect((await client.getCollection({ collection })).collection!.restrictedDocumentCount).toBe(0n);
  const error = await failure(client.ingestDocuments({ collection, documents: [{ id: "a", text: "x", readers: ["ada"] }] }));
  expect(error.rawMessage).toContain("documents[0].readers[0]");
});

describe("an upload", () => {
  test("of streams and bytes becomes a job", async () => {
    const collection = await newCollection();
    const long = Buffer.from("The pump runs. ".repeat(100_000));
    const job = await uploadFiles(
      client,
      [
        { documentId: "a.md", content: Buffer.from("# A\n\nApples."), metadata: { kind: "fruit" } },
        {
          documentId: "long.txt",
          content: async function* () {
            for (let at = 0; at < long.length; at += 100_000) yield long.subarray(at, at + 100_000);
          },
        },
      ],
      { collection, metadata: { batch: 7 } },
    );
    expect(await ended(job)).toMatchObject({ state: JobState.SUCCEEDED, totalDocuments: 2n, totalBytes: BigInt(long.length + 12), doneBytes: BigInt(long.length + 12) });
    expect((await client.getDocument({ collection, document: "a.md" })).document!.metadata).toEqual({ kind: "fruit", batch: 7 });
    expect((await client.getDocument({ collection, document: "long.txt" })).document).toMatchObject({ sizeBytes: BigInt(long.length) });
  });

  test("that breaks leaves nothing behind", async () => {
    const collection = await newCollection();
    const broken = uploadFiles(
      client,
      [
        {
          documentId: "a.txt",
          content: async function* () {
            yield Buffer.from("half");
            throw new Error("the disk is gone");
          },
        },
      ],
      { collection },
    );
    await expect(broken).rejects.toThrow();
    expect((await client.listJobs({ collection })).jobs).toEqual([]);
    expect((await client.listDocuments({ collection })).documents).toEqual([]);
  });

  test("that ends without its end message leaves nothing behind", async () => {
    const collection = await newCollection();
    async function* messages() {
      yield { part: { case: "header" as const, value: { collection } } };
      yield { part: { case: "file" as const, value: { documentId: "a.txt" } } };
      yield { part: { case: "data" as const, value: Buffer.from("half") } };
    }
    expect(reasonOf(await failure(client.uploadDocuments(messages())))).toBe("UPLOAD_INCOMPLETE");
    expect((await client.listJobs({ collection })).jobs).toEqual([]);
  });

  test.each<{ name: string; parts: MessageInitShape<typeof UploadDocumentsRequestSchema>["part"][] }>([
    { name: "no header", parts: [{ case: "data" as const, value: Buffer.from("x") }] },
    { name: "no file", parts: [{ case: "header" as const, value: { collection: "default" } }, { case: "end" as const, value: {} }] },
    { name: "bytes before a file", parts: [{ case: "header" as const, value: { collection: "default" } }, { case: "data" as const, value: Buffer.from("x") }] },
  ])("with $name is refused", async ({ parts }) => {
    async function* messages() {
      for (const part of parts) yield { part };
    }
    expect((await failure(client.uploadDocuments(messages()))).code).toBe(Code.InvalidArgument);
  });

  test("has ids, not paths: what looks like a path leads nowhere, and control characters are refused", async () => {
    const collection = await newCollection();
    const upload = (documentId: string) => uploadFiles(client, [{ documentId, content: Buffer.from("Apples.") }], { collection });
    await ended(await upload("../../etc/passwd.txt"));
    expect((await client.getDocument({ collection, document: "../../etc/passwd.txt" })).document!.sizeBytes).toBe(7n);
    for (const id of ["a\0b", "a\nb", "\x1b[31m"]) expect((await failure(upload(id))).rawMessage).toContain("document_id");
  });

  test("with one id twice is refused", async () => {
    const files = [1, 2].map((n) => ({ documentId: "a.txt", content: Buffer.from(`text ${n}`) }));
    expect(reasonOf(await failure(uploadFiles(client, files, { collection: "default" })))).toBe("DUPLICATE_DOCUMENT");
  });
});

describe("retrieval", () => {
  test("restricts by metadata before it cuts to k", async () => {
    const collection = await newCollection();
    const documents = Array.from({ length: 60 }, (_, i) => ({
      id: `d${i}`,
      text: `The pump number ${i} needs grease.`,
      metadata: { kind: i % 20 === 0 ? "rare" : "common", number: i },
    }));
    await ended((await client.ingestDocuments({ collection, documents })).job);
    const rare = await client.retrieve({ collection, query: "pump grease", topK: 3, filters: { kind: "rare" } });
    expect(rare.hits.map(({ documentId }) => documentId).sort()).toEqual(["d0", "d20", "d40"]);
    const range = await client.retrieve({ collection, query: "pump grease", topK: 100, filters: { number: { $gte: 50 }, $not: { kind: "rare" } } });
    expect(range.hits).toHaveLength(10);
    // A field that is nowhere, and one of another type, hold for no document; they are no mistakes of the filter.
    for (const filters of [{ colour: "red" }, { number: "50" }, { number: { $gte: "50" } }] as JsonObject[]) {
      expect((await client.retrieve({ collection, query: "pump grease", filters })).hits).toEqual([]);
    }
    await client.deleteDocument({ collection, document: "d20" });
    expect((await client.retrieve({ collection, query: "pump grease", filters: { kind: "rare" } })).hits).toHaveLength(2);
  });

  test("refuses a filter that it cannot understand, and says where", async () => {
    const error = await failure(client.retrieve({ collection: "default", query: "x", filters: { a: { $near: 1 } } }));
    expect(reasonOf(error)).toBe("INVALID_FILTER");
    expect(error.rawMessage).toContain("filters.a.$near");
  });

  test.each([
    { request: { query: "  " }, field: "query" },
    { request: { query: "x".repeat(8193) }, field: "query" },
    { request: { query: "x", topK: 0 }, field: "top_k" },
    { request: { query: "x", topK: 101 }, field: "top_k" },
    { request: { query: "x", mode: "magic" }, field: "mode" },
  ])("refuses $field out of its limits", async ({ request, field }) => {
    const error = await failure(client.retrieve({ collection: "default", ...request }));
    expect(error.code).toBe(Code.InvalidArgument);
    expect(error.rawMessage).toContain(field);
  });
});

test("an answer cites the passages that it took its words from", async () => {
  const collection = await newCollection();
  const text = "Maintenance.\n\nThe main bearing needs lithium grease every 900 hours. The seal is checked once a year.";
  await ingest(collection, { "manual.txt": text });
  const { answer, citations, model } = await client.answer({ collection, query: "How often does the main bearing need grease?" });
  expect(model).toBe("extractive");
  expect(answer).toContain("every 900 hours");
  expect(answer).toContain("[1]");
  expect(citations[0]).toMatchObject({ index: 1, documentId: "manual.txt", chunkId: "manual.txt#0" });
  expect(text.slice(citations[0]!.start, citations[0]!.end)).toBe(citations[0]!.quote);
});

test("a job that has ended cannot be cancelled, one that is unknown not watched", async () => {
  const job = await ingest(await newCollection(), { a: "one" });
  expect(reasonOf(await failure(client.cancelJob({ job: job.id })))).toBe("JOB_ENDED");
  expect(reasonOf(await failure(client.getJob({ job: "nothing" })))).toBe("JOB_NOT_FOUND");
  const watch = async () => {
    for await (const _ of client.watchJob({ job: "nothing" })) expect.fail("there is no such job");
  };
  expect(reasonOf(await failure(watch()))).toBe("JOB_NOT_FOUND");
});
