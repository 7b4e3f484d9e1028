import { randomUUID } from "node:crypto";
import { AIMessage } from "@langchain/core/messages";
import type { Citation } from "../../runtime/llm/answerer.js";
import { NO_USAGE, type Usage } from "../../runtime/llm/language-model.js";
import type { AgentDeps, AgentGraph, AgentKind } from "./agents/agent-kind.js";
import { answerKey, answerScope, decodeAnswer, encodeAnswer, type StoredAnswer } from "./answer-cache.js";
import { asksSomething } from "./asks.js";
import { Channel } from "./channel.js";
import { stamp, userMessage } from "./conversation.js";
import { Epochs } from "./epochs.js";
import { unknownAgent } from "./errors.js";
import { runTimeout } from "./run-timeout.js";
import type { RunSlots } from "./run-slots.js";
import type { RunSettings } from "./settings.js";
import type { NodeEvent, RunAnswer, RunStateUpdate } from "./state.js";
import { summaryOf } from "./step-summary.js";
import type { ThreadLocks } from "./thread-locks.js";
import type { Threads } from "./threads.js";

/** A question to an agent. */
export interface RunRequest {
  readonly agentType: string;
  readonly question: string;
  /** Empty for a new thread. */
  readonly threadId: string;
  readonly settings: RunSettings;
  /** Answer afresh even when the cache has an answer. */
  readonly bypassCache: boolean;
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
}

export interface RunsOptions {
  deps: AgentDeps;
  kinds: readonly AgentKind[];
  threads: Threads;
  locks: ThreadLocks;
  slots: RunSlots;
  /** Longest time of a run, in milliseconds. */
  timeoutMs: number;
}

/** One that was begun: the request with what belongs to it. */
interface Run extends RunRequest {
  readonly kind: AgentKind;
  readonly graph: AgentGraph;
  readonly signal: AbortSignal;
}

/** Runs agents on questions. */
export class Runs {
  readonly #options: RunsOptions;
  readonly #epochs: Epochs;
  readonly #agents: Map<string, { kind: AgentKind; graph: AgentGraph }>;

  constructor(options: RunsOptions) {
    this.#options = options;
    this.#epochs = new Epochs(options.deps.rag);
    this.#agents = new Map(options.kinds.map((kind) => [kind.type, { kind, graph: kind.build(options.deps) }]));
  }

  get kinds(): readonly AgentKind[] {
    return this.#options.kinds;
  }

  /**
   * Answers a question. Throws INVALID_ARGUMENT for an unknown agent or model, NOT_FOUND for an unknown collection,
   * ABORTED when the thread has a run already, RESOURCE_EXHAUSTED when the replica is full.
   */
  async *ask(request: RunRequest, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const agent = this.#agents.get(request.agentType);
    if (agent === undefined) throw unknownAgent(request.agentType, [...this.#agents.keys()]);
    // Throws for a model that is not configured.
    this.#options.deps.models.answerer(request.settings.model);
    const timeout = runTimeout(signal, this.#options.timeoutMs);
    try {
      // Nobody else knows a new thread: it needs no lock, and has no history.
      if (request.threadId === "") {
        const run = { ...request, ...agent, threadId: randomUUID(), signal: timeout.signal };
        return yield* this.#remember(run, true);
      }
      const run = { ...request, ...agent, signal: timeout.signal };
      yield* this.#options.locks.hold(run.threadId, (lost) => this.#inThread({ ...run, signal: AbortSignal.any([run.signal, lost]) }));
    } catch (error) {
      timeout.signal.throwIfAborted();
      throw error;
    } finally {
      timeout.clear();
    }
  }

  async *#inThread(run: Run): AsyncGenerator<RunEvent> {
    yield* this.#remember(run, (await this.#options.threads.find(run.threadId)) === undefined);
  }

  /** Answers from the cache what can be, the rest by the agent. */
  async *#remember(run: Run, isNew: boolean): AsyncGenerator<RunEvent> {
    if (isNew && !run.bypassCache && asksSomething(run.question)) yield* this.#fromCache(run);
    else yield* this.#byAgent(run);
  }

  /** Of all that ask the same at the same time, in whichever replica, one runs the agent. */
  async *#fromCache(run: Run): AsyncGenerator<RunEvent> {
    const epoch = await this.#epochs.current(run.settings.collection);
    const scope = answerScope(run.kind, run.settings, epoch);
    const events = new Channel<RunEvent>();
    const compute = async () => {
      for await (const event of this.#byAgent(run)) {
        events.push(event);
        if ("result" in event) return encodeAnswer({ ...event.result, text: event.result.response });
      }
      throw new Error("the run ended without a result");
    };
    this.#options.deps.cache
      .getOrCompute("ANSWER", scope, answerKey(run.question), compute)
      .then(async ({ value, cached }) => {
        if (cached) await this.#repeat(run, decodeAnswer(value), (event) => events.push(event));
      })
      .then(
        () => events.close(),
        (error: unknown) => events.close(error),
      );
    yield* events;
  }

  /** Gives a stored answer once more. The thread holds question and answer before anyone is told of it. */
  async #repeat(run: Run, answer: StoredAnswer, tell: (event: RunEvent) => void): Promise<void> {
    const { clock } = this.#options.deps;
    const said = userMessage(run.question, clock);
    const message = new AIMessage({
      id: randomUUID(),
      content: answer.text,
      response_metadata: stamp(clock, { model: answer.model, citations: answer.citations }),
    });
    const update = { ...begin(run, said), messages: [said, message], question: run.question, reply: { ...answer, usage: NO_USAGE } };
    await run.graph.updateState({ configurable: { thread_id: run.threadId } }, update, "answer");
    tell({ step: { name: "cache", summary: "Found the answer in the cache." } });
    tell({ text: answer.text });
    for (const citation of answer.citations) tell({ citation });
    tell({ result: resultOf(run, { ...answer, usage: NO_USAGE }, true) });
  }

  async *#byAgent(run: Run): AsyncGenerator<RunEvent> {
    yield* this.#options.slots.hold(() => this.#runGraph(run));
  }

  async *#runGraph(run: Run): AsyncGenerator<RunEvent> {
    const input = begin(run, userMessage(run.question, this.#options.deps.clock));
    const stream = await run.graph.stream(input, {
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

/** What a run begins with: what the last question left is gone. */
function begin(run: Run, said: ReturnType<typeof userMessage>): RunStateUpdate {
  return { messages: [said], settings: run.settings, question: "", usage: NO_USAGE, passages: [], epoch: null, reply: null };
}

function resultOf({ threadId, kind, settings }: Run, { text, citations, model, usage }: RunAnswer, cached: boolean): RunResult {
  return { response: text, threadId, agentType: kind.type, cached, model, collection: settings.collection, citations, usage };
}
