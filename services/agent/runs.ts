import { randomUUID } from "node:crypto";
import { Command } from "@langchain/langgraph";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { RateLimiter } from "../../clients/ratelimit/index.js";
import { backgroundCall, currentCall, currentTenant, type Identity, runInCall } from "../../runtime/call-context.js";
import { reasonOf } from "../../runtime/errors.js";
import type { Warrants } from "../../runtime/identity/warrants.js";
import { admitRun } from "./admission.js";
import type { AgentGraph, AgentKind } from "./agents/agent-kind.js";
import { AgentGraphs, type GraphDeps } from "./agent-graphs.js";
import type { AgentVersions } from "./agent-versions.js";
import { checkAgentConfig } from "./agents/agent-config.js";
import { asksSomething } from "./asks.js";
import { CachedRuns } from "./cached-runs.js";
import { userMessage } from "./conversation.js";
import { callerToolTaken, callsNoTools, keyReused, notInterrupted, runCancelled, runNotFound, shuttingDown, threadNotFound } from "./errors.js";
import { behind, type Position, type RunPlace, START_OF_RUN } from "./event-position.js";
import type { InterruptDecisions } from "./interrupts.js";
import { LiveRuns } from "./live-runs.js";
import { ThreadStoreGone } from "./run-saver.js";
import { beginning, type Run, type RunEvent, type RunRequest } from "./run.js";
import { type GraphRun, runGraph } from "./run-graph.js";
import type { RunSlots } from "./run-slots.js";
import { runTimeout } from "./run-timeout.js";
import { doneSoFar, positionOf, retold, type StoredRun, StoredRuns, toldBeyond, toldSoFar, untold } from "./stored-runs.js";
import { SEARCH_TOOL } from "./tools/search-knowledge-base.js";
import type { ThreadLocks } from "./thread-locks.js";
import type { RunStateUpdate } from "./state.js";
import type { Threads } from "./threads.js";
import type { UsageMetrics } from "./usage-metrics.js";

export interface RunsOptions {
  deps: GraphDeps;
  versions: AgentVersions;
  threads: Threads;
  locks: ThreadLocks;
  slots: RunSlots;
  limiter: Pick<RateLimiter, "check" | "windows">;
  /** For runs that outlive their callers. */
  warrants: Warrants;
  /** Longest time of a run, in milliseconds. */
  timeoutMs: number;
  /** Counts what runs use. */
  usage: UsageMetrics;
}

type Work = (signal: AbortSignal) => AsyncIterable<RunEvent>;

/** Pause before a run that another replica works on is looked at again, in milliseconds. */
const LOOK_AGAIN_MS = 250;

/** Runs agents on questions. */
export class Runs {
  readonly #options: RunsOptions;
  readonly #agents: AgentGraphs;
  readonly #cached: CachedRuns;
  readonly #live: LiveRuns;
  readonly #stored: StoredRuns;
  readonly #closing = new AbortController();
  /** The ends of the runs under way. */
  readonly #underWay = new Set<Promise<void>>();

  constructor(options: RunsOptions) {
    const { deps, versions, threads } = options;
    this.#options = options;
    this.#cached = new CachedRuns(deps, threads, (run) => this.#firstOf(run));
    this.#live = new LiveRuns(deps.clock);
    this.#stored = new StoredRuns(threads, (type, version) => this.graphOf(type, version));
    this.#agents = new AgentGraphs(versions, deps);
  }

  /** The graph of a kind of agent, for threads that exist; of its version where that is known. Throws INVALID_ARGUMENT for an unknown agent. */
  graphOf(type: string, version?: string): AgentGraph {
    return this.#agents.of(type, version).graph;
  }

  /**
   * Answers a question. Throws INVALID_ARGUMENT for an unknown agent or model, NOT_FOUND for an unknown collection,
   * ABORTED when the thread has a run already, RESOURCE_EXHAUSTED when the replica is full or the tenant may not run more.
   * A request whose idempotency key was used before is that run: what it did is told, and what is left of it is done.
   */
  ask(request: RunRequest, signal: AbortSignal): AsyncIterable<RunEvent> {
    const agent = this.#agents.of(request.settings.agent, request.settings.version);
    this.#checkCallerTools(request, agent.version.kind);
    checkAgentConfig(agent.version.kind, request.settings);
    if (request.fingerprint !== "") return this.#askOnce(request, signal);
    const work: Work = (ended) => this.#begin(request, ended);
    return request.outlivesCall ? this.#live.start(placeOf(request), work) : work(signal);
  }

  /** The events of a run behind a position; steps that are left are done. Throws NOT_FOUND when the thread does not hold the run. */
  async *resume(place: RunPlace, after: Position): AsyncGenerator<RunEvent> {
    const here = this.#live.follow(place, after);
    if (here !== undefined) return yield* here.events;
    const stored = await this.#stored.find(place);
    if (stored === undefined) throw runNotFound();
    if (!stored.isOpen) return yield* retold(stored, place.runId, after);
    yield* this.#live.start(place, (ended) => this.#goOn(place, after, ended), { fingerprint: stored.request, from: after });
  }

  /** Answers what an interrupted run asks. Throws FAILED_PRECONDITION when it asks nothing. */
  async *answer(threadId: string, decisions: InterruptDecisions, signal: AbortSignal): AsyncGenerator<RunEvent> {
    await this.#options.threads.get(threadId);
    yield* this.#bounded(signal, (bounded) =>
      this.#options.locks.hold(threadId, "reject", bounded, async function* (this: Runs, stopped: AbortSignal) {
        const stored = await this.#stored.last(threadId);
        if (stored === undefined) throw threadNotFound(threadId);
        const interrupts = stored.result?.interrupts ?? [];
        if (interrupts.length === 0) throw notInterrupted(threadId);
        const run = { ...stored, settings: stored.state.settings, signal: AbortSignal.any([bounded, stopped]) };
        const command = new Command({ resume: decisions.answersTo(interrupts) });
        yield { started: { threadId, runId: stored.state.run }, at: positionOf(stored) };
        yield* this.#options.slots.hold(run.signal, () => this.#graphEvents(run, command));
      }.bind(this)),
    );
  }

  /**
   * Goes on with the run of a thread whose replica is gone, to its end, when it was to outlive its caller. Rejects with ABORTED
   * THREAD_BUSY when another replica does.
   * @param attempt how often that was tried, this time included
   */
  async takeOver(threadId: string, attempt: number, signal: AbortSignal): Promise<"finished" | "left"> {
    const stored = await this.#stored.last(threadId);
    const identity = stored?.isOpen === true && attempt <= MAX_TAKEOVERS ? this.#warranted(stored) : undefined;
    if (stored === undefined || identity === undefined) {
      // Given back, so that it is not looked at again; whoever asks for the run still finds it where it is.
      for await (const _ of this.#options.locks.hold(threadId, "reject", signal, nothing));
      return "left";
    }
    const place = { threadId, runId: stored.state.run };
    const call = backgroundCall(identity, randomUUID(), signal);
    return runInCall(call, async () => {
      for await (const _ of this.#live.start(place, (ended) => this.#goOn(place, START_OF_RUN, ended, attempt), { fingerprint: stored.request }));
      return "finished" as const;
    });
  }

  #warranted({ threadId, state: { run, warrant = "", messages } }: StoredRun): Identity | undefined {
    return this.#options.warrants.read(warrant, [threadId, run, messages.findLast(({ type }) => type === "human")?.text ?? ""]);
  }

  #warrantFor({ outlivesCall, threadId, runId, question }: Run): string {
    const identity = currentCall()?.identity;
    return outlivesCall && identity !== undefined ? this.#options.warrants.issue(identity, [threadId, runId, question]) : "";
  }

  /**
   * Ends the run of a thread, on whichever replica it is, and resolves to whether there was one; only that of an id when one
   * is given. Throws NOT_FOUND when there is no such thread.
   */
  async cancel(threadId: string, runId: string, signal: AbortSignal): Promise<boolean> {
    const { locks, threads } = this.#options;
    if (runId !== "" && (await this.#stored.last(threadId))?.state.run !== runId) return false;
    const wasHere = await locks.stop(threadId);
    if ((await threads.find(threadId)) === undefined) {
      if (wasHere) return true;
      throw threadNotFound(threadId);
    }
    let wasOpen = false;
    for await (const open of locks.hold(threadId, "interrupt", signal, () => this.#close(threadId))) wasOpen = open;
    return wasHere || wasOpen;
  }

  /** Forgets a thread: its checkpoints, what its runs told, and the answers of it that are cached for others. */
  async forget(threadId: string, signal: AbortSignal): Promise<void> {
    const { threads } = this.#options;
    const { messages } = await threads.get(threadId);
    await this.cancel(threadId, "", signal);
    await this.#cached.forget(messages);
    this.#live.forgetThread(threadId);
    await threads.delete(threadId);
  }

  /** Lets runs end within `ms`; those that do not are another replica's to go on with. */
  async close(ms: number): Promise<void> {
    const enough = new AbortController();
    await Promise.race([Promise.all(this.#underWay), this.#options.deps.clock.sleep(ms, enough.signal).catch(() => {})]);
    enough.abort();
    this.#closing.abort(shuttingDown());
    await this.#live.settled(HANDOVER_MS);
    this.#live.close();
  }

  #checkCallerTools({ settings: { callerTools } }: RunRequest, kind: AgentKind): void {
    if (callerTools.length === 0) return;
    if (kind.callsTools !== true) throw callsNoTools(kind.type);
    const own = new Set([SEARCH_TOOL, ...this.#options.deps.tools.map(({ name }) => name)]);
    const taken = callerTools.find(({ name }, i) => own.has(name) || callerTools.findIndex((tool) => tool.name === name) < i);
    if (taken !== undefined) throw callerToolTaken(taken.name);
  }

  /** The run of an idempotency key: the one that there is, or a new one. */
  async *#askOnce(request: RunRequest, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const place = placeOf(request);
    for (let isFirst = true; ; isFirst = false) {
      const here = this.#live.follow(place, START_OF_RUN);
      const asked = here?.fingerprint ?? (await this.#stored.find(place))?.request;
      if (asked !== undefined) {
        if (asked !== request.fingerprint) throw keyReused();
        return yield* here?.events ?? this.resume(place, START_OF_RUN);
      }
      try {
        const work: Work = (ended) => this.#begin({ ...request, threadId: place.threadId }, ended);
        return yield* this.#live.start(place, work, { fingerprint: request.fingerprint });
      } catch (error) {
        // Another replica may be about to store the first checkpoint of this very run.
        if (reasonOf(error) !== "THREAD_BUSY" || !isFirst) throw error;
        await this.#options.deps.clock.sleep(LOOK_AGAIN_MS, signal);
      }
    }
  }

  #begin(request: RunRequest, signal: AbortSignal): AsyncIterable<RunEvent> {
    return this.#bounded(signal, (bounded) =>
      request.threadId === "" && !request.outlivesCall
        ? this.#inNewThread(request, bounded)
        : this.#inThread(request, bounded),
    );
  }

  /**
   * Does what is left of a run, unless that is done already; while another replica works on it, or died so lately that its lease holds,
   * tells the steps that it stores.
   */
  async *#goOn(place: RunPlace, after: Position, signal: AbortSignal, attempt = 0): AsyncGenerator<RunEvent> {
    const { locks, deps, slots } = this.#options;
    let told = after;
    const work = (bounded: AbortSignal) =>
      locks.hold(place.threadId, "reject", bounded, async function* (this: Runs, stopped: AbortSignal) {
        const stored = await this.#stored.find(place);
        if (stored === undefined) throw runNotFound();
        if (!stored.isOpen) return yield* retold(stored, place.runId, told);
        yield* toldSoFar(stored, place.runId, told);
        const run = { ...stored, settings: stored.state.settings, signal: AbortSignal.any([bounded, stopped]) };
        yield* slots.hold(run.signal, () => untold(this.#graphEvents(run, null), toldBeyond(stored, told)));
      }.bind(this), attempt);
    for (;;) {
      try {
        return yield* this.#bounded(signal, work);
      } catch (error) {
        if (reasonOf(error) !== "THREAD_BUSY" || attempt > 0) throw error;
        await deps.clock.sleep(LOOK_AGAIN_MS, AbortSignal.any([signal, this.#closing.signal]));
        const stored = await this.#stored.find(place);
        if (stored === undefined) throw runNotFound();
        if (!stored.isOpen) return yield* retold(stored, place.runId, told);
        for (const event of doneSoFar(stored, place.runId, told)) {
          told = behind(told, event);
          yield event;
        }
      }
    }
  }

  /** Nobody else knows the thread: it needs no lease, and has no history. */
  #inNewThread(request: RunRequest, signal: AbortSignal): AsyncIterable<RunEvent> {
    const { version, newThreadGraph: graph, unstoredGraph } = this.#agents.of(request.settings.agent, request.settings.version);
    const threadId = request.newThreadId;
    return this.#options.locks.alone(threadId, (stopped) => {
      const run = { ...request, kind: version.kind, graph, signal: AbortSignal.any([signal, stopped]), threadId, unstored: request.history, unstoredGraph };
      return mayBeCached(run) ? this.#cached.answer(run, false) : this.#firstOf(run);
    });
  }

  async *#inThread(request: RunRequest, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const { threads, locks } = this.#options;
    const threadId = request.threadId === "" ? request.newThreadId : request.threadId;
    await threads.whenStored(threadId);
    yield* locks.holdWithHead(threadId, request.whenBusy, signal, async function* (this: Runs, stopped: AbortSignal, head: CheckpointTuple | undefined) {
      const thread = await threads.viewOf(threadId, head);
      const { agent, settings } = this.#agents.staying(request, thread);
      const run = {
        ...request,
        settings,
        threadId,
        kind: agent.version.kind,
        graph: thread?.isStored ? agent.graph : agent.newThreadGraph,
        head: thread?.head,
        signal: AbortSignal.any([signal, stopped]),
        unstored: thread === undefined ? request.history : thread.isStored ? [] : thread.messages,
      };
      const isNamed = request.threadId !== "" || request.fingerprint !== "";
      yield* thread === undefined && mayBeCached(run) ? this.#cached.answer(run, isNamed) : this.#firstOf(run);
    }.bind(this));
  }

  /** Runs a graph from its beginning, in a slot. */
  async *#firstOf(run: Run): AsyncGenerator<RunEvent> {
    yield { started: { threadId: run.threadId, runId: run.runId } };
    yield* this.#options.slots.hold(run.signal, () => this.#runGraph(run));
  }

  async *#runGraph(run: Run): AsyncGenerator<RunEvent> {
    await admitRun(this.#options.limiter);
    const stamp = { run: run.runId, request: run.fingerprint, ...(run.cachedIn !== undefined && { cachedIn: run.cachedIn }) };
    const messages = [...run.unstored, userMessage(run.question, this.#options.deps.clock, stamp)];
    const input = { ...beginning(run, messages), warrant: this.#warrantFor(run) };
    let steps = 0;
    try {
      for await (const event of this.#graphEvents(run, input)) {
        if ("step" in event) steps += 1;
        yield event;
      }
    } catch (error) {
      if (!(error instanceof ThreadStoreGone) || run.unstoredGraph === undefined) throw error;
      yield* withoutThread(untold(this.#graphEvents({ ...run, graph: run.unstoredGraph }, input), { steps, tools: 0 }));
    }
  }

  /** Runs a graph, and counts what that used. */
  async *#graphEvents(run: GraphRun, input: RunStateUpdate | Command | null): AsyncGenerator<RunEvent> {
    for await (const event of runGraph(run, input)) {
      if ("result" in event) this.#options.usage.count({ tenant: currentTenant(), agent: run.settings.agent, model: event.result.model }, event.result.usage);
      yield event;
    }
  }

  /** Within the time that a run may take, and until this replica stops. */
  async *#bounded(signal: AbortSignal, work: Work): AsyncGenerator<RunEvent> {
    const { timeoutMs, deps } = this.#options;
    const timeout = runTimeout(AbortSignal.any([signal, this.#closing.signal]), timeoutMs, deps.clock);
    let end = () => {};
    const ended = new Promise<void>((resolve) => (end = resolve));
    this.#underWay.add(ended);
    try {
      yield* work(timeout.signal);
    } catch (error) {
      timeout.signal.throwIfAborted();
      // Another run took the thread: the checkpoint service refuses what this one would store.
      if (error instanceof ThreadStoreGone) throw error.cause;
      if (LOST.has(reasonOf(error) ?? "")) throw runCancelled();
      throw error;
    } finally {
      timeout.clear();
      this.#underWay.delete(ended);
      end();
    }
  }

  /** Gives up what is left of a thread's run; yields whether there was something. */
  async *#close(threadId: string): AsyncGenerator<boolean> {
    const stored = await this.#stored.last(threadId);
    const isOpen = stored !== undefined && stored.isStored && (stored.isOpen || (stored.result?.interrupts.length ?? 0) > 0);
    // LangGraph's way to end a run: an update by the end of the graph.
    if (isOpen) await stored.graph.updateState({ configurable: { thread_id: threadId } }, null, "__end__");
    yield isOpen;
  }
}

/** Time for runs to end where they are when they are handed over, in milliseconds. */
const HANDOVER_MS = 2_000;
/** Times that a run is gone on with whose replicas die one after the other. */
const MAX_TAKEOVERS = 3;
const LOST: ReadonlySet<string> = new Set(["LEASE_LOST", "THREAD_LEASED"]);

/** The events of a run that is not remembered. */
async function* withoutThread(events: AsyncIterable<RunEvent>): AsyncGenerator<RunEvent> {
  for await (const event of events) {
    yield "result" in event ? { result: { ...event.result, threadId: "" } } : event;
  }
}

async function* nothing(): AsyncGenerator<never> {}

function placeOf({ threadId, newThreadId, runId }: RunRequest): RunPlace {
  return { threadId: threadId === "" ? newThreadId : threadId, runId };
}

/** Whether an answer depends on the question alone, not on what was said before: for the first of a thread. */
function mayBeCached({ bypassCache, question, history, settings }: RunRequest): boolean {
  return !bypassCache && history.length === 0 && settings.callerTools.length === 0 && asksSomething(question);
}
