import { z } from "zod";
import { ConfigError, grpcTarget, integer, parseEnv, port } from "../../runtime/config.js";

const schema = z.object({
  RAGENTS_DATA_DIR: z.string().default(".ragents"),
  RAGENTS_EDGE_HOST: z.string().default("127.0.0.1"),
  RAGENTS_EDGE_PORT: port(8443),
  RAGENTS_EDGE_PROBES_PORT: port(9190),
  RAGENTS_EDGE_ADMIN_PORT: port(9901),
  RAGENTS_EDGE_DRAIN_SECONDS: integer({ default: 60, min: 1, max: 3600, unit: "seconds" }),
  RAGENTS_EDGE_CERT: z.string().optional(),
  RAGENTS_EDGE_KEY: z.string().optional(),
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
  return config;
}
