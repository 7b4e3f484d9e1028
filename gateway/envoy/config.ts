import { z } from "zod";
import { ConfigError, flag, grpcTarget, integer, parseEnv, port } from "../../runtime/config.js";

const schema = z.object({
  RAGENTS_DATA_DIR: z.string().default(".ragents"),
  RAGENTS_EDGE_HOST: z.string().default("127.0.0.1"),
  RAGENTS_EDGE_PORT: port(8443),
  RAGENTS_EDGE_PROBES_PORT: port(9190),
  RAGENTS_EDGE_ADMIN_PORT: port(9901),
  RAGENTS_EDGE_DRAIN_SECONDS: integer({ default: 60, min: 1, max: 3600, unit: "seconds" }),
  RAGENTS_EDGE_CERT: z.string().optional(),
  RAGENTS_EDGE_KEY: z.string().optional(),
  RAGENTS_EDGE_HTTP3: flag(false),
  RAGENTS_TLS_CERT: z.string().optional(),
  RAGENTS_TLS_KEY: z.string().optional(),
  RAGENTS_TLS_CA: z.string().optional(),
  RAGENTS_GATEWAY_TLS: flag(false),
  RAGENTS_ENVOY: z.string().default("envoy"),
  RAGENTS_GATEWAY_ADDRESS: grpcTarget("127.0.0.1:8080"),
  RAGENTS_AUTHORIZATION_ADDRESS: grpcTarget("127.0.0.1:8081"),
  RAGENTS_METRICS_PORT: port(9090),
  RAGENTS_CACHE_ADDRESS: grpcTarget("127.0.0.1:9101"),
  RAGENTS_CHECKPOINT_ADDRESS: grpcTarget("127.0.0.1:9102"),
  RAGENTS_RATELIMIT_ADDRESS: grpcTarget("127.0.0.1:9103"),
  RAGENTS_RAG_ADDRESS: grpcTarget("127.0.0.1:9104"),
  RAGENTS_AGENT_ADDRESS: grpcTarget("127.0.0.1:9105"),
});

/** What the edge is told by its environment. */
export type EdgeConfig = z.infer<typeof schema>;

/** Reads the environment. Throws ConfigError naming everything that is wrong. */
export function loadEdgeConfig(env: NodeJS.ProcessEnv): EdgeConfig {
  const config = parseEnv(env, schema);
  if ((config.RAGENTS_EDGE_CERT === undefined) !== (config.RAGENTS_EDGE_KEY === undefined)) {
    throw new ConfigError("Give both of RAGENTS_EDGE_CERT and RAGENTS_EDGE_KEY, or none for a certificate of a local authority.");
  }
  const { RAGENTS_TLS_CERT: cert, RAGENTS_TLS_KEY: key, RAGENTS_TLS_CA: ca } = config;
  const given = [cert, key, ca].filter((value) => value !== undefined).length;
  if (given === 1 || given === 2) throw new ConfigError("Give all three of RAGENTS_TLS_CERT, RAGENTS_TLS_KEY and RAGENTS_TLS_CA, or none.");
  if (config.RAGENTS_GATEWAY_TLS && given === 0) {
    throw new ConfigError("RAGENTS_GATEWAY_TLS needs RAGENTS_TLS_CERT, RAGENTS_TLS_KEY and RAGENTS_TLS_CA.");
  }
  return config;
}
