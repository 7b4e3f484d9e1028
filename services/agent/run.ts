import type { BaseMessage } from "@langchain/core/messages";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { CacheScope } from "../../clients/cache/index.js";
import type { Citation } from "../../runtime/llm/answerer.js";
import { NO_USAGE, type Usage } from "../../runtime/llm/language-model.js";
import type { AgentGraph, AgentKind } from "./agents/agent-kind.js";
import type { AgentVersion } from "./agent-versions.js";
import type { Position, RunPlace } from "./event-position.js";
import type { Analysis } from "./logical/analysis.js";
import type { RunSettings } from "./settings.js";
import type { NodeEvent, RunAnswer, RunStateUpdate, ToolCallNotice } from "./state.js";

/** What a request does when its thread has a run already. */
export type WhenBusy = "reject" | "enqueue" | "interrupt";

/** A question to an agent. */
export interface RunRequest {
  readonly question: string;
  /** Empty for a new thread. */
  readonly threadId: string;
  /** Its id when `threadId` is empty, unless the answer comes from the cache. */
  readonly newThreadId: string;
  /** What was said before, where the caller keeps the conversation itself; only without a thread. */
  readonly history: readonly BaseMessage[];
  /** What has come of the question so far: calls of the caller's tools, and their results. */
  readonly work: readonly BaseMessage[];
  readonly runId: string;
  /** What was asked, as a hash, when the request has an idempotency key; else empty. */
  readonly fingerprint: string;
  /** Whether the run goes on for a while without its caller. */
  readonly outlivesCall: boolean;
  /** Whether anybody is told what happens on the way to the result. */
  readonly isFollowed: boolean;
  readonly whenBusy: WhenBusy;
  readonly settings: RunSettings;
  /** The settings under another version of its agent, where a thread stays on one; undefined when the request names its version. */
  readonly settingsUnder: ((version: AgentVersion) => RunSettings) | undefined;
  /** Answer afresh even when the cache has an answer. */
  readonly bypassCache: boolean;
}

/** A request that was begun, with what belongs to it. */
export interface Run extends RunRequest {
  readonly kind: AgentKind;
  readonly graph: AgentGraph;
  readonly signal: AbortSignal;
  /** Answers without remembering, for when a new thread cannot be stored; undefined where that would not do. */
  readonly unstoredGraph?: AgentGraph;
  /** The thread's newest checkpoint. */
  readonly head?: CheckpointTuple | undefined;
  /** Messages of the thread that its checkpoints do not hold yet. */
  readonly unstored: readonly BaseMessage[];
  /** Where the cache keeps the answer to the question, when it does. */
  readonly cachedIn?: CacheScope;
}

/** What happens in a run, in order; the result is last. `restarted` voids the text and citations before it. */
export type RunEvent =
  | {
      started: RunPlace;
      /** What was told of it before, where it goes on. */
      at?: Position;
    }
  | { step: { name: string; summary: string } }
  | NodeEvent
  | { restarted: true }
  | { interrupt: Interrupt }
  | { usage: Usage }
  | { result: RunResult };

/** What a run asks before it goes on. */
export interface Interrupt {
  readonly id: string;
  readonly value: unknown;
}

export interface RunResult {
  readonly response: string;
  readonly threadId: string;
  readonly agentType: string;
  readonly cached: boolean;
  readonly model: string;
  /** Empty where the answer was stored before versions were. */
  readonly modelVersion: string;
  readonly agentVersion: string;
  readonly collection: string;
  readonly citations: readonly Citation[];
  readonly usage: Usage;
  readonly analysis: Analysis | null;
  /** What the run asks; the response is empty then. */
  readonly interrupts: readonly Interrupt[];
  /** Calls that the caller has to make before there is an answer; the response is empty then. */
  readonly toolCalls: readonly ToolCallNotice[];
}

/** What a run adds to its thread's state: new messages, and nothing of what the last question left. */
export function beginning(run: Pick<Run, "runId" | "settings" | "work">, messages: BaseMessage[]): RunStateUpdate {
  return {
    messages,
    run: run.runId,
    settings: run.settings,
    trail: null,
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

type Asked = { readonly threadId: string; readonly settings: Pick<RunSettings, "agent" | "collection"> };

export function resultOf({ threadId, settings }: Asked, { text, citations, model, modelVersion = "", agentVersion = "", usage, analysis = null, toolCalls = [] }: RunAnswer, cached: boolean): RunResult {
  return { response: text, threadId, agentType: settings.agent, cached, model, modelVersion, agentVersion, collection: settings.collection, citations, usage, analysis, interrupts: [], toolCalls };
}

/** The result of a run that asks something before it goes on. */
export function interruptedResult(run: { readonly threadId: string; readonly settings: RunSettings }, interrupts: readonly Interrupt[]): RunResult {
  return { ...resultOf(run, { text: "", citations: [], model: run.settings.model, agentVersion: run.settings.version, usage: NO_USAGE }, false), interrupts };
}

/** The events that end a run. */
export function endOf(result: RunResult): RunEvent[] {
  return [...result.interrupts.map((interrupt) => ({ interrupt })), { usage: result.usage }, { result }];
}
