import { z } from "zod";
import type { RequestPriority } from "../../clients/ratelimit/index.js";
import { commaList, grpcTarget, integer, parseEnv, port } from "../../runtime/config.js";
import { type ModelsConfig, modelsConfigSchema } from "../../runtime/llm/models.js";

export interface AgentConfig {
  host: string;
  port: number;
  /** Where the services behind it are found. */
  cacheAddress: string;
  checkpointAddress: string;
  rateLimitAddress: string;
  ragAddress: string;
  /** Runs of this replica at the same time. */
  maxRuns: number;
  /** Runs that wait for their turn at this replica; what is beyond is refused. */
  maxWaiting: number;
  /** Who goes first, by the callers' tiers, when there are more. */
  priorities: ReadonlyMap<string, RequestPriority>;
  /** How long a thread stays with a replica that has died, in milliseconds. */
  leaseMs: number;
  /** How long runs may go on when the replica stops, before another one goes on with them, in milliseconds. */
  handoverMs: number;
  /** Time between two looks for runs whose replica is gone, in milliseconds; 0: none. */
  takeoverMs: number;
  /** Longest time of a run, in milliseconds. */
  runTimeoutMs: number;
  models: ModelsConfig;
  /** Folder of tool modules for agents that call tools; undefined for none. */
  toolsFolder: string | undefined;
  /** File that names MCP servers whose tools agents may call; undefined for none. */
  mcpFile: string | undefined;
  /** Files of more agents. */
  agentFiles: readonly string[];
  /** File of the versions of agents that serve side by side; undefined for the built-in ones. */
  versionsFile: string | undefined;
}

const schema = modelsConfigSchema.extend({
  RAGENTS_HOST: z.string().default("127.0.0.1"),
  RAGENTS_AGENT_PORT: port(9105),
  RAGENTS_CACHE_ADDRESS: grpcTarget("127.0.0.1:9101"),
  RAGENTS_CHECKPOINT_ADDRESS: grpcTarget("127.0.0.1:9102"),
  RAGENTS_RATELIMIT_ADDRESS: grpcTarget("127.0.0.1:9103"),
  RAGENTS_RAG_ADDRESS: grpcTarget("127.0.0.1:9104"),
  RAGENTS_AGENT_MAX_RUNS: integer({ default: 50, min: 1, max: 10_000, unit: "runs" }),
  RAGENTS_AGENT_MAX_WAITING: integer({ default: 100, min: 0, max: 10_000, unit: "runs" }),
  RAGENTS_AGENT_PRIORITIES: z
    .string()
    .default("")
    .transform((text) => text.split(",").filter((part) => part.trim() !== ""))
    .pipe(z.array(z.string().regex(/^\s*[\w-]+=(CRITICAL|HIGH|NORMAL|LOW)\s*$/, "give TIER=CRITICAL|HIGH|NORMAL|LOW, divided by commas")))
    .transform((parts) => new Map(parts.map((part) => part.trim().split("=") as [string, RequestPriority]))),
  RAGENTS_AGENT_TOOLS: z.string().optional(),
  RAGENTS_AGENT_MCP: z.string().optional(),
  RAGENTS_AGENT_GRAPHS: commaList([]),
  RAGENTS_AGENT_VERSIONS: z.string().optional(),
  RAGENTS_AGENT_LEASE_S: integer({ default: 15, min: 1, max: 600, unit: "seconds" }),
  RAGENTS_AGENT_HANDOVER_S: integer({ default: 15, min: 0, max: 3_600, unit: "seconds" }),
  RAGENTS_AGENT_TAKEOVER_S: integer({ default: 15, min: 0, max: 3_600, unit: "seconds" }),
  RAGENTS_AGENT_TIMEOUT_S: integer({ default: 300, min: 1, max: 3_600, unit: "seconds" }),
});

/** Reads the service's variables. Throws ConfigError naming every one that is wrong. */
export function loadAgentConfig(env: NodeJS.ProcessEnv): AgentConfig {
  const values = parseEnv(env, schema);
  return {
    host: values.RAGENTS_HOST,
    port: values.RAGENTS_AGENT_PORT,
    cacheAddress: values.RAGENTS_CACHE_ADDRESS,
    checkpointAddress: values.RAGENTS_CHECKPOINT_ADDRESS,
    rateLimitAddress: values.RAGENTS_RATELIMIT_ADDRESS,
    ragAddress: values.RAGENTS_RAG_ADDRESS,
    maxRuns: values.RAGENTS_AGENT_MAX_RUNS,
    leaseMs: values.RAGENTS_AGENT_LEASE_S * 1000,
    handoverMs: values.RAGENTS_AGENT_HANDOVER_S * 1000,
    takeoverMs: values.RAGENTS_AGENT_TAKEOVER_S * 1000,
    maxWaiting: values.RAGENTS_AGENT_MAX_WAITING,
    priorities: values.RAGENTS_AGENT_PRIORITIES,
    runTimeoutMs: values.RAGENTS_AGENT_TIMEOUT_S * 1000,
    models: values,
    toolsFolder: values.RAGENTS_AGENT_TOOLS,
    mcpFile: values.RAGENTS_AGENT_MCP,
    agentFiles: values.RAGENTS_AGENT_GRAPHS,
    versionsFile: values.RAGENTS_AGENT_VERSIONS,
  };
}
