import type { JsonObject } from "@bufbuild/protobuf";
import type { BaseMessage } from "@langchain/core/messages";
import { Annotation, type LangGraphRunnableConfig, MessagesAnnotation } from "@langchain/langgraph";
import type { Citation, Passage } from "../../runtime/llm/answerer.js";
import type { Usage } from "../../runtime/llm/language-model.js";
import type { AnsweredBy } from "./answered-by.js";
import type { Analysis } from "./logical/analysis.js";
import type { RunSettings } from "./settings.js";

/** What a run of any agent remembers: the conversation, and the work on its last question. */
export const RunState = Annotation.Root({
  /** The conversation, oldest first. */
  ...MessagesAnnotation.spec,
  /** The run that works on the last question. */
  run: Annotation<string>,
  /** The steps that it has done; null clears it. */
  trail: Annotation<DoneStep[], DoneStep[] | null>({
    reducer: (left, right) => (right === null ? [] : [...left, ...right]),
    default: () => [],
  }),
  /** On whose behalf another replica may go on with the run when this one is gone; empty when it ends with its caller. */
  warrant: Annotation<string>,
  settings: Annotation<RunSettings>,
  /** The last question so that it can be understood alone. */
  question: Annotation<string>,
  /** What is searched for, the question first. */
  queries: Annotation<string[]>,
  /** What a model asked of tools for the last question, and what they answered; null clears it. */
  work: Annotation<BaseMessage[], BaseMessage[] | null>({
    reducer: (left, right) => (right === null ? [] : [...left, ...right]),
    default: () => [],
  }),
  /** Tokens that the steps before the answer took. */
  usage: Annotation<Usage>,
  /** What the question amounts to; null where it was not analysed. */
  analysis: Annotation<Analysis | null>,
  /** What the question asks, one by one; empty for a simple question. */
  parts: Annotation<string[]>,
  /** What the model worked out before it answers; empty when it did not. */
  notes: Annotation<string>,
  /** The failure that the error handler has to deal with. */
  failure: Annotation<Failure | null>,
  passages: Annotation<Passage[]>,
  /** The answer to the last question; null until it is written. */
  reply: Annotation<RunAnswer | null>,
});

export type RunStateValue = typeof RunState.State;
export type RunStateUpdate = typeof RunState.Update;

/** A step that a run has done. */
export interface DoneStep {
  readonly name: string;
  /** What came of it, for people to read. */
  readonly summary: string;
}

/** An answer before it is a response. */
export interface RunAnswer extends AnsweredBy {
  text: string;
  citations: readonly Citation[];
  usage: Usage;
  /** What the question amounts to, where that was asked. */
  analysis?: Analysis | null;
  /** What the caller has to do before there is an answer. */
  toolCalls?: readonly ToolCallNotice[];
}

/** A step that failed, in a form that a checkpoint can keep. */
export interface Failure {
  readonly node: string;
  /** google.rpc.Status in base64. */
  readonly status: string;
  /** Failures in this run, this one included. */
  readonly count: number;
}

/** A step of an agent's graph. */
export type Node = (state: RunStateValue, config: LangGraphRunnableConfig) => Promise<RunStateUpdate>;

/** What a node tells while it works. */
export type NodeEvent = { text: string } | { citation: Citation } | { toolCall: ToolCallNotice } | { toolResult: ToolResultNotice };

/** A model has a tool called. */
export interface ToolCallNotice {
  readonly id: string;
  readonly name: string;
  readonly arguments: JsonObject;
}

/** A tool has answered. */
export interface ToolResultNotice {
  readonly id: string;
  readonly name: string;
  readonly failed: boolean;
  /** What came of it, for people to read. */
  readonly summary: string;
}
