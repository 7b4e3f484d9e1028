import type { JsonObject } from "@bufbuild/protobuf";
import { type BaseMessageLike, coerceMessageLikeToMessage } from "@langchain/core/messages";
import { startSpan } from "../tracing/tracer.js";
import type { LanguageModel, ModelReply, ModelRequest } from "./language-model.js";

/** The model, with every request a span of the current trace: what was asked and written, tokens, cost, first token. */
export function tracedModel(model: LanguageModel): LanguageModel {
  return {
    name: model.name,
    async *stream(request: ModelRequest): AsyncGenerator<string, ModelReply> {
      const span = startSpan("llm", "llm");
      if (span === undefined) return yield* model.stream(request);
      span.set({
        model: model.name,
        input: { messages: request.messages.map(toJson) },
        metadata: { temperature: request.temperature, max_tokens: request.maxTokens, tools: (request.tools ?? []).map(({ name }) => name) },
      });
      const stream = model.stream(request);
      let text = "";
      try {
        for (;;) {
          const step = await stream.next();
          if (text === "") span.set({ firstTokenMs: span.elapsed });
          if (step.done === true) {
            const { usage, message } = step.value;
            const calls = (message.tool_calls ?? []).map(({ name, args }) => ({ name, args: args as JsonObject }));
            span.set({ output: { text: step.value.text, ...(calls.length > 0 && { tool_calls: calls }) }, usage, costUsd: usage.costUsd ?? 0 });
            span.end();
            return step.value;
          }
          text += step.value;
          yield step.value;
        }
      } catch (error) {
        span.set({ output: { text } });
        span.end(error);
        throw error;
      } finally {
        // A reader that leaves ends the model's stream too.
        await stream.return({} as ModelReply);
        span.end(new Error("nobody waited for the reply"));
      }
    },
  };
}

function toJson(message: BaseMessageLike): JsonObject {
  const { type, text } = coerceMessageLikeToMessage(message);
  return { role: type, content: text };
}
