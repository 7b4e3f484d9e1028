import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import type { ToolDefinition } from "../../runtime/llm/language-model.js";
import type { ConfigOverrides } from "../../gen/ragents/agent/v1/agent_pb.js";
import { RankingOptionsSchema } from "../../gen/ragents/rag/v1/ranking_pb.js";
import type { RewriteStrategy } from "./rewriting/strategies.js";

/** What a run works with: the configuration with the request's overrides. Plain JSON: it is part of every checkpoint. */
export interface RunSettings {
  /** The kind of agent. */
  agent: string;
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

/** The settings of a request. Limits were checked by the schema; the model's name is checked where models are known. */
export function runSettings(
  agent: string,
  overrides: ConfigOverrides | undefined,
  defaultModel: string,
  enableLogicalLlm = false,
  callerTools: CallerTool[] = [],
): RunSettings {
  return {
    agent,
    collection: overrides?.collection ?? DEFAULT_SETTINGS.collection,
    model: overrides?.model ?? defaultModel,
    temperature: overrides?.temperature ?? DEFAULT_SETTINGS.temperature,
    maxTokens: overrides?.maxTokens ?? DEFAULT_SETTINGS.maxTokens,
    topK: overrides?.topK ?? DEFAULT_SETTINGS.topK,
    mode: overrides?.mode ?? DEFAULT_SETTINGS.mode,
    filters: overrides?.filters ?? DEFAULT_SETTINGS.filters,
    ranking: overrides?.ranking === undefined ? DEFAULT_SETTINGS.ranking : toJson(RankingOptionsSchema, overrides.ranking),
    rewriteStrategy: (overrides?.rewriteStrategy as RewriteStrategy | undefined) ?? DEFAULT_SETTINGS.rewriteStrategy,
    agentConfig: overrides?.agentConfig ?? DEFAULT_SETTINGS.agentConfig,
    logicalLlm: enableLogicalLlm,
    instructions: overrides?.instructions ?? DEFAULT_SETTINGS.instructions,
    callerTools,
  };
}
