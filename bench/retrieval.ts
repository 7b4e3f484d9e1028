import pg from "pg";
import { uploadFiles } from "../clients/rag/index.js";
import { evaluate } from "../cli/evaluation/evaluate.js";
import { lexicalJudge } from "../cli/evaluation/lexical-judge.js";
import { distinct, ndcg } from "../cli/evaluation/ranking-metrics.js";
import { summarise } from "../cli/evaluation/report.js";
import { MINILM_MODEL } from "../runtime/embedding/minilm-model.js";
import { loadStaticEmbedder } from "../runtime/embedding/static-embedder.js";
import { openPostgres } from "../runtime/sql/postgres.js";
import { Analyzer } from "../runtime/terms/terms.js";
import { Arranger } from "../services/rag/ranking/arranger.js";
import { Retriever } from "../services/rag/retrieval/retriever.js";
import { SearchIndexes } from "../services/rag/retrieval/search-indexes.js";
import { openSqlStore } from "../services/rag/store/sql-store.js";
import { startPostgres } from "../tests/servers/postgres.js";
import { type Bench, type Figure, figure } from "./figure.js";
import { ingestJudged, judgedDocuments, judgedQuestions } from "./judged-collection.js";
import { madeTexts } from "./rag/corpus.js";
import { LangChainPipeline } from "./rag/langchain.js";
import { minilmFile, openMiniLm, WITHOUT_MINILM } from "./rag/minilm.js";
import { PgvectorTable } from "./rag/pgvector.js";
import { startBenchService, untilSearchable } from "./rag/service.js";

const TOP_K = 5;
/** Passages read to find ten documents. */
const RANKING_DEPTH = 50;
const ROUNDS = 3;
/** Every so manieth question is timed: the peer takes half a second over the larger collection. */
const EVERY = 4;
const SIZES = [
  { name: "10k", chunks: 10_000, aim: 5, aimMs: 1.5 },
  { name: "100k", chunks: 100_000, aim: 10, aimMs: 5 },
];
/** As much memory as a server of this size is given; the index of the vectors is built in it. */
const SERVER_SETTINGS = { shared_buffers: "512MB", maintenance_work_mem: "512MB", max_connections: "60" };

const ROUND_TRIP =
  "The search itself takes less than half of it. The rest is probably the question to PostgreSQL about what was committed, which comes " +
  "right after the peer's queries had the server and the machine's caches.";
const WITHOUT_CONTEXT =
  "A model with context knows more of these questions than words and the built-in embedder, which has none, together. Weights that " +
  "are fitted to one half of the questions lose on the other; a collection can be given MiniLM where it is installed.";

let versions: Record<string, string> = {};
const questions = judgedQuestions();
const answerable = questions.filter(({ relevant }) => relevant !== undefined && relevant.size > 0);

/** nDCG@10 of our arms and of LangChain.js over the judged collection. */
async function rankings(): Promise<Figure[]> {
  const { rag, stop } = await startBenchService("memory:");
  try {
    await ingestJudged(rag, "judged");
    const scoreOf = async (collection: string, mode: string) => {
      const results = await evaluate(rag, answerable, { collection, mode, topK: TOP_K, answers: false, judge: lexicalJudge });
      return summarise(results).ndcg10!.mean;
    };
    const scores: Record<string, number> = {};
    for (const mode of ["hybrid", "keyword", "semantic"]) scores[mode] = await scoreOf("judged", mode);
    const compared = (name: string, ours: number, peer: number, missed?: string) =>
      figure({ name, ours, peer, unit: "nDCG@10", aim: 1, better: "higher", ...(missed !== undefined && { missed }) });
    const against = (name: string, peer: number) => compared(name, scores["hybrid"]!, peer);
    const withMiniLm: Figure[] = [];
    const file = minilmFile();
    if (file === undefined) process.stderr.write(`  The rankings with MiniLM are left out: ${WITHOUT_MINILM}.\n`);
    else {
      const peer = await peerScore(new LangChainPipeline(await openMiniLm(file)));
      await ingestJudged(rag, "judged-minilm", { embeddingModel: MINILM_MODEL });
      withMiniLm.push(
        compared("nDCG: hybrid with the built-in embedder, LangChain.js with MiniLM", scores["hybrid"]!, peer, WITHOUT_CONTEXT),
        compared("nDCG: hybrid with MiniLM, LangChain.js with MiniLM", await scoreOf("judged-minilm", "hybrid"), peer),
      );
    }
    return [
      ...withMiniLm,
      against("nDCG: hybrid with the built-in embedder, LangChain.js with the built-in embedder", await peerScore(await LangChainPipeline.withBuiltIn())),
      against("nDCG: hybrid, our keyword arm alone", scores["keyword"]!),
      against("nDCG: hybrid, our semantic arm alone", scores["semantic"]!),
    ];
  } finally {
    await stop();
  }
}

async function peerScore(pipeline: LangChainPipeline): Promise<number> {
  await pipeline.ingest(judgedDocuments());
  let sum = 0;
  for (const { question, relevant } of answerable) sum += ndcg(distinct(await pipeline.search(question, RANKING_DEPTH)), relevant!, 10);
  return sum / answerable.length;
}

/** Milliseconds of a hybrid retrieval, texts included, over made collections: ours and pgvector's in the same server. */
async function latencies(): Promise<Figure[]> {
  const server = await startPostgres({ settings: SERVER_SETTINGS });
  const pool = new pg.Pool({ connectionString: server.url, max: 4 });
  // The server's end may reach a connection before the pool's.
  pool.on("error", () => {});
  try {
    const hasPgvector = await pool.query("create extension vector").then(
      () => true,
      () => false,
    );
    if (!hasPgvector) {
      process.stderr.write("  The figures beside pgvector are left out: this PostgreSQL has no extension vector; put one that has it first on the PATH.\n");
      return [];
    }
    const { rows } = await pool.query<{ server: string; vector: string }>(
      "select current_setting('server_version') as server, extversion as vector from pg_extension where extname = 'vector'",
    );
    versions = { PostgreSQL: rows[0]!.server, pgvector: rows[0]!.vector };
    const figures: Figure[] = [];
    for (const size of SIZES) figures.push(...(await latenciesAt(server.url, pool, size)));
    return figures;
  } finally {
    await pool.end();
    await server.stop();
  }
}

async function latenciesAt(url: string, pool: pg.Pool, { name, chunks, aim, aimMs }: (typeof SIZES)[number]): Promise<Figure[]> {
  const collection = `made-${name}`;
  await makeCollection(url, collection, chunks);
  const table = new PgvectorTable(pool, `peer_${name}`);
  await table.fill(collection);
  const ours: number[] = [];
  const theirs: number[] = [];
  const db = await openPostgres({ url, maxConnections: 4 });
  try {
    const search = await ourSearch(db, collection);
    for (let round = 0; round <= ROUNDS; round += 1) {
      for (const { question } of answerable.filter((_, i) => i % EVERY === 0)) {
        const mine = await timed(() => search(question));
        const peer = await timed(() => table.search(question, TOP_K));
        if (round === 0) continue;
        ours.push(mine);
        theirs.push(peer);
      }
    }
  } finally {
    await db.close();
  }
  const [p50, p95] = [0.5, 0.95].map((part) => ({ ours: quantile(ours, part), peer: quantile(theirs, part) }));
  return [
    figure({ name: `${name} chunks: hybrid retrieval p50, pgvector + tsvector`, ...p50!, unit: "ms", aim, better: "lower" }),
    figure({ name: `${name} chunks: hybrid retrieval p95, pgvector + tsvector`, ...p95!, unit: "ms", aim, better: "lower" }),
    figure({ name: `p50 over ${chunks.toLocaleString("en")} chunks, the limit that we set ourselves`, ours: p50!.ours, peer: aimMs, unit: "ms", aim: 1, better: "lower", missed: ROUND_TRIP }),
  ];
}

/** At least so many chunks, through the service. */
async function makeCollection(url: string, collection: string, chunks: number): Promise<void> {
  const { rag, stop } = await startBenchService(url);
  try {
    await rag.createCollection({ id: collection });
    const texts = madeTexts(chunks);
    for (let made = 0, number = 0; made < chunks; ) {
      const files = Array.from({ length: Math.min(500, Math.ceil((chunks - made) / 20)) }, () => ({
        documentId: `document-${(number += 1)}`,
        mimeType: "text/plain",
        content: Buffer.from(texts.next().value as string),
      }));
      const job = await untilSearchable(rag, await uploadFiles(rag, files, { collection }));
      made += Number(job.chunks);
    }
  } finally {
    await stop();
  }
}

/** What the service does for a Retrieve call, without the call. */
async function ourSearch(db: Awaited<ReturnType<typeof openPostgres>>, id: string): Promise<(question: string) => Promise<unknown>> {
  const store = await openSqlStore(db);
  const embedder = await loadStaticEmbedder();
  const analyzer = new Analyzer("english");
  const retriever = new Retriever({
    store,
    arranger: new Arranger({ store, rerankers: new Map(), onRerankFailed: () => {} }),
    indexes: new SearchIndexes(store, { budgetBytes: 1e9, dimensionOf: () => embedder.dimension }),
    embedderFor: () => embedder,
    analyzerFor: () => analyzer,
  });
  const { tenant } = (await store.listCollections("local", { limit: 10 })).find((one) => one.id === id)!;
  return async (query) => {
    const collection = await store.getCollection({ tenant, id });
    return retriever.retrieve(collection!, undefined, { query, topK: TOP_K, mode: "hybrid", filters: undefined });
  };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))]!;
}

export const bench: Bench = {
  packages: ["@langchain/classic", "@langchain/textsplitters", "pg"],
  serverVersions: () => versions,
  async run() {
    return [...(await latencies()), ...(await rankings())];
  },
};
