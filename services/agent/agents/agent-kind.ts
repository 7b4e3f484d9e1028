import type { JsonObject } from "@bufbuild/protobuf";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { CompiledStateGraph } from "@langchain/langgraph";
import type { Client } from "@connectrpc/connect";
import type { RagService } from "../../../gen/ragents/rag/v1/rag_service_pb.js";
import type { Clock } from "../../../runtime/clock.js";
import type { Models } from "../../../runtime/llm/models.js";
import type { PromptName, Prompts } from "../../../runtime/llm/prompts.js";
import type { CacheClient } from "../../../clients/cache/index.js";
import type { BatchedRewrites } from "../batched-rewrites.js";
import type { Tool } from "../tools/tool.js";
import type { RunStateUpdate, RunStateValue } from "../state.js";

/** What an agent's nodes work with. */
export interface AgentDeps {
  readonly rag: Client<typeof RagService>;
  readonly cache: CacheClient;
  readonly models: Models;
  readonly prompts: Prompts;
  /** The agent's version, for its answers to carry. */
  readonly version: string;
  readonly rewrites: BatchedRewrites;
  readonly clock: Clock;
  /** Where threads are kept; undefined for graphs that remember nothing. */
  readonly checkpointer: BaseCheckpointSaver | undefined;
  /** What models may call besides the search of the collection. */
  readonly tools: readonly Tool[];
}

/** An agent's graph, ready to run. */
// The nodes differ from agent to agent:
// CompiledStateGraph is invariant in them.
export type AgentGraph = CompiledStateGraph<RunStateValue, RunStateUpdate, any>;

/** A kind of agent: what requests name, and how its graph is made. */
export interface AgentKind {
  readonly type: string;
  /** What it does, in a sentence. */
  readonly description: string;
  /** Changes when its graph, with the same prompts, would answer the same question otherwise. */
  readonly version: string;
  /** What its models are instructed with. */
  readonly prompts: readonly PromptName[];
  /** Whether its model calls tools, those of the caller too. Default: it does not. */
  readonly callsTools?: boolean;
  /** JSON schema of what requests may give it as agent_config; absent when it takes nothing. */
  readonly configSchema?: JsonObject | undefined;
  build(deps: AgentDeps): AgentGraph;
}

/** What an agent's graph is compiled with. */
export function compiled({ checkpointer }: Pick<AgentDeps, "checkpointer">): { checkpointer?: BaseCheckpointSaver } {
  return checkpointer === undefined ? {} : { checkpointer };
}
