import { z } from "zod";
import { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";
import { flag, integer, parseEnv, port } from "../../runtime/config.js";

export interface CacheConfig {
  host: string;
  port: number;
  /** memory:, redis://, rediss://, redis+cluster:// or rediss+cluster:// */
  url: string;
  /** Bound of the memory store, in bytes. */
  maxBytes: number;
  /** Bound of what a replica holds in its own memory of what it found in Redis, in bytes; 0 for nothing. */
  nearBytes: number;
  /** How long values of each kind live unless their writer says otherwise, in milliseconds. */
  ttlMs: Record<Exclude<CacheKind, CacheKind.UNSPECIFIED>, number>;
  /** Values from this size on are deflated where it pays, in bytes. */
  compressFromBytes: number;
  /** How long a fill lease lasts unless it is extended, in milliseconds. */
  leaseMs: number;
  /** Whether a question of the same meaning as one that was answered gets its answer. */
  similarAnswers: boolean;
  /** Cosine below which two questions are not compared at all, from 0 to 1. */
  minSimilarity: number;
}

const COSINE = "give a number from 0 to 1";
const HOUR_S = 3_600;
const seconds = (defaultSeconds: number) => integer({ default: defaultSeconds, min: 1, max: 30 * 24 * HOUR_S, unit: "seconds" });

const schema = z.object({
  RAGENTS_HOST: z.string().default("127.0.0.1"),
  RAGENTS_CACHE_PORT: port(9101),
  RAGENTS_CACHE_URL: z
    .string()
    .regex(/^(memory:$|rediss?(\+cluster)?:\/\/.+)$/, "give memory:, redis://HOST:PORT or redis+cluster://HOST:PORT,HOST:PORT")
    .default("memory:"),
  RAGENTS_CACHE_MAX_BYTES: integer({ default: 1_000_000_000, min: 1_000_000, max: 1e12, unit: "bytes" }),
  RAGENTS_CACHE_NEAR_BYTES: integer({ default: 64_000_000, min: 0, max: 1e11, unit: "bytes; 0 for none" }),
  RAGENTS_CACHE_EMBEDDING_TTL_S: seconds(24 * HOUR_S),
  RAGENTS_CACHE_RETRIEVAL_TTL_S: seconds(HOUR_S),
  RAGENTS_CACHE_QUERY_REWRITE_TTL_S: seconds(2 * HOUR_S),
  RAGENTS_CACHE_ANSWER_TTL_S: seconds(HOUR_S),
  RAGENTS_CACHE_COMPRESS_FROM_BYTES: integer({ default: 4_096, min: 256, max: 1_048_577, unit: "bytes" }),
  RAGENTS_CACHE_LEASE_MS: integer({ default: 5_000, min: 100, max: 60_000, unit: "milliseconds" }),
  RAGENTS_CACHE_SIMILAR_ANSWERS: flag(false),
  RAGENTS_CACHE_MIN_SIMILARITY: z.coerce.number(COSINE).min(0, COSINE).max(1, COSINE).default(0.6),
});

/** Reads the service's variables. Throws ConfigError naming every one that is wrong. */
export function loadCacheConfig(env: NodeJS.ProcessEnv): CacheConfig {
  const values = parseEnv(env, schema);
  return {
    host: values.RAGENTS_HOST,
    port: values.RAGENTS_CACHE_PORT,
    url: values.RAGENTS_CACHE_URL,
    maxBytes: values.RAGENTS_CACHE_MAX_BYTES,
    nearBytes: values.RAGENTS_CACHE_NEAR_BYTES,
    ttlMs: {
      [CacheKind.EMBEDDING]: values.RAGENTS_CACHE_EMBEDDING_TTL_S * 1000,
      [CacheKind.RETRIEVAL]: values.RAGENTS_CACHE_RETRIEVAL_TTL_S * 1000,
      [CacheKind.QUERY_REWRITE]: values.RAGENTS_CACHE_QUERY_REWRITE_TTL_S * 1000,
      [CacheKind.ANSWER]: values.RAGENTS_CACHE_ANSWER_TTL_S * 1000,
    },
    compressFromBytes: values.RAGENTS_CACHE_COMPRESS_FROM_BYTES,
    leaseMs: values.RAGENTS_CACHE_LEASE_MS,
    similarAnswers: values.RAGENTS_CACHE_SIMILAR_ANSWERS,
    minSimilarity: values.RAGENTS_CACHE_MIN_SIMILARITY,
  };
}
