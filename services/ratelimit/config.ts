import { z } from "zod";
import { parseEnv, port } from "../../runtime/config.js";

export interface RateLimitConfig {
  host: string;
  port: number;
  /** memory: */
  url: string;
  /** The file of the limits; the defaults when undefined. */
  limitsPath: string | undefined;
}

const schema = z.object({
  RAGENTS_HOST: z.string().default("127.0.0.1"),
  RAGENTS_RATELIMIT_PORT: port(9103),
  RAGENTS_RATELIMIT_URL: z.literal("memory:", "give memory:").default("memory:"),
  RAGENTS_RATELIMIT_CONFIG: z.string().optional(),
});

/** Reads the service's variables. Throws ConfigError naming every one that is wrong. */
export function loadRateLimitConfig(env: NodeJS.ProcessEnv): RateLimitConfig {
  const values = parseEnv(env, schema);
  return {
    host: values.RAGENTS_HOST,
    port: values.RAGENTS_RATELIMIT_PORT,
    url: values.RAGENTS_RATELIMIT_URL,
    limitsPath: values.RAGENTS_RATELIMIT_CONFIG,
  };
}
