import { createHash } from "node:crypto";
import { Code } from "@connectrpc/connect";
import type { BaseMessage } from "@langchain/core/messages";
import { hasCode } from "../../../runtime/errors.js";
import { type LanguageModel, NO_USAGE, type Usage } from "../../../runtime/llm/language-model.js";
import type { AgentDeps } from "../agents/agent-kind.js";
import { asksSomething } from "../asks.js";
import { rewriteAlone } from "../batched-rewrites.js";
import { rewriteByRules } from "../contextual-rewrite.js";
import { partsOf } from "../question-parts.js";
import { rewriteConfidence } from "../rewrite-confidence.js";
import { modelStrategies, type RewriteStrategy, type Rewritten } from "../rewriting/strategies.js";
import type { Node, RunStateValue } from "../state.js";

/** Messages before the question that a reference may go back to. */
const CONTEXT_MESSAGES = 6;
/** Longest message of the conversation that a rewrite is shown, in characters. */
const CONTEXT_LENGTH = 1_000;
/** Confidence from which on a rewrite is kept. */
const TRUSTED = 0.6;

/** Makes the last message understandable alone, and says what is searched for: by rules while the model cannot be reached. */
export function rewriteNode(deps: RewriteDeps): Node {
  return async (state, { signal }) => {
    try {
      return await rewriteQuestion(deps, state, deps.models.languageModel(state.settings.model), signal);
    } catch (error) {
      signal?.throwIfAborted();
      if (!hasCode(error, Code.Unavailable)) throw error;
      return rewriteQuestion(deps, state, undefined, signal);
    }
  };
}

/** The same, but keeps the message as it is where the rewrite is not to be trusted. */
export function trustedRewriteNode(deps: RewriteDeps): Node {
  return async (state, { signal }) => {
    const rewritten = await rewriteQuestion(deps, state, deps.models.languageModel(state.settings.model), signal);
    const [said = "", ...context] = state.messages.map((message) => message.text).reverse();
    const confidence = rewriteConfidence(said, rewritten.question, context.slice(0, CONTEXT_MESSAGES));
    return confidence >= TRUSTED ? rewritten : { ...rewritten, ...asSaid(said.trim()) };
  };
}

type RewriteDeps = Pick<AgentDeps, "models" | "cache" | "prompts" | "rewrites">;

interface Outcome {
  question: string;
  queries: string[];
  usage: Usage;
}

/**
 * By the run's strategy, by the model where there is one, else by rules. The first message of a thread refers to nothing:
 * the contextual rewrite leaves it as it is.
 */
async function rewriteQuestion(
  deps: RewriteDeps,
  { messages, settings }: RunStateValue,
  model: LanguageModel | undefined,
  signal: AbortSignal | undefined,
): Promise<Outcome> {
  const { models, cache, prompts } = deps;
  const said = messages.at(-1)?.text.trim() ?? "";
  const before = messages.slice(0, -1);
  // A run that was begun before there were strategies has none.
  const strategy: RewriteStrategy = settings.rewriteStrategy ?? "contextual";
  if (strategy === "none" || !asksSomething(said) || (strategy === "contextual" && before.length === 0)) return { ...asSaid(said), usage: NO_USAGE };
  if (model === undefined) return { ...byRules(said, before, strategy), usage: NO_USAGE };
  const context = before.slice(-CONTEXT_MESSAGES);
  const parameters = JSON.stringify({ prompt: prompts[modelStrategies[strategy].prompt].id, modelVersion: models.versionOf(model.name), strategy, history: hashOf(context) });
  const scope = { collection: "conversation", epoch: 0, model: model.name, parameters };
  let usage = NO_USAGE;
  const rewritten = await cache.getOrCompute("QUERY_REWRITE", scope, said, async () => {
    const reply = await rewriteByModel(deps, model, strategy, said, context, signal);
    usage = reply.usage;
    return Buffer.from(JSON.stringify(reply.rewritten));
  });
  const { question, queries } = JSON.parse(Buffer.from(rewritten.value).toString("utf8")) as Rewritten;
  return { question, queries: [...queries], usage };
}

function byRules(said: string, before: readonly BaseMessage[], strategy: RewriteStrategy): Omit<Outcome, "usage"> {
  const earlier = before.filter((message) => message.type === "human").map((message) => message.text);
  const question = rewriteByRules(said, earlier.filter(asksSomething));
  return strategy === "decomposition" ? { question, queries: [...new Set([question, ...partsOf(question)])] } : asSaid(question);
}

function asSaid(question: string): { question: string; queries: string[] } {
  return { question, queries: [question] };
}

async function rewriteByModel(
  { prompts, rewrites }: Pick<RewriteDeps, "prompts" | "rewrites">,
  model: LanguageModel,
  strategy: Exclude<RewriteStrategy, "none">,
  said: string,
  context: BaseMessage[],
  signal: AbortSignal | undefined,
): Promise<{ rewritten: Rewritten; usage: Usage }> {
  const { prompt, maxTokens, read, mayJoin = false } = modelStrategies[strategy];
  const conversation = context
    .map((message) => `${roleOf(message)}: ${message.text.slice(0, CONTEXT_LENGTH)}`)
    .join("\n")
    .replace(/<(\/?\s*conversation)\b/gi, "‹$1");
  const material = `<conversation>\n${conversation}\n</conversation>\n\nLast message: ${said}`;
  const task = { model, prompt: prompts[prompt], together: prompts["rewrite-together"], material, maxTokens, signal };
  const { text, usage } = await (mayJoin ? rewrites.rewrite(task) : rewriteAlone(task));
  // A rewrite that is empty or an essay is none.
  return { rewritten: read(text, said) ?? asSaid(said), usage };
}

function roleOf(message: BaseMessage): string {
  return message.type === "human" ? "User" : "Assistant";
}

function hashOf(messages: readonly BaseMessage[]): string {
  const hash = createHash("sha256");
  for (const message of messages) hash.update(`${message.type} ${message.text.length} ${message.text}`);
  return hash.digest("hex");
}
