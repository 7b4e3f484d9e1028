import type { Answer, AnswerEvent, AnswerRequest, Answerer } from "./answerer.js";
import { CitationBinder } from "./citation-binder.js";
import type { LanguageModel } from "./language-model.js";
import { answerPrompt } from "./prompt.js";

/** Answers in a language model's words, bound to the passages that it was given. */
export function modelAnswerer(model: LanguageModel, onInvented: (count: number) => void = () => {}): Answerer {
  return {
    model: model.name,
    async *answer(request: AnswerRequest): AsyncGenerator<AnswerEvent, Answer> {
      const { passages, temperature, maxTokens, signal } = request;
      const binder = new CitationBinder(passages);
      const stream = model.stream({ messages: answerPrompt(request), temperature, maxTokens, signal });
      try {
        for (;;) {
          const step = await stream.next();
          if (step.done === true) {
            yield* binder.end();
            onInvented(binder.invented);
            return { text: binder.text, citations: binder.citations, usage: step.value.usage, model: step.value.model };
          }
          yield* binder.write(step.value);
        }
      } finally {
        // Nothing when it has ended; a reader that leaves ends it.
        await stream.return(undefined as never);
      }
    },
  };
}
