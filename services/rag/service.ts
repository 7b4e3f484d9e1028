import { Counter, Gauge } from "prom-client";
import { createCacheClient } from "../../clients/cache/index.js";
import { RateLimiter } from "../../clients/ratelimit/index.js";
import { RagService } from "../../gen/ragents/rag/v1/rag_service_pb.js";
import { ConfigError } from "../../runtime/config.js";
import { mount, startGrpcServer } from "../../runtime/grpc-server.js";
import { budgetedModel } from "../../runtime/llm/budgeted-model.js";
import { openModels } from "../../runtime/llm/models.js";
import { serverInterceptors } from "../../runtime/server-interceptors.js";
import type { RunningService, ServiceHost } from "../../runtime/service.js";
import { isUnreachable, type SqlDatabase } from "../../runtime/sql/database.js";
import { openEmbeddedDatabase } from "../../runtime/sql/embedded.js";
import { openPglite } from "../../runtime/sql/pglite.js";
import { openPostgres } from "../../runtime/sql/postgres.js";
import { untilReachable } from "../../runtime/store-patience.js";
import { Analyzer } from "../../runtime/terms/terms.js";
import { Answers } from "./answers.js";
import { loadRagConfig, type RagConfig } from "./config.js";
import { ThreadedCutter } from "./cutting/cutter.js";
import { embedderFor, openEmbedders } from "./embedders.js";
import { PageFetcher } from "./fetching/page-fetcher.js";
import { ragHandlers } from "./handlers.js";
import { openAllowedFolders } from "./ingestion/allowed-folders.js";
import { JobChanges } from "./ingestion/job-changes.js";
import { JobStarter } from "./ingestion/start-job.js";
import { IngestionWorker } from "./ingestion/worker.js";
import { Merger } from "./merging/merger.js";
import { Arranger } from "./ranking/arranger.js";
import { openRerankers } from "./ranking/rerankers.js";
import { reachableStore } from "./reachable-store.js";
import { retrievalMetrics } from "./retrieval-metrics.js";
import { Retriever } from "./retrieval/retriever.js";
import { SearchIndexes } from "./retrieval/search-indexes.js";
import { measuredStore } from "./store-metrics.js";
import { openSqlStore } from "./store/sql-store.js";

/**
 * Starts the rag service on the store that RAGENTS_RAG_URL names; "pglite:" without a folder is `shared.sql` where there is one.
 * Rejects when the configuration is wrong, the store cannot be reached within RAGENTS_STORE_WAIT_S or the port is taken.
 */
export async function startRagService(env: NodeJS.ProcessEnv, host: ServiceHost, shared: { sql?: SqlDatabase } = {}): Promise<RunningService> {
  const config = loadRagConfig(env);
  const { clock, metrics } = host;
  const { logger } = host;
  const folders = await openAllowedFolders(config.ingestRoots);
  const rerankers = openRerankers(config.reranker);
  const cache = createCacheClient({ address: config.cacheAddress, clock, metrics, security: host.security?.channel });
  const limiter = new RateLimiter({ address: config.rateLimitAddress, clock, security: host.security?.channel });
  const embedders = await openEmbedders({ modelsFolder: config.modelsFolder, server: config.embedder, cache, clock });
  const db = await openDatabase(config, host, shared.sql);
  try {
    await untilReachable(() => db.ping(), { clock, logger, waitMs: config.storeWaitMs });
    const store = measuredStore(reachableStore(await openSqlStore(db)), metrics.registry, clock);
    const analyzers = { english: new Analyzer("english"), none: new Analyzer("none") };
    const changes = new JobChanges();
    const merger = new Merger(store, logger);
    const cutter = new ThreadedCutter();
    const pages = config.fetchRules && new PageFetcher(config.fetchRules, config.ingestTenants);
    const worker = new IngestionWorker({
      store,
      cutter,
      clock,
      logger,
      tracer: host.tracer,
      toolsFor: ({ collection: { settings } }) => ({
        embedder: embedderFor(embedders, settings.embeddingModel),
        analyzer: analyzers[settings.language],
      }),
      embedderFor: (model) => embedderFor(embedders, model),
      pages,
      tenantLimits: config.tenantLimits,
      onChange: (jobId) => changes.announce(jobId),
      onIndexed: (collection) => merger.consider(collection),
    });
    const indexes = new SearchIndexes(store, {
      budgetBytes: config.indexBudgetBytes,
      dimensionOf: (model) => embedderFor(embedders, model).dimension,
    });
    new Gauge({
      name: "rag_index_bytes",
      help: "Memory of the indexes that this replica has loaded.",
      registers: [metrics.registry],
      collect() {
        this.set(indexes.byteLength);
      },
    });
    const rerankFailures = new Counter({
      name: "rag_rerank_failures_total",
      help: "Rerankings that failed; the search's own order was returned.",
      labelNames: ["reranker"],
      registers: [metrics.registry],
    });
    for (const reranker of rerankers.keys()) rerankFailures.inc({ reranker }, 0);
    const arranger = new Arranger({
      store,
      rerankers,
      onRerankFailed(reranker, err) {
        rerankFailures.inc({ reranker });
        logger.warn("rerank_failed", { reranker, err });
      },
    });
    const retriever = new Retriever({
      store,
      arranger,
      indexes,
      embedderFor: (model) => embedderFor(embedders, model),
      analyzerFor: (language) => analyzers[language],
    });
    const models = openModels(config.models, {
      registry: metrics.registry,
      clock,
      around: (model, price) => budgetedModel(model, limiter, price),
    });
    const handlers = ragHandlers({
      store,
      clock,
      embedders,
      starter: new JobStarter({
        store,
        clock,
        folders,
        pathTenants: config.ingestTenants,
        pages,
        tenantLimits: config.tenantLimits,
        onQueued: () => worker.wake(),
      }),
      worker,
      merger,
      watching: { store, changes, clock, phaseOf: (jobId) => worker.phaseOf(jobId) },
      indexes,
      retriever,
      answers: new Answers(retriever, models),
    });
    const server = await startGrpcServer({
      host: config.host,
      port: config.port,
      credentials: host.security?.serverCredentials,
      metrics,
      services: [mount(RagService, handlers)],
      interceptors: [
        ...serverInterceptors(host),
        retrievalMetrics(metrics.registry, clock),
      ],
    });
    // A replica that only serves leaves jobs to the others; one that only works still answers, should someone call it.
    if (config.role !== "serve") worker.start();
    return {
      name: "rag",
      address: server.address,
      notReady: () =>
        store.ping().then(
          () => [],
          () => ["rag store"],
        ),
      async stop(graceMs) {
        // Together: whoever watches a job is told of its last change, and no new call waits for the worker.
        await Promise.all([server.drain(graceMs), worker.stop(), merger.stop()]);
        await Promise.all([cutter.close(), ...[...embedders.values()].map((embedder) => embedder.close?.())]);
        cache.close();
        await limiter.close();
        await db.close();
      },
    };
  } catch (error) {
    await db.close();
    if (isUnreachable(error)) throw new ConfigError(`The rag service cannot reach the database that RAGENTS_RAG_URL names: ${(error as Error).message}`);
    throw error;
  }
}

async function openDatabase(config: RagConfig, { logger, metrics }: ServiceHost, shared: SqlDatabase | undefined): Promise<SqlDatabase> {
  if (config.url.startsWith("postgres")) {
    return openPostgres({
      url: config.url,
      maxConnections: config.maxConnections,
      metrics: { registry: metrics.registry, prefix: "rag" },
      onIdleError: (err) => logger.warn("database_connection_lost", { service: "rag", err }),
    });
  }
  if (config.url === "memory:") return openPglite();
  const folder = config.url.slice("pglite:".length);
  if (folder !== "") return openEmbeddedDatabase(folder);
  // Shared: its owner closes it.
  if (shared !== undefined) return { ...shared, close: async () => {} };
  return openEmbeddedDatabase(config.dataDir);
}
