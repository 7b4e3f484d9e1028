import { Histogram, type Registry } from "prom-client";
import type { Clock } from "../../runtime/clock.js";
import { type LanguageModel, type ModelReply, NO_USAGE, type Usage } from "../../runtime/llm/language-model.js";
import type { Prompt } from "../../runtime/llm/prompts.js";
import { CallerBatches } from "./caller-batches.js";

/** A rewrite that a model is asked for. */
export interface RewriteTask {
  readonly model: LanguageModel;
  /** Has the model reply with one question and nothing else. */
  readonly prompt: Prompt;
  /** Says how several are done in one reply. */
  readonly together: Prompt;
  /** What the model is shown, without tags of its own. */
  readonly material: string;
  /** The most tokens that the model may write. */
  readonly maxTokens: number;
  readonly signal: AbortSignal | undefined;
}

export interface RewriteReply {
  readonly text: string;
  readonly usage: Usage;
}

/**
 * Rewrites of one caller that come close together, in one call to the model. A reply that does not hold each of them once counts for
 * nothing: each is asked for alone then.
 */
export class BatchedRewrites {
  readonly #batches: CallerBatches<RewriteTask, RewriteReply>;

  constructor({ clock, registry }: { clock: Clock; registry: Registry }) {
    const sizes = new Histogram({
      name: "agent_rewrite_batch_size",
      help: "Rewrites of questions that a model was asked for in one call.",
      buckets: [1, 2, 4, 8],
      registers: [registry],
    });
    this.#batches = new CallerBatches({ run: rewriteAll, clock, onBatch: (size) => sizes.observe(size) });
  }

  /** Rejects as the model does, and with the signal's reason when that aborts; the call to the model ends when nobody waits for it. */
  rewrite(task: RewriteTask): Promise<RewriteReply> {
    const { model, prompt, together, signal } = task;
    return this.#batches.add(task, { kind: JSON.stringify([model.name, prompt.id, together.id]), signal });
  }
}

async function rewriteAll(tasks: readonly RewriteTask[]): Promise<RewriteReply[]> {
  const distinct = [...new Map(tasks.map((task) => [task.material, task])).values()];
  const signal = whenAllLeft(tasks.map((task) => task.signal));
  const replies = distinct.length === 1 ? [await rewriteAlone({ ...distinct[0]!, signal })] : await together(distinct, signal);
  return tasks.map(({ material }, i) => {
    const at = distinct.findIndex((task) => task.material === material);
    const reply = replies[at]!;
    // Paid for once.
    return tasks.findIndex((task) => task.material === material) === i ? reply : { ...reply, usage: NO_USAGE };
  });
}

/** Asks for one rewrite in a call of its own. Rejects as the model does. */
export function rewriteAlone({ model, prompt, material, maxTokens, signal }: RewriteTask): Promise<RewriteReply> {
  return whole(model, prompt.id, prompt.text, material, maxTokens, signal);
}

async function together(tasks: readonly RewriteTask[], signal: AbortSignal | undefined): Promise<RewriteReply[]> {
  const { model, prompt, together: how, maxTokens } = tasks[0]!;
  const material = tasks.map((task, i) => `<task number="${i + 1}">\n${task.material.replace(/<(\/?\s*task)\b/gi, "‹$1")}\n</task>`).join("\n\n");
  const { text, usage } = await whole(model, `${prompt.id} ${how.id}`, `${prompt.text}\n\n${how.text}`, material, maxTokens * tasks.length, signal);
  const lines = [...text.matchAll(/^[ \t]*(\d{1,2})[ \t]*:[ \t]*(\S.*)$/gm)];
  const texts = tasks.map((_, i) => lines.filter(([, number]) => Number(number) === i + 1).map(([, , line]) => line!));
  const isWhole = lines.length === tasks.length && texts.every(({ length }) => length === 1);
  const replies = isWhole ? texts.map(([one]) => ({ text: one!, usage: NO_USAGE })) : await Promise.all(tasks.map(rewriteAlone));
  return replies.map((reply, i) => ({ ...reply, usage: addShare(reply.usage, usage, tasks.length, i === 0) }));
}

/** Adds a request's part of what a call for several cost; the first one bears what cannot be divided. */
function addShare(own: Usage, { inputTokens, outputTokens, costUsd = 0 }: Usage, count: number, isFirst: boolean): Usage {
  const share = (tokens: number) => Math.floor(tokens / count) + (isFirst ? tokens % count : 0);
  const cost = (own.costUsd ?? 0) + costUsd / count;
  return { inputTokens: own.inputTokens + share(inputTokens), outputTokens: own.outputTokens + share(outputTokens), ...(cost > 0 && { costUsd: cost }) };
}

/** Aborts when all of these have; undefined when one of them never does. */
function whenAllLeft(signals: readonly (AbortSignal | undefined)[]): AbortSignal | undefined {
  const all = new AbortController();
  let left = signals.length;
  const leave = () => {
    left -= 1;
    if (left === 0) all.abort(signals[0]?.reason);
  };
  for (const signal of signals) {
    if (signal === undefined) return undefined;
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
  }
  return all.signal;
}

function whole(
  model: LanguageModel,
  prompt: string,
  instructions: string,
  material: string,
  maxTokens: number,
  signal: AbortSignal | undefined,
): Promise<ModelReply> {
  return model.reply({
    messages: [
      { role: "system", content: instructions },
      { role: "user", content: material },
    ],
    prompt,
    temperature: 0,
    maxTokens,
    signal,
  });
}
