import { z } from "zod";
import { commaList, integer, parseEnv, port } from "../../runtime/config.js";

export interface RateLimitConfig {
  host: string;
  port: number;
  /** memory:, redis://, rediss://, redis+cluster:// or rediss+cluster:// */
  url: string;
  /** Silence of Redis after which it counts as away, in milliseconds. */
  storeTimeoutMs: number;
  /** The file of the limits; the defaults when undefined. */
  limitsPath: string | undefined;
  /** Files of the limits that Envoys ask for. */
  envoyPaths: string[];
}

const schema = z.object({
  RAGENTS_HOST: z.string().default("127.0.0.1"),
  RAGENTS_RATELIMIT_PORT: port(9103),
  RAGENTS_RATELIMIT_URL: z
    .string()
    .regex(/^(memory:|rediss?(\+cluster)?:\/\/.+)$/, "give memory:, redis://HOST:PORT or redis+cluster://HOST:PORT,HOST:PORT")
    .default("memory:"),
  RAGENTS_RATELIMIT_STORE_TIMEOUT_MS: integer({ default: 250, min: 10, max: 10_000, unit: "milliseconds" }),
  RAGENTS_RATELIMIT_CONFIG: z.string().optional(),
  RAGENTS_RATELIMIT_ENVOY_CONFIG: commaList([]),
});

/** Reads the service's variables. Throws ConfigError naming every one that is wrong. */
export function loadRateLimitConfig(env: NodeJS.ProcessEnv): RateLimitConfig {
  const values = parseEnv(env, schema);
  return {
    host: values.RAGENTS_HOST,
    port: values.RAGENTS_RATELIMIT_PORT,
    url: values.RAGENTS_RATELIMIT_URL,
    storeTimeoutMs: values.RAGENTS_RATELIMIT_STORE_TIMEOUT_MS,
    limitsPath: values.RAGENTS_RATELIMIT_CONFIG,
    envoyPaths: values.RAGENTS_RATELIMIT_ENVOY_CONFIG,
  };
}
