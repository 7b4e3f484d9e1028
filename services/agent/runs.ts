import { randomUUID } from "node:crypto";
import type { RateLimiter } from "../../clients/ratelimit/index.js";
import { admitRun } from "./admission.js";
import type { AgentDeps, AgentGraph, AgentKind } from "./agents/agent-kind.js";
import { asksSomething } from "./asks.js";
import { CachedRuns } from "./cached-runs.js";
import { userMessage } from "./conversation.js";
import { callerToolTaken, callsNoTools, unknownAgent } from "./errors.js";
import { NewThreadSaver } from "./new-thread-saver.js";
import { beginning, resultOf, type Run, type RunEvent, type RunRequest } from "./run.js";
import type { RunSlots } from "./run-slots.js";
import { runTimeout } from "./run-timeout.js";
import type { NodeEvent, RunAnswer, RunStateUpdate } from "./state.js";
import { summaryOf } from "./step-summary.js";
import { SEARCH_TOOL } from "./tools/search-knowledge-base.js";
import type { ThreadLocks } from "./thread-locks.js";
import type { Threads } from "./threads.js";

export interface RunsOptions {
  deps: AgentDeps;
  kinds: readonly AgentKind[];
  threads: Threads;
  locks: ThreadLocks;
  slots: RunSlots;
  limiter: Pick<RateLimiter, "check">;
  /** Longest time of a run, in milliseconds. */
  timeoutMs: number;
}

/** An agent's graph, for threads that exist and for those that do not. */
interface Agent {
  readonly kind: AgentKind;
  readonly graph: AgentGraph;
  readonly newThreadGraph: AgentGraph;
}

/** Runs agents on questions. */
export class Runs {
  readonly #options: RunsOptions;
  readonly #agents: ReadonlyMap<string, Agent>;
  readonly #cached: CachedRuns;

  constructor(options: RunsOptions) {
    const { deps, kinds } = options;
    this.#options = options;
    this.#cached = new CachedRuns(deps, options.threads, (run) => this.#inSlot(run));
    const newThreadDeps = { ...deps, checkpointer: new NewThreadSaver(deps.checkpointer) };
    this.#agents = new Map(
      kinds.map((kind) => [kind.type, { kind, graph: kind.build(deps), newThreadGraph: kind.build(newThreadDeps) }]),
    );
  }

  get kinds(): readonly AgentKind[] {
    return this.#options.kinds;
  }

  /**
   * Answers a question. Throws INVALID_ARGUMENT for an unknown agent or model, NOT_FOUND for an unknown collection,
   * ABORTED when the thread has a run already, RESOURCE_EXHAUSTED when the replica is full or the tenant may not run more.
   */
  async *ask(request: RunRequest, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const agent = this.#agents.get(request.agentType);
    if (agent === undefined) throw unknownAgent(request.agentType, [...this.#agents.keys()]);
    this.#checkCallerTools(request, agent.kind);
    // Throws for a model that is not configured.
    this.#options.deps.models.answerer(request.settings.model);
    const timeout = runTimeout(signal, this.#options.timeoutMs);
    try {
      yield* request.threadId === "" ? this.#inNewThread(request, agent, timeout.signal) : this.#inThread(request, agent, timeout.signal);
    } catch (error) {
      timeout.signal.throwIfAborted();
      throw error;
    } finally {
      timeout.clear();
    }
  }

  #checkCallerTools({ settings: { callerTools } }: RunRequest, kind: AgentKind): void {
    if (callerTools.length === 0) return;
    if (kind.callsTools !== true) throw callsNoTools(kind.type);
    const own = new Set([SEARCH_TOOL, ...this.#options.deps.tools.map(({ name }) => name)]);
    const taken = callerTools.find(({ name }, i) => own.has(name) || callerTools.findIndex((tool) => tool.name === name) < i);
    if (taken !== undefined) throw callerToolTaken(taken.name);
  }

  /** Nobody else knows the thread: it needs no lock, and has no history. */
  #inNewThread(request: RunRequest, { kind, newThreadGraph: graph }: Agent, signal: AbortSignal): AsyncIterable<RunEvent> {
    const run = { ...request, kind, graph, signal, threadId: randomUUID(), unstored: request.history };
    return mayBeCached(run) ? this.#cached.answer(run, false) : this.#inSlot(run);
  }

  #inThread(request: RunRequest, agent: Agent, signal: AbortSignal): AsyncIterable<RunEvent> {
    const { threads, locks } = this.#options;
    return locks.hold(request.threadId, async function* (this: Runs, lost: AbortSignal) {
      const thread = await threads.find(request.threadId);
      const run = {
        ...request,
        kind: agent.kind,
        graph: thread?.isStored ? agent.graph : agent.newThreadGraph,
        signal: AbortSignal.any([signal, lost]),
        unstored: thread === undefined || thread.isStored ? [] : thread.messages,
      };
      yield* thread === undefined && mayBeCached(run) ? this.#cached.answer(run, true) : this.#inSlot(run);
    }.bind(this));
  }

  #inSlot(run: Run): AsyncIterable<RunEvent> {
    return this.#options.slots.hold(() => this.#runGraph(run));
  }

  async *#runGraph(run: Run): AsyncGenerator<RunEvent> {
    await admitRun(this.#options.limiter);
    const messages = [...run.unstored, userMessage(run.question, this.#options.deps.clock)];
    const stream = await run.graph.stream(beginning(run, messages), {
      configurable: { thread_id: run.threadId },
      durability: "sync",
      streamMode: ["updates", "custom"],
      signal: run.signal,
    });
    let answer: RunAnswer | null = null;
    for await (const [mode, chunk] of stream) {
      if (mode === "custom") {
        yield chunk as NodeEvent;
        continue;
      }
      for (const [name, update] of Object.entries(chunk as Record<string, RunStateUpdate>)) {
        answer = (update.reply as RunAnswer | undefined) ?? answer;
        yield { step: { name, summary: summaryOf(name, update) } };
      }
    }
    // An aborted stream may just end.
    run.signal.throwIfAborted();
    if (answer === null) throw new Error(`the agent ${run.kind.type} ended without an answer`);
    yield { result: resultOf(run, answer, false) };
  }
}

/** Whether an answer depends on the question alone, not on what was said before: for the first of a thread. */
function mayBeCached({ bypassCache, question, history, settings }: RunRequest): boolean {
  return !bypassCache && history.length === 0 && settings.callerTools.length === 0 && asksSomething(question);
}
