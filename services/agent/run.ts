import type { BaseMessage } from "@langchain/core/messages";
import type { Citation } from "../../runtime/llm/answerer.js";
import { NO_USAGE, type Usage } from "../../runtime/llm/language-model.js";
import type { AgentGraph, AgentKind } from "./agents/agent-kind.js";
import type { Analysis } from "./logical/analysis.js";
import type { RunSettings } from "./settings.js";
import type { NodeEvent, RunAnswer, RunStateUpdate, ToolCallNotice } from "./state.js";

/** A question to an agent. */
export interface RunRequest {
  readonly agentType: string;
  readonly question: string;
  /** Empty for a new thread. */
  readonly threadId: string;
  /** What was said before, where the caller keeps the conversation itself; only without a thread. */
  readonly history: readonly BaseMessage[];
  /** What has come of the question so far: calls of the caller's tools, and their results. */
  readonly work: readonly BaseMessage[];
  readonly settings: RunSettings;
  /** Answer afresh even when the cache has an answer. */
  readonly bypassCache: boolean;
}

/** A request that was begun, with what belongs to it. */
export interface Run extends RunRequest {
  readonly kind: AgentKind;
  readonly graph: AgentGraph;
  readonly signal: AbortSignal;
  /** Messages of the thread that its checkpoints do not hold yet. */
  readonly unstored: readonly BaseMessage[];
}

/** What happens in a run, in order; the result is last. */
export type RunEvent = { step: { name: string; summary: string } } | NodeEvent | { result: RunResult };

export interface RunResult {
  readonly response: string;
  readonly threadId: string;
  readonly agentType: string;
  readonly cached: boolean;
  readonly model: string;
  readonly collection: string;
  readonly citations: readonly Citation[];
  readonly usage: Usage;
  readonly analysis: Analysis | null;
  readonly toolCalls: readonly ToolCallNotice[];
}

/** What a run adds to its thread's state: new messages, and nothing of what the last question left. */
export function beginning(run: Run, messages: BaseMessage[]): RunStateUpdate {
  return {
    messages,
    settings: run.settings,
    question: "",
    usage: NO_USAGE,
    work: run.work.length === 0 ? null : [...run.work],
    analysis: null,
    parts: [],
    notes: "",
    failure: null,
    passages: [],
    reply: null,
  };
}

export function resultOf({ threadId, kind, settings }: Run, { text, citations, model, usage, analysis = null, toolCalls = [] }: RunAnswer, cached: boolean): RunResult {
  return { response: text, threadId, agentType: kind.type, cached, model, collection: settings.collection, citations, usage, analysis, toolCalls };
}
