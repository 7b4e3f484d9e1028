import type { RateLimiter } from "../../clients/ratelimit/index.js";
import { admitRun } from "./admission.js";
import type { AgentDeps, AgentGraph, AgentKind } from "./agents/agent-kind.js";
import { asksSomething } from "./asks.js";
import { CachedRuns } from "./cached-runs.js";
import { userMessage } from "./conversation.js";
import { unknownAgent } from "./errors.js";
import { NewThreadSaver } from "./new-thread-saver.js";
import { beginning, type Run, type RunEvent, type RunRequest } from "./run.js";
import { runGraph } from "./run-graph.js";
import type { RunSlots } from "./run-slots.js";
import { runTimeout } from "./run-timeout.js";
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

  /** The graph of a kind of agent, for threads that exist. Throws INVALID_ARGUMENT for an unknown agent. */
  graphOf(type: string): AgentGraph {
    return this.#agentOf(type).graph;
  }

  /**
   * Answers a question. Throws INVALID_ARGUMENT for an unknown agent or model, NOT_FOUND for an unknown collection,
   * ABORTED when the thread has a run already, RESOURCE_EXHAUSTED when the replica is full or the tenant may not run more.
   */
  async *ask(request: RunRequest, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const agent = this.#agentOf(request.settings.agent);
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

  #agentOf(type: string): Agent {
    const agent = this.#agents.get(type);
    if (agent === undefined) throw unknownAgent(type, [...this.#agents.keys()]);
    return agent;
  }

  /** Nobody else knows the thread: it needs no lock, and has no history. */
  #inNewThread(request: RunRequest, { kind, newThreadGraph: graph }: Agent, signal: AbortSignal): AsyncIterable<RunEvent> {
    const run = { ...request, kind, graph, signal, threadId: request.newThreadId, unstored: [] };
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
    yield* runGraph(run, beginning(run, messages));
  }
}

/** Whether an answer depends on the question alone, not on what was said before: for the first of a thread. */
function mayBeCached({ bypassCache, question }: RunRequest): boolean {
  return !bypassCache && asksSomething(question);
}
