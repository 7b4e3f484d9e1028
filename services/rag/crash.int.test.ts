import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
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

test("a text of 50 MB is ingested with a heap of 160 MB", async () => {
  const line = "Every nine hundred hours the main bearing of the pump needs lithium grease, and its seal a look. ";
  await mkdir(join(folder, "large"));
  await writeFile(join(folder, "large", "log.txt"), `${line.repeat(8)}\n\n`.repeat(Math.ceil(50_000_000 / (8 * line.length))));
  const client = await start({ NODE_OPTIONS: "--max-old-space-size=160" });
  await client.createCollection({ id: "large" });
  const { job } = await client.ingestDocuments({ collection: "large", path: "large" });
  const state = await untilBeyond(client, job!.id, 50_000_000_000n);
  expect(state).toMatchObject({ state: JobState.SUCCEEDED, doneDocuments: 1n });
  expect(state.chunks).toBeGreaterThan(50_000n);
}, 240_000);
