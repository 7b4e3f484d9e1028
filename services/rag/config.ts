import { join } from "node:path";
import { storePatienceSchema } from "../../runtime/store-patience.js";
import { z } from "zod";
import { LOCAL_TENANT } from "../../runtime/call-context.js";
import { commaList, grpcTarget, integer, parseEnv, port } from "../../runtime/config.js";
import type { TenantLimits } from "./ingestion/tenant-quota.js";
import { type ModelsConfig, modelsConfigSchema } from "../../runtime/llm/models.js";
import { type RerankerConfig, rerankerConfigSchema } from "./ranking/rerankers.js";
import { type FetchRules, fetchRulesOf, fetchRulesSchema } from "./fetching/fetch-rules.js";
import { type EmbedderConfig, embedderConfigSchema } from "./embedders.js";

export interface RagConfig {
  host: string;
  port: number;
  /** What this replica does: everything, or only one side, so that each can have its own number of replicas. */
  role: "all" | "serve" | "ingest";
  /** pglite:[FOLDER], memory: or postgres:// */
  url: string;
  /** Most connections to PostgreSQL. */
  maxConnections: number;
  /** Holds the embedded database of a service that runs alone. */
  dataDir: string;
  /** Folders that may be ingested from by path. */
  ingestRoots: string[];
  /** Tenants that may name paths of the server: all that can be read there is theirs. */
  ingestTenants: string[];
  /** What pages may be fetched; undefined: none. */
  fetchRules: FetchRules | undefined;
  /** What each tenant may have; undefined: no limit. */
  tenantLimits: TenantLimits;
  /** Memory for loaded indexes, in bytes. */
  indexBudgetBytes: number;
  /** Where the cache service is, which keeps the vectors of costly embedding models. */
  cacheAddress: string;
  /** Where the rate limit service is, which keeps the tenants' budgets of language models. */
  rateLimitAddress: string;
  /** Holds the models that were pulled. */
  modelsFolder: string;
  /** The embedding model that a server runs. */
  embedder: EmbedderConfig;
  /** How long to wait at start for a database that does not answer yet, in milliseconds. */
  storeWaitMs: number;
  /** Models that write answers. */
  models: ModelsConfig;
  /** The reranker that a server runs. */
  reranker: RerankerConfig;
}

const schema = z.object({
  RAGENTS_HOST: z.string().default("127.0.0.1"),
  RAGENTS_DATA_DIR: z.string().default(".ragents"),
  RAGENTS_MODELS_DIR: z.string().optional(),
  RAGENTS_CACHE_ADDRESS: grpcTarget("127.0.0.1:9101"),
  RAGENTS_RATELIMIT_ADDRESS: grpcTarget("127.0.0.1:9103"),
  RAGENTS_RAG_PORT: port(9104),
  RAGENTS_RAG_URL: z
    .string()
    .regex(/^(pglite:.*|memory:|postgres(ql)?:\/\/.+)$/, "give pglite:FOLDER, postgres://USER@HOST/DATABASE or memory:")
    .default("pglite:"),
  RAGENTS_RAG_ROLE: z.enum(["all", "serve", "ingest"], "give all, serve (calls) or ingest (jobs)").default("all"),
  RAGENTS_RAG_MAX_CONNECTIONS: integer({ default: 10, min: 1, max: 1000, unit: "connections" }),
  RAGENTS_INGEST_ROOTS: commaList(["."]),
  RAGENTS_INGEST_TENANTS: commaList([LOCAL_TENANT]),
  RAGENTS_RAG_TENANT_DOCUMENTS: integer({ default: 0, min: 0, max: 1_000_000_000, unit: "documents; 0 for no limit" }),
  RAGENTS_RAG_TENANT_MB: integer({ default: 0, min: 0, max: 1_000_000_000, unit: "megabytes; 0 for no limit" }),
  RAGENTS_RAG_INDEX_MEMORY_MB: integer({ default: 1_000, min: 16, max: 1_000_000, unit: "megabytes" }),
});

/** Reads the service's variables. Throws ConfigError naming every one that is wrong. */
export function loadRagConfig(env: NodeJS.ProcessEnv): RagConfig {
  const values = parseEnv(env, schema);
  return {
    host: values.RAGENTS_HOST,
    port: values.RAGENTS_RAG_PORT,
    role: values.RAGENTS_RAG_ROLE,
    url: values.RAGENTS_RAG_URL,
    maxConnections: values.RAGENTS_RAG_MAX_CONNECTIONS,
    dataDir: values.RAGENTS_DATA_DIR,
    cacheAddress: values.RAGENTS_CACHE_ADDRESS,
    rateLimitAddress: values.RAGENTS_RATELIMIT_ADDRESS,
    modelsFolder: values.RAGENTS_MODELS_DIR ?? join(values.RAGENTS_DATA_DIR, "models"),
    embedder: parseEnv(env, embedderConfigSchema),
    ingestRoots: values.RAGENTS_INGEST_ROOTS,
    ingestTenants: values.RAGENTS_INGEST_TENANTS,
    fetchRules: fetchRulesOf(parseEnv(env, fetchRulesSchema)),
    tenantLimits: {
      documents: values.RAGENTS_RAG_TENANT_DOCUMENTS || undefined,
      textBytes: values.RAGENTS_RAG_TENANT_MB * 1_000_000 || undefined,
    },
    indexBudgetBytes: values.RAGENTS_RAG_INDEX_MEMORY_MB * 1_000_000,
    storeWaitMs: parseEnv(env, storePatienceSchema).RAGENTS_STORE_WAIT_S * 1000,
    models: parseEnv(env, modelsConfigSchema),
    reranker: parseEnv(env, rerankerConfigSchema),
  };
}
