import type { Answerer } from "./answerer.js";
import { CitationBinder } from "./citation-binder.js";
import { packPassages } from "./context-packing.js";
import type { LanguageModel } from "./language-model.js";
import { answerPrompt } from "./prompt.js";
import { BUILT_IN_PROMPTS } from "./prompts.js";

/** Tokens of passages that a model is shown. */
export const DEFAULT_CONTEXT_TOKENS = 8_000;

export interface ModelAnswererOptions {
  /** The most tokens of passages that the model is shown; what does not fit is left out from the end. */
  readonly contextTokens?: number;
  /** Told how many citation numbers of an answer no passage has. */
  readonly onInvented?: (count: number) => void;
}

/** Answers in a language model's words, bound to the passages that it was given. */
export function modelAnswerer(model: LanguageModel, options: ModelAnswererOptions = {}): Answerer {
  const { contextTokens = DEFAULT_CONTEXT_TOKENS, onInvented = () => {} } = options;
  return {
    model: model.name,
    async answer(request, onEvent) {
      const { temperature, maxTokens, signal, prompt = BUILT_IN_PROMPTS.answer } = request;
      const passages = packPassages(request.passages, contextTokens);
      const binder = new CitationBinder(passages, onEvent);
      const messages = answerPrompt({ ...request, passages });
      const reply = await model.reply({ messages, prompt: prompt.id, temperature, maxTokens, signal }, (piece) => binder.write(piece));
      binder.end();
      onInvented(binder.invented);
      return { text: binder.text, citations: binder.citations, usage: reply.usage, model: reply.model };
    },
  };
}
