import type { AIMessage, BaseMessage } from "@langchain/core/messages";
import type { JsonObject } from "@bufbuild/protobuf";
import type { Clock } from "../../runtime/clock.js";
import { reasonOf } from "../../runtime/errors.js";
import type { AgentGraph } from "./agents/agent-kind.js";
import { runNotFound } from "./errors.js";
import { agrees, type Position, type RunPlace, START_OF_RUN } from "./event-position.js";
import { resultOf, type RunEvent } from "./run.js";
import { runGraph } from "./run-graph.js";
import type { Runs } from "./runs.js";
import { seedOf, seedThread } from "./seeds.js";
import type { RunAnswer, RunStateValue } from "./state.js";
import { summaryOf } from "./step-summary.js";
import type { ThreadLocks } from "./thread-locks.js";
import type { Threads } from "./threads.js";

export interface ResumedRunsOptions {
  runs: Runs;
  threads: Threads;
  locks: ThreadLocks;
  clock: Clock;
}

/** Pause before a thread that another replica works on is looked at again, in milliseconds. */
const LOOK_AGAIN_MS = 250;

/** What the checkpoints say of a run. */
interface StoredRun {
  readonly threadId: string;
  readonly graph: AgentGraph;
  readonly state: RunStateValue;
  /** Whether steps are left to do. */
  readonly isOpen: boolean;
}

/**
 * Goes on with runs from their checkpoints, which are the log of what they did: what a client has not been told is told
 * from there, and steps that are left are done. What a step told before its replica died is void, since the step is done
 * anew; one that has a checkpoint is never done twice.
 */
export class ResumedRuns {
  readonly #options: ResumedRunsOptions;

  constructor(options: ResumedRunsOptions) {
    this.#options = options;
  }

  /** The run's events behind a position. Throws NOT_FOUND when the thread does not hold the run. */
  async *resume(place: RunPlace, after: Position, signal: AbortSignal): AsyncGenerator<RunEvent> {
    for (;;) {
      const stored = await this.#find(place);
      if (stored === undefined) throw runNotFound();
      if (!stored.isOpen) return yield* retold(stored, after);
      const continued = this.#options.locks.hold(stored.threadId, (lost) => this.#continue(place, after, AbortSignal.any([signal, lost])));
      try {
        return yield* continued;
      } catch (error) {
        if (reasonOf(error) !== "THREAD_BUSY") throw error;
        // A replica works on it, or died so lately that its lease still holds.
        await this.#options.clock.sleep(LOOK_AGAIN_MS, signal);
      }
    }
  }

  /** Whether the thread's checkpoints hold this run. */
  async has(place: RunPlace): Promise<boolean> {
    return (await this.#find(place)) !== undefined;
  }

  async *#continue(place: RunPlace, after: Position, signal: AbortSignal): AsyncGenerator<RunEvent> {
    // It may have ended before this replica got the thread.
    const stored = await this.#find(place);
    if (stored === undefined) throw runNotFound();
    if (!stored.isOpen) return yield* retold(stored, after);
    yield* stepsBehind(await history(stored), after);
    if (after.characters > 0 || after.citations > 0) yield { restarted: true };
    yield* runGraph({ ...stored, settings: stored.state.settings, signal }, null);
  }

  async #find({ threadId, runId }: RunPlace): Promise<StoredRun | undefined> {
    const thread = await this.#options.threads.find(threadId);
    if (thread === undefined) return undefined;
    const seed = thread.isStored ? undefined : seedOf(threadId);
    const holder = seed === undefined ? threadId : seedThread(seed);
    const config = { configurable: { thread_id: holder } };
    // Every agent's state has the same shape: any graph can read which one it is.
    const { values } = await this.#options.runs.graphOf("simple").getState(config);
    const state = values as RunStateValue;
    if (seed === undefined && state.run !== runId) return undefined;
    const graph = this.#options.runs.graphOf(state.settings.agent);
    const { next } = await graph.getState(config);
    return { threadId: seed === undefined ? threadId : holder, graph, state, isOpen: seed === undefined && next.length > 0 };
  }
}

/** What is left to tell of a run that has ended. */
async function* retold(stored: StoredRun, after: Position): AsyncGenerator<RunEvent> {
  const { reply } = stored.state;
  if (reply === null) throw runNotFound();
  const steps = await history(stored);
  const last = steps.pop();
  yield* stepsBehind(steps, after);
  yield* answerBehind(reply, after);
  if (last !== undefined && after.steps <= steps.length) yield { step: { name: last.name, summary: summaryOf(last.name, last.state) } };
  yield { result: resultOf({ threadId: stored.threadId, settings: stored.state.settings }, reply, false) };
}

function* answerBehind({ text, citations }: RunAnswer, after: Position): Generator<RunEvent> {
  const told = agrees(after, text) ? after : START_OF_RUN;
  if (told !== after) yield { restarted: true };
  if (told.characters < text.length) yield { text: text.slice(told.characters) };
  for (const citation of citations.slice(told.citations)) yield { citation };
}

/** A step that was done, with the state that it left. */
interface DoneStep {
  readonly name: string;
  readonly state: RunStateValue;
}

/** The steps of the run that the thread is at, in order. */
async function history({ graph, threadId, state }: StoredRun): Promise<DoneStep[]> {
  const steps: DoneStep[] = [];
  let later: RunStateValue | undefined;
  for await (const { values, next } of graph.getStateHistory({ configurable: { thread_id: threadId } })) {
    const earlier = values as Partial<RunStateValue>;
    if (earlier.run !== state.run) break;
    const [name] = next;
    if (later !== undefined && name !== undefined) steps.unshift({ name, state: later });
    later = earlier as RunStateValue;
  }
  return steps;
}

function* stepsBehind(steps: readonly DoneStep[], after: Position): Generator<RunEvent> {
  yield* toolsOf(steps.at(-1)?.state.work ?? []).slice(after.tools);
  for (const { name, state } of steps.slice(after.steps)) yield { step: { name, summary: summaryOf(name, state) } };
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
