import type { AIMessage, BaseMessage } from "@langchain/core/messages";
import type { JsonObject } from "@bufbuild/protobuf";
import type { AgentGraph } from "./agents/agent-kind.js";
import { answerOf, stampOf } from "./conversation.js";
import { runCancelled } from "./errors.js";
import { agrees, type Position, type RunPlace, START_OF_RUN } from "./event-position.js";
import { endOf, type Interrupt, interruptedResult, resultOf, type RunEvent, type RunResult } from "./run.js";
import type { RunStateValue } from "./state.js";
import type { Threads } from "./threads.js";

/** What the checkpoints say of a run. */
export interface StoredRun {
  readonly threadId: string;
  /** The graph of the agent that ran last. */
  readonly graph: AgentGraph;
  readonly state: RunStateValue;
  /** What was asked, as a hash, where the run had an idempotency key. */
  readonly request: string;
  /** Absent while steps are left to do, and when the run was cancelled. */
  readonly result: RunResult | undefined;
  /** Whether steps are left that can be done. */
  readonly isOpen: boolean;
  /** Whether `state` is the one that this run left: else a later one has gone on since. */
  readonly isLast: boolean;
  /** False for a thread that is known by its seed alone. */
  readonly isStored: boolean;
}

/**
 * Runs as their checkpoints tell them, which are the log of what they did: a step leaves its name and summary in the state, a
 * model's calls and what came of them are there, and each answer is a message that says which run wrote it.
 */
export class StoredRuns {
  readonly #threads: Threads;
  readonly #graphOf: (agentType: string, version: string | undefined) => AgentGraph;

  constructor(threads: Threads, graphOf: (agentType: string, version: string | undefined) => AgentGraph) {
    this.#threads = threads;
    this.#graphOf = graphOf;
  }

  /** Undefined when the thread does not hold the run. */
  async find({ threadId, runId }: RunPlace): Promise<StoredRun | undefined> {
    const last = await this.last(threadId);
    if (last === undefined) return undefined;
    const { state } = last;
    const own = state.messages.filter((message) => stampOf(message).run === runId);
    const request = own[0] === undefined ? "" : (stampOf(own[0]).request ?? "");
    // A thread that is still being stored, or never was, is its seed's conversation.
    if (state.run === runId || !last.isStored) return { ...last, request };
    const answer = own.map(answerOf).find((found) => found !== undefined);
    if (answer === undefined) return undefined;
    const result = resultOf({ threadId, settings: answer }, answer, false);
    return { ...last, request, result, isOpen: false, isLast: false };
  }

  /** The last run of a thread; undefined when there is no such thread. */
  async last(threadId: string): Promise<StoredRun | undefined> {
    const thread = await this.#threads.find(threadId);
    if (thread === undefined) return undefined;
    const config = { configurable: { thread_id: thread.holder } };
    const graph = this.#graphOf(thread.agentType, thread.agentVersion);
    const { values, next, tasks } = await graph.getState(config);
    const state = values as RunStateValue;
    const interrupts = tasks.flatMap((task) => task.interrupts as Interrupt[]);
    return {
      threadId,
      graph,
      state,
      request: "",
      result: resultFrom(threadId, state, interrupts),
      isStored: thread.isStored,
      isOpen: thread.isStored && next.length > 0 && interrupts.length === 0,
      isLast: true,
    };
  }
}

function resultFrom(threadId: string, state: RunStateValue, interrupts: Interrupt[]): RunResult | undefined {
  if (interrupts.length > 0) return interruptedResult({ threadId, settings: state.settings }, interrupts);
  return state.reply ? resultOf({ threadId, settings: state.settings }, state.reply, state.trail[0]?.name === "cache") : undefined;
}

/** What is left to tell of a run that has ended, behind a position. Throws ABORTED for one that was cancelled. */
export function* retold(run: StoredRun, runId: string, after: Position): Generator<RunEvent> {
  if (run.result === undefined) throw runCancelled();
  const { threadId, isLast, state, result } = run;
  if (after.marks === 0) yield { started: { threadId, runId } };
  const trail = isLast ? state.trail : [];
  yield* toolsOf(isLast ? state.work : []).slice(after.tools);
  for (const step of trail.slice(after.steps, -1)) yield { step };
  yield* answerBehind(result, after);
  if (trail.length > 0 && after.steps < trail.length) yield { step: trail.at(-1)! };
  yield* endOf(result).slice(Math.max(0, after.marks - 1));
}

/** What is left to tell of the steps that a run has done which is under way. */
export function* doneSoFar({ threadId, state }: StoredRun, runId: string, after: Position): Generator<RunEvent> {
  if (after.marks === 0) yield { started: { threadId, runId } };
  yield* toolsOf(madeCalls(state)).slice(after.tools);
  for (const step of state.trail.slice(after.steps)) yield { step };
}

/** The same of a run that another replica goes on with, which writes anew what was not done. */
export function* toldSoFar(run: StoredRun, runId: string, after: Position): Generator<RunEvent> {
  yield* doneSoFar(run, runId, after);
  if (after.characters > 0 || after.citations > 0) yield { restarted: true };
}

/**
 * The events of a run that is gone on with, without the first of its steps and tools: as many as were told before their
 * replica could store them.
 */
export async function* untold(events: AsyncIterable<RunEvent>, told: { steps: number; tools: number }): AsyncGenerator<RunEvent> {
  let { steps, tools } = told;
  for await (const event of events) {
    if ("step" in event && (steps -= 1) >= 0) continue;
    if (("toolCall" in event || "toolResult" in event) && (tools -= 1) >= 0) continue;
    yield event;
  }
}

/** Where the events of an interrupted run go on: it has begun anew, but its steps were told. */
export function positionOf({ state }: StoredRun): Position {
  return { ...START_OF_RUN, steps: state.trail.length, tools: toolsOf(madeCalls(state)).length };
}

/** The work without calls that are still to be made: whoever makes them tells of them. */
function madeCalls({ work }: RunStateValue): BaseMessage[] {
  return work.slice(0, work.findLastIndex(({ type }) => type === "tool") + 1);
}

/** What was told of a run behind what its checkpoints say. */
export function toldBeyond({ state }: StoredRun, after: Position): { steps: number; tools: number } {
  return { steps: after.steps - state.trail.length, tools: after.tools - toolsOf(madeCalls(state)).length };
}

function* answerBehind({ response, citations }: RunResult, after: Position): Generator<RunEvent> {
  const told = agrees(after, response) ? after : START_OF_RUN;
  if (told !== after) yield { restarted: true };
  if (told.characters < response.length) yield { text: response.slice(told.characters) };
  for (const citation of citations.slice(told.citations)) yield { citation };
}

/** The calls of tools and what came of them, as far as they are known. */
function toolsOf(work: readonly BaseMessage[]): RunEvent[] {
  const names = new Map<string, string>();
  return work.flatMap((message): RunEvent[] => {
    if (message.type === "ai") {
      return ((message as AIMessage).tool_calls ?? []).map(({ id = "", name, args }) => {
        names.set(id, name);
        return { toolCall: { id, name, arguments: args as JsonObject } };
      });
    }
    const { tool_call_id: id, status, text } = message as BaseMessage & { tool_call_id: string; status?: string };
    return [{ toolResult: { id, name: names.get(id) ?? "", failed: status === "error", summary: text.slice(0, 200) } }];
  });
}
