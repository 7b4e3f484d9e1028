import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { createRagClient, type RagClient } from "../../clients/rag/index.js";
import { type Job, JobState } from "../../gen/ragents/rag/v1/rag_pb.js";
import { type ServiceProcess, startServiceProcess } from "../../tests/servers/service-process.js";

const DOCUMENTS = 120;
const CHUNKS = 12;
/** Above the size from which a text is stored window by window. */
const LARGE_PARAGRAPHS = 9_000;

let folder: string;
let service: { process: ServiceProcess; client: RagClient } | undefined;

beforeAll(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "rag-crash-")));
});

afterAll(async () => {
  await kill();
  await rm(folder, { recursive: true });
});

/** Starts the service as a process of its own on the folder's database. */
async function start(env: Record<string, string> = {}): Promise<RagClient> {
  const process = await startServiceProcess("rag", {
    RAGENTS_RAG_URL: `pglite:${join(folder, "database")}`,
    RAGENTS_INGEST_ROOTS: folder,
    ...env,
  });
  service = { process, client: createRagClient({ address: process.address }) };
  return service.client;
}

async function kill(): Promise<void> {
  service?.client.close();
  await service?.process.signal("SIGKILL");
  await service?.process.ended;
  service = undefined;
}

async function writeTree(version: string): Promise<void> {
  await mkdir(join(folder, "tree"), { recursive: true });
  for (let n = 0; n < DOCUMENTS; n += 1) {
    const paragraph = `The ${version} manual of unit${n} tells about the bearing of the pump and the grease that it needs. `.repeat(9);
    await writeFile(join(folder, "tree", `unit${n}.txt`), Array.from({ length: CHUNKS }, () => paragraph).join("\n\n"));
  }
  const lines = Array.from({ length: LARGE_PARAGRAPHS }, (_, n) => `Entry ${n} of the ${version} ledger tells what was paid for grease. `.repeat(9));
  await writeFile(join(folder, "tree", "ledger.txt"), lines.join("\n\n"));
}

/** Every document that is there is there altogether, in one version. */
async function expectWholeDocuments(client: RagClient): Promise<number> {
  const { documents } = await client.listDocuments({ collection: "default", pageSize: 1000 });
  for (const { id, chunkCount } of documents) {
    if (id === "tree/ledger.txt") continue;
    const { hits } = await client.retrieve({ collection: "default", query: id.slice("tree/".length, -".txt".length), mode: "keyword", topK: 100 });
    expect(hits.map(({ documentId }) => documentId)).toEqual(Array.from({ length: chunkCount }, () => id));
    expect(new Set(hits.map(({ text }) => /The (\w+) manual/.exec(text)![1])).size).toBe(1);
  }
  return documents.length;
}

/** Follows the job until it has come further than `doneBytes`, or has ended. */
async function untilBeyond(client: RagClient, id: string, doneBytes: bigint): Promise<Job> {
  const enough = new AbortController();
  let last: Job | undefined;
  try {
    for await (const { job } of client.watchJob({ job: id }, { signal: enough.signal })) {
      last = job!;
      if (last.doneBytes > doneBytes) enough.abort();
    }
  } catch (error) {
    if (!enough.signal.aborted) throw error;
  }
  return last!;
}

test.each([
  { version: "first", kills: 1 },
  { version: "second", kills: 2 },
])("a job over $version versions goes on after each of $kills kills, and no half document is ever seen", async ({ version, kills }) => {
  await writeTree(version);
  let client = await start();
  const { job } = await client.ingestDocuments({ collection: "default", path: "tree" });
  let state = job!;
  for (let killed = 0; killed < kills; killed += 1) {
    state = await untilBeyond(client, job!.id, state.doneBytes);
    await kill();
    client = await start();
    await expectWholeDocuments(client);
  }
  state = await untilBeyond(client, job!.id, state.totalBytes);
  expect(state).toMatchObject({ state: JobState.SUCCEEDED, totalDocuments: BigInt(DOCUMENTS + 1), doneDocuments: BigInt(DOCUMENTS + 1), failedDocuments: 0n });
  expect(state.doneBytes).toBe(state.totalBytes);
  expect(await expectWholeDocuments(client)).toBe(DOCUMENTS + 1);
  const { collection } = await client.getCollection({ collection: "default" });
  expect(collection!.chunkCount).toBe(state.chunks);
  const { hits } = await client.retrieve({ collection: "default", query: `entry ${LARGE_PARAGRAPHS - 1} ledger`, mode: "keyword", topK: 1 });
  expect(hits[0]).toMatchObject({ documentId: "tree/ledger.txt", text: expect.stringContaining(`${version} ledger`) });
  await kill();
}, 120_000);

/** A server of embeddings that answers as many texts as it may; what comes behind them waits until it may again. */
async function startEmbeddings(): Promise<{ url: string; embedded: string[]; allow(texts: number): void }> {
  const embedded: string[] = [];
  const waiting: (() => void)[] = [];
  let allowed = 0;
  const server = createServer(async (request, response) => {
    const { input } = (await json(request)) as { input: string[] };
    while (allowed < input.length) await new Promise<void>((resolve) => waiting.push(resolve));
    // Whoever asked was killed meanwhile.
    if (request.socket.destroyed) return;
    allowed -= input.length;
    embedded.push(...input);
    response.end(JSON.stringify({ data: input.map((text, index) => ({ index, embedding: [text.length, 1, 0, 0] })) }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    embedded,
    allow(texts) {
      allowed = texts;
      for (const wake of waiting.splice(0)) wake();
    },
  };
}

test("a re-embedding goes on after a kill, and embeds no chunk again that was done", async () => {
  const embeddings = await startEmbeddings();
  const env = { RAGENTS_EMBEDDING_URL: embeddings.url, RAGENTS_EMBEDDING_MODEL: "remote", RAGENTS_EMBEDDING_DIMENSION: "4", RAGENTS_EMBEDDING_TIMEOUT_MS: "600000" };
  let client = await start(env);
  await client.createCollection({ id: "changing" });
  const documents = Array.from({ length: 400 }, (_, n) => ({ id: `d${n}`, text: `Manual of unit${n}.` }));
  await untilBeyond(client, (await client.ingestDocuments({ collection: "changing", documents })).job!.id, 50_000_000n);
  embeddings.allow(1);
  const { job } = await client.reembedCollection({ collection: "changing", embeddingModel: "remote" });
  embeddings.allow(300);
  await expect.poll(async () => (await client.getJob({ job: job!.id })).job!.chunks, { timeout: 30_000, interval: 20 }).toBe(256n);
  await kill();

  embeddings.allow(0);
  embeddings.embedded.length = 0;
  client = await start(env);
  const settings = async () => (await client.getCollection({ collection: "changing" })).collection!.settings;
  expect(await settings()).toMatchObject({ embeddingModel: "static-256" });
  expect((await client.retrieve({ collection: "changing", query: "manual of unit7", mode: "semantic" })).hits).toHaveLength(5);
  embeddings.allow(1_000);
  const done = await untilBeyond(client, job!.id, 50_000_000n);
  expect(done).toMatchObject({ state: JobState.SUCCEEDED, chunks: 400n, totalChunks: 400n });
  expect(await settings()).toMatchObject({ embeddingModel: "remote" });
  expect(embeddings.embedded).toHaveLength(400 - 256);
  expect((await client.retrieve({ collection: "changing", query: "manual of unit7", mode: "semantic" })).hits).toHaveLength(5);
  await kill();
}, 120_000);

test("a text of 50 MB is ingested with a heap of 160 MB", async () => {
  const line = "Every nine hundred hours the main bearing of the pump needs lithium grease, and its seal a look. ";
  await mkdir(join(folder, "large"), { recursive: true });
  await writeFile(join(folder, "large", "log.txt"), `${line.repeat(8)}\n\n`.repeat(Math.ceil(50_000_000 / (8 * line.length))));
  const client = await start({ NODE_OPTIONS: "--max-old-space-size=160" });
  await client.createCollection({ id: "large" });
  const { job } = await client.ingestDocuments({ collection: "large", path: "large" });
  const state = await untilBeyond(client, job!.id, 50_000_000_000n);
  expect(state).toMatchObject({ state: JobState.SUCCEEDED, doneDocuments: 1n });
  expect(state.chunks).toBeGreaterThan(50_000n);
}, 240_000);
