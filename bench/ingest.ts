import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type RagClient, uploadFiles } from "../clients/rag/index.js";
import { MINILM_MODEL } from "../runtime/embedding/minilm-model.js";
import { STATIC_MODEL } from "../runtime/embedding/static-embedder.js";
import { startPostgres } from "../tests/servers/postgres.js";
import { type Bench, type Figure, figure, inTurns, median } from "./figure.js";
import { judgedDocuments } from "./judged-collection.js";
import { madeTexts } from "./rag/corpus.js";
import { LangChainPipeline } from "./rag/langchain.js";
import { minilmFile, openMiniLm, WITHOUT_MINILM } from "./rag/minilm.js";
import { startBenchService, untilSearchable } from "./rag/service.js";

const ROUNDS = 3;
/** Documents for figures in which MiniLM runs: it reads about a dozen chunks a second. */
const FEW = 30;
/** Part of the documents that changed before the second ingestion. */
const CHANGED = 0.01;

const CORPUS_BYTES = 200_000_000;
const CORPUS_FILES = 10;
const PEAK_MEMORY = fileURLToPath(new URL("rag/peak-memory.ts", import.meta.url));

const run = promisify(execFile);
const documents = judgedDocuments();
let collections = 0;

/** Chunks a second from the upload's first byte until all can be found. */
async function ourRate(rag: RagClient, embeddingModel: string, of = documents): Promise<number> {
  const collection = `ingest-${(collections += 1)}`;
  await rag.createCollection({ id: collection, settings: { embeddingModel } });
  const started = performance.now();
  await upload(rag, collection, of);
  const seconds = (performance.now() - started) / 1000;
  const { collection: made } = await rag.getCollection({ collection });
  return Number(made!.chunkCount) / seconds;
}

async function upload(rag: RagClient, collection: string, of: readonly { id: string; mime_type: string; text: string }[]): Promise<void> {
  const files = of.map(({ id, mime_type: mimeType, text }) => ({ documentId: id, mimeType, content: Buffer.from(text) }));
  await untilSearchable(rag, await uploadFiles(rag, files, { collection }));
}

/** Chunks a second until LangChain.js' store can be searched. */
async function peerRate(pipeline: LangChainPipeline, of = documents): Promise<number> {
  const started = performance.now();
  const chunks = await pipeline.ingest(of);
  return chunks / ((performance.now() - started) / 1000);
}

async function rates(rag: RagClient): Promise<Figure[]> {
  const rate = { unit: "chunks/s", better: "higher" } as const;
  const { ours, peer } = await inTurns(
    ROUNDS,
    () => ourRate(rag, STATIC_MODEL),
    async () => peerRate(await LangChainPipeline.withBuiltIn()),
  );
  const same = figure({ name: "built-in embedder on both sides: ours durable and indexed, LangChain.js in memory", ours, peer, aim: 0.2, ...rate });

  const file = minilmFile();
  if (file === undefined) {
    process.stderr.write(`  The figures with MiniLM are left out: ${WITHOUT_MINILM}.\n`);
    return [same];
  }
  const embed = await openMiniLm(file);
  // In the same turns: a busy moment hits all three.
  const byDefault: number[] = [];
  const withMiniLm = await inTurns(
    ROUNDS,
    async (round) => {
      byDefault.push(await ourRate(rag, STATIC_MODEL));
      return ourRate(rag, MINILM_MODEL, fewOf(round));
    },
    (round) => peerRate(new LangChainPipeline(embed), fewOf(round)),
  );
  return [
    figure({ name: "default: ingestion to searchable, LangChain.js with MiniLM", ours: median(byDefault), peer: withMiniLm.peer, aim: 50, ...rate }),
    figure({ name: "MiniLM on both sides: ingestion to searchable", ...withMiniLm, aim: 1, ...rate }),
    same,
  ];
}

/** Other documents in each round: what our side has embedded once it remembers. */
function fewOf(round: number) {
  return documents.slice(round * FEW, (round + 1) * FEW);
}

/** Seconds of an ingestion of which one document in a hundred changed, beside the first one. */
async function again(rag: RagClient): Promise<Figure> {
  const first: number[] = [];
  const second: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const collection = `again-${round}`;
    await rag.createCollection({ id: collection });
    const started = performance.now();
    await upload(rag, collection, documents);
    const between = performance.now();
    const every = Math.round(1 / CHANGED);
    await upload(rag, collection, documents.map((document, i) => (i % every === 0 ? { ...document, text: `${document.text}\n\nChanged.` } : document)));
    first.push((between - started) / 1000);
    second.push((performance.now() - between) / 1000);
  }
  return figure({ name: "ingestion again, 1 % of the documents changed; peer: the first ingestion", ours: median(second), peer: median(first), unit: "s", aim: 2, better: "lower" });
}

/** Megabytes that a process has at most while it ingests 200 MB of text, the service's with a PostgreSQL beside it. */
async function peakMemory(): Promise<Figure> {
  const folder = await mkdtemp(join(tmpdir(), "ragents-bench-"));
  const server = await startPostgres({ settings: {} });
  try {
    const texts = madeTexts();
    for (let file = 0; file < CORPUS_FILES; file += 1) {
      const path = join(folder, `${file}.txt`);
      let size = 0;
      const parts: string[] = [];
      while (size < CORPUS_BYTES / CORPUS_FILES) size += parts[parts.push(`${texts.next().value as string}\n\n`) - 1]!.length;
      await writeFile(path, parts.join(""));
    }
    const peak = async (...args: string[]) => Number((await run(process.execPath, ["--import", "tsx", PEAK_MEMORY, ...args])).stdout);
    const peer = await peak("peer", folder);
    const ours = await peak("ours", folder, server.url);
    return figure({ name: "peak memory over a corpus of 200 MB, LangChain.js in memory with the same embedder", ours, peer, unit: "MB", aim: 1, better: "lower" });
  } finally {
    await server.stop();
    await rm(folder, { recursive: true });
  }
}

export const bench: Bench = {
  packages: ["@langchain/classic", "@langchain/textsplitters", "onnxruntime-node"],
  async run() {
    const { rag, stop } = await startBenchService("memory:");
    try {
      return [...(await rates(rag)), await again(rag), await peakMemory()];
    } finally {
      await stop();
    }
  },
};
