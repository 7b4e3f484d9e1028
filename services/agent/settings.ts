import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import type { ToolDefinition } from "../../runtime/llm/language-model.js";
import type { ConfigOverrides } from "../../gen/ragents/agent/v1/agent_pb.js";
import { RankingOptionsSchema } from "../../gen/ragents/rag/v1/ranking_pb.js";
import type { Models } from "../../runtime/llm/models.js";
import type { AgentKind } from "./agents/agent-kind.js";
import type { AgentVersion } from "./agent-versions.js";
import type { RewriteStrategy } from "./rewriting/strategies.js";

/** What a run works with: the configuration with the request's overrides. Plain JSON: it is part of every checkpoint. */
export interface RunSettings {
  /** The kind of agent. */
  agent: string;
  /** Its version. A run that was begun before there were versions has none. */
  version: string;
  collection: string;
  model: string;
  temperature: number;
  maxTokens: number;
  topK: number;
  mode: string;
  /** As in ragents.rag.v1.RetrieveRequest; null for none. */
  filters: JsonObject | null;
  /** ragents.rag.v1.RankingOptions in its JSON form; null for the search's own order. */
  ranking: JsonValue;
  rewriteStrategy: RewriteStrategy;
  /** What the agent alone understands, as its schema says; null for nothing. */
  agentConfig: JsonObject | null;
  /** Whether the logical agent may use a language model for its analysis. */
  logicalLlm: boolean;
  /** How to answer, by the caller's word; empty for nothing. */
  instructions: string;
  /** Tools that the caller runs itself. */
  callerTools: CallerTool[];
}

/** A tool that the caller runs itself when the model calls it. */
export type CallerTool = ToolDefinition;

/** What holds when a request overrides nothing. */
export const DEFAULT_SETTINGS = {
  collection: "default",
  temperature: 0.7,
  maxTokens: 2000,
  topK: 5,
  mode: "hybrid",
  filters: null,
  ranking: null,
  rewriteStrategy: "contextual",
  agentConfig: null,
  logicalLlm: false,
  instructions: "",
} as const;

/** What a request asks for besides its question. */
export interface RequestedSettings {
  readonly overrides?: ConfigOverrides | undefined;
  readonly enableLogicalLlm?: boolean | undefined;
  readonly callerTools?: CallerTool[];
}

/**
 * The settings of a request under a version of an agent. Limits were checked by the schema. Throws INVALID_ARGUMENT for a model that is
 * not configured, or not in the version that is asked for.
 */
export function runSettings(
  { kind, version, settings }: Pick<AgentVersion, "version" | "settings"> & { readonly kind: Pick<AgentKind, "type"> },
  models: Pick<Models, "nameOf">,
  { overrides, enableLogicalLlm = false, callerTools = [] }: RequestedSettings = {},
): RunSettings {
  const ranking = overrides?.ranking ?? settings?.ranking;
  const chosen = <Name extends Exclude<keyof typeof DEFAULT_SETTINGS, "ranking" | "logicalLlm">>(name: Name) => overrides?.[name] ?? settings?.[name] ?? DEFAULT_SETTINGS[name];
  return {
    agent: kind.type,
    version,
    collection: chosen("collection"),
    model: models.nameOf(overrides?.model ?? settings?.model),
    temperature: chosen("temperature"),
    maxTokens: chosen("maxTokens"),
    topK: chosen("topK"),
    mode: chosen("mode"),
    filters: chosen("filters"),
    ranking: ranking === undefined ? DEFAULT_SETTINGS.ranking : toJson(RankingOptionsSchema, ranking),
    rewriteStrategy: chosen("rewriteStrategy") as RewriteStrategy,
    agentConfig: chosen("agentConfig"),
    logicalLlm: enableLogicalLlm,
    instructions: chosen("instructions"),
    callerTools,
  };
}
