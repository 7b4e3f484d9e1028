import { z } from "zod";
import { commaList, ConfigError, flag, grpcTarget, integer, parseEnv, port } from "../runtime/config.js";

const schema = z.object({
  RAGENTS_HOST: z.string().default("127.0.0.1"),
  RAGENTS_PORT: port(8080),
  RAGENTS_AUTHORIZATION_PORT: port(8081).unwrap().optional(),
  RAGENTS_CACHE_ADDRESS: grpcTarget("127.0.0.1:9101"),
  RAGENTS_CHECKPOINT_ADDRESS: grpcTarget("127.0.0.1:9102"),
  RAGENTS_RATELIMIT_ADDRESS: grpcTarget("127.0.0.1:9103"),
  RAGENTS_RAG_ADDRESS: grpcTarget("127.0.0.1:9104"),
  RAGENTS_AGENT_ADDRESS: grpcTarget("127.0.0.1:9105"),
  RAGENTS_ALLOW_ANONYMOUS: flag(false),
  RAGENTS_GATEWAY_TLS: flag(false),
  RAGENTS_CORS_ORIGINS: commaList([]),
  RAGENTS_MAX_BODY_BYTES: integer({ default: 4 * 1024 * 1024, min: 1024, max: 64 * 1024 * 1024, unit: "bytes" }),
  RAGENTS_MAX_REQUESTS: integer({ default: 5_000, min: 1, max: 1_000_000, unit: "requests" }),
  RAGENTS_QUERY_TIMEOUT_SECONDS: integer({ default: 300, min: 1, max: 3600, unit: "seconds" }),
});

/** What the gateway is told by its environment. */
export type GatewayConfig = z.infer<typeof schema> & {
  /** Whether only this machine can reach it. */
  readonly loopback: boolean;
};

/** Reads the environment. Throws ConfigError naming everything that is wrong. */
export function loadGatewayConfig(env: NodeJS.ProcessEnv): GatewayConfig {
  const config = parseEnv(env, schema);
  return { ...config, loopback: isLoopback(config.RAGENTS_HOST) };
}

/** Throws ConfigError when the gateway is asked to serve other machines without asking them who they are. */
export function refuseStrangers(config: GatewayConfig, authenticates: boolean): void {
  if (config.loopback || config.RAGENTS_ALLOW_ANONYMOUS || authenticates) return;
  throw new ConfigError(
    `RAGENTS_HOST is ${config.RAGENTS_HOST}, but no authentication is configured: anyone who reaches this address could read and delete everything. ` +
      "Set RAGENTS_ADMIN_KEY or make an API key first (`ragents keys create --role admin`), listen on 127.0.0.1, or set " +
      "RAGENTS_ALLOW_ANONYMOUS=true where something in front lets in only who may.",
  );
}

/** Whether a host name or address means this machine only. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}
