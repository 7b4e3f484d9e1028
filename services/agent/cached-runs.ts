import { isDeepStrictEqual } from "node:util";
import { Code } from "@connectrpc/connect";
import type { BaseMessage } from "@langchain/core/messages";
import type { CacheScope } from "../../clients/cache/index.js";
import { runBeyondCall } from "../../runtime/call-context.js";
import { Channel } from "../../runtime/channel.js";
import { hasCode } from "../../runtime/errors.js";
import { NO_USAGE } from "../../runtime/llm/language-model.js";
import type { AgentDeps } from "./agents/agent-kind.js";
import { answerKey, answerScope, decodeAnswer, encodeAnswer, type StoredAnswer } from "./answer-cache.js";
import { answerMessage, stampOf, userMessage } from "./conversation.js";
import { Epochs, type Knowledge } from "./epochs.js";
import { beginning, endOf, resultOf, type Run, type RunEvent, type RunResult } from "./run.js";
import { newSeed, seedThread, threadGrownFrom } from "./seeds.js";
import type { Threads } from "./threads.js";

/** In the place of an answer that was deleted. */
const NOTHING = new Uint8Array();
const FROM_CACHE = { name: "cache", summary: "Found the answer in the cache." };

type CachedRunsDeps = Pick<AgentDeps, "rag" | "cache" | "models" | "clock">;

/** Runs an agent, as `Runs` does it without a cache. */
export type RunAgent = (run: Run) => AsyncIterable<RunEvent>;

/** Answers first questions of threads from the cache, or by the agent for the cache. */
export class CachedRuns {
  readonly #deps: CachedRunsDeps;
  readonly #threads: Threads;
  readonly #runAgent: RunAgent;
  readonly #epochs: Epochs;

  constructor(deps: CachedRunsDeps, threads: Threads, runAgent: RunAgent) {
    this.#deps = deps;
    this.#threads = threads;
    this.#runAgent = runAgent;
    this.#epochs = new Epochs(deps.rag);
  }

  /** @param isNamed whether the caller chose the thread's id. */
  async *answer(run: Run, isNamed: boolean): AsyncGenerator<RunEvent> {
    const current = this.#epochs.current(run.settings.collection);
    const supposed = this.#epochs.lastKnown(run.settings.collection);
    if (supposed === undefined) return yield* this.#answerAt(run, await current, isNamed);
    try {
      yield* this.#answerAt(run, supposed, isNamed, current.then((knowledge) => checkSame(knowledge, supposed)));
    } catch (error) {
      if (!(error instanceof CollectionMoved)) throw error;
      yield* this.#answerAt(run, await current, isNamed);
    }
  }

  #scopeOf({ settings }: Run, knowledge: Knowledge): CacheScope {
    return answerScope(settings, this.#deps.models.versionOf(settings.model), knowledge);
  }

  /** Takes the answers out of the cache that a conversation's questions put there. */
  async forget(messages: readonly BaseMessage[]): Promise<void> {
    for (const message of messages) {
      const { cachedIn } = stampOf(message);
      // Replaced by nothing, which ends at once: that is heard by every replica.
      if (cachedIn !== undefined) await this.#deps.cache.put("ANSWER", cachedIn, answerKey(message.text), NOTHING, { ttlMs: 1 });
    }
  }

  /**
   * Of all that ask the same at the same time, in whichever replica, one runs the agent.
   * @param confirmed that this is what answers depend on now: the answer is looked up meanwhile; nothing happens before it resolves
   */
  async *#answerAt(run: Run, knowledge: Knowledge, isNamed: boolean, confirmed?: Promise<void>): AsyncGenerator<RunEvent> {
    const events = new Channel<RunEvent>();
    // What another model stood in with is not what the next one asks for.
    let mayStore = true;
    const scope = this.#scopeOf(run, knowledge);
    const compute = async () => {
      await confirmed;
      for await (const event of this.#runAgent({ ...run, cachedIn: scope })) {
        events.push(event);
        if (!("result" in event)) continue;
        mayStore = event.result.model === run.settings.model && event.result.interrupts.length === 0;
        return encodeAnswer(mayStore ? await this.#withSeed(run, event.result) : { ...storedAnswer(event.result), seed: null });
      }
      throw new Error("the run ended without a result");
    };
    const filled = this.#deps.cache.getOrCompute("ANSWER", scope, answerKey(run.question), compute, { mayStore: () => mayStore });
    Promise.all([filled, confirmed])
      .then(async ([{ value, cached }]) => {
        if (!cached) return;
        if (value.length === 0) for await (const event of this.#runAgent(run)) events.push(event);
        else for (const event of await this.#repeat(run, decodeAnswer(value), isNamed)) events.push(event);
      })
      .then(
        () => events.close(),
        (error: unknown) => events.close(error),
      );
    yield* events;
  }

  /** The answer as it is cached; its seed is stored by then, while the first who asked reads the answer already. */
  async #withSeed(run: Run, result: RunResult): Promise<StoredAnswer> {
    const answer = storedAnswer(result);
    const seed = newSeed();
    return runBeyondCall(() => this.#store(run, seedThread(seed), answer)).then(
      () => ({ ...answer, seed: { id: seed, run: run.runId } }),
      () => ({ ...answer, seed: null }),
    );
  }

  /** The events of a stored answer; its thread can be gone on with by then, whatever happens to this process. */
  async #repeat(run: Run, answer: StoredAnswer, isNamed: boolean): Promise<RunEvent[]> {
    let { threadId, runId } = run;
    if (isNamed) {
      await this.#store(run, threadId, answer);
    } else if (answer.seed === null) {
      // Without a seed the thread is there at once, or not at all.
      await this.#store(run, threadId, answer).catch((error: unknown) => {
        if (!hasCode(error, Code.Unavailable)) throw error;
        threadId = "";
      });
    } else {
      threadId = threadGrownFrom(answer.seed.id, this.#deps.clock.now());
      runId = answer.seed.run;
      await this.#threads.storeLater(threadId, answer.seed.id);
    }
    return [
      { started: { threadId, runId } },
      { step: FROM_CACHE },
      { text: answer.text },
      ...answer.citations.map((citation) => ({ citation })),
      ...endOf(resultOf({ ...run, threadId }, { ...answer, usage: NO_USAGE }, true)),
    ];
  }

  /** Makes a thread that holds question and answer. */
  async #store(run: Run, threadId: string, answer: Omit<StoredAnswer, "seed">): Promise<void> {
    const { clock } = this.#deps;
    const { seed: _, analysis = null, ...rest } = { seed: null, ...answer };
    const reply = { ...rest, analysis, usage: NO_USAGE };
    const asked = userMessage(run.question, clock, { run: run.runId, request: run.fingerprint });
    const messages = [asked, answerMessage({ run: run.runId, settings: run.settings }, reply, clock)];
    await this.#threads.begin(threadId, { ...beginning(run, messages), messages, work: [...run.work], trail: [FROM_CACHE], question: run.question, reply });
  }
}

/** The collection is not any more as it was when it was last asked for. */
class CollectionMoved extends Error {
  override name = "CollectionMoved";
}

function checkSame(actual: Knowledge, supposed: Knowledge): void {
  if (!isDeepStrictEqual(actual, supposed)) throw new CollectionMoved();
}

function storedAnswer({ response: text, citations, model, modelVersion, agentVersion, analysis }: RunResult): Omit<StoredAnswer, "seed"> {
  return { text, citations, model, modelVersion, agentVersion, analysis };
}
