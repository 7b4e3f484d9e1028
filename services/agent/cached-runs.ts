import { randomUUID } from "node:crypto";
import { AIMessage } from "@langchain/core/messages";
import { runBeyondCall } from "../../runtime/call-context.js";
import { NO_USAGE } from "../../runtime/llm/language-model.js";
import type { AgentDeps } from "./agents/agent-kind.js";
import { answerKey, answerScope, decodeAnswer, encodeAnswer, type StoredAnswer } from "./answer-cache.js";
import { Channel } from "./channel.js";
import { stamp, userMessage } from "./conversation.js";
import { Epochs } from "./epochs.js";
import { beginning, resultOf, type Run, type RunEvent } from "./run.js";

/** Runs an agent, as `Runs` does it without a cache. */
export type RunAgent = (run: Run) => AsyncIterable<RunEvent>;

/** Answers first questions of threads from the cache, or by the agent for the cache. */
export class CachedRuns {
  readonly #deps: AgentDeps;
  readonly #runAgent: RunAgent;
  readonly #epochs: Epochs;

  constructor(deps: AgentDeps, runAgent: RunAgent) {
    this.#deps = deps;
    this.#runAgent = runAgent;
    this.#epochs = new Epochs(deps.rag);
  }

  /** @param isOwn whether nobody but this run knows its thread yet, so that another one can take its place. */
  async *answer(run: Run, isOwn: boolean): AsyncGenerator<RunEvent> {
    const epoch = this.#epochs.current(run.settings.collection);
    const early = isOwn ? await this.#early(run, epoch) : undefined;
    if (early !== undefined) yield* early;
    else yield* this.#answerAt(run, await epoch);
  }

  /**
   * Takes it that the collection has not changed since it was last asked for: while that is asked again, the answer is
   * looked up and its thread is made. Undefined when there is no answer, or the collection has changed after all.
   */
  async #early(run: Run, epoch: Promise<bigint>): Promise<RunEvent[] | undefined> {
    const supposed = this.#epochs.lastKnown(run.settings.collection);
    // Awaited below; until then a failure is nobody's.
    epoch.catch(() => {});
    if (supposed === undefined) return undefined;
    const value = await this.#deps.cache.get("ANSWER", answerScope(run.kind, run.settings, supposed), answerKey(run.question));
    if (value === undefined) return undefined;
    const [events, actual] = await Promise.allSettled([this.#repeat({ ...run, threadId: randomUUID() }, decodeAnswer(value)), epoch]);
    if (events.status === "rejected") throw events.reason;
    if (actual.status === "fulfilled" && actual.value === supposed) return events.value;
    // No one will ever be told of this thread.
    const result = events.value.at(-1);
    if (result !== undefined && "result" in result) {
      runBeyondCall(() => this.#deps.checkpointer.deleteThread(result.result.threadId)).catch(() => {});
    }
    return undefined;
  }

  /** Of all that ask the same at the same time, in whichever replica, one runs the agent. */
  async *#answerAt(run: Run, epoch: bigint): AsyncGenerator<RunEvent> {
    const events = new Channel<RunEvent>();
    const compute = async () => {
      for await (const event of this.#runAgent(run)) {
        events.push(event);
        if ("result" in event) return encodeAnswer({ ...event.result, text: event.result.response });
      }
      throw new Error("the run ended without a result");
    };
    this.#deps.cache
      .getOrCompute("ANSWER", answerScope(run.kind, run.settings, epoch), answerKey(run.question), compute)
      .then(async ({ value, cached }) => {
        if (cached) for (const event of await this.#repeat(run, decodeAnswer(value))) events.push(event);
      })
      .then(
        () => events.close(),
        (error: unknown) => events.close(error),
      );
    yield* events;
  }

  /** The events of a stored answer, once its thread durably holds question and answer. */
  async #repeat(run: Run, answer: StoredAnswer): Promise<RunEvent[]> {
    const { clock } = this.#deps;
    const said = userMessage(run.question, clock);
    const message = new AIMessage({
      id: randomUUID(),
      content: answer.text,
      response_metadata: stamp(clock, { model: answer.model, citations: answer.citations }),
    });
    const reply = { ...answer, usage: NO_USAGE };
    const update = { ...beginning(run, said), messages: [said, message], question: run.question, reply };
    await run.graph.updateState({ configurable: { thread_id: run.threadId } }, update, "answer");
    return [
      { step: { name: "cache", summary: "Found the answer in the cache." } },
      { text: answer.text },
      ...answer.citations.map((citation) => ({ citation })),
      { result: resultOf(run, reply, true) },
    ];
  }
}
