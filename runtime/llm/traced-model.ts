import type { JsonObject } from "@bufbuild/protobuf";
import { type BaseMessageLike, coerceMessageLikeToMessage } from "@langchain/core/messages";
import { startSpan } from "../tracing/tracer.js";
import type { LanguageModel, ModelReply, ModelRequest } from "./language-model.js";
import { tap } from "./tap.js";

/** The model, with every request a span of the current trace: what was asked and written, tokens, cost, first token. */
export function tracedModel(model: LanguageModel): LanguageModel {
  return {
    name: model.name,
    async *stream(request: ModelRequest): AsyncGenerator<string, ModelReply> {
      const span = startSpan("llm", "llm");
      if (span === undefined) return yield* model.stream(request);
      span.set({
        model: model.name,
        input: () => ({ messages: request.messages.map(toJson) }),
        metadata: { ...(request.prompt !== undefined && { prompt: request.prompt }), temperature: request.temperature, max_tokens: request.maxTokens, tools: (request.tools ?? []).map(({ name }) => name) },
      });
      let text = "";
      const noteFirst = () => text === "" && span.set({ firstTokenMs: span.elapsed });
      try {
        const reply = yield* tap(model.stream(request), (piece) => {
          noteFirst();
          text += piece;
        });
        noteFirst();
        const { usage, message } = reply;
        span.set({ output: () => toOutput(reply.text, message), usage, costUsd: usage.costUsd ?? 0 });
        span.end();
        return reply;
      } catch (error) {
        span.set({ output: () => ({ text }) });
        span.end(error);
        throw error;
      } finally {
        // When its reader has left: it has ended else.
        span.end(new Error("nobody waited for the reply"));
      }
    },
  };
}

function toOutput(text: string, { tool_calls = [] }: ModelReply["message"]): JsonObject {
  const calls = tool_calls.map(({ name, args }) => ({ name, args: args as JsonObject }));
  return { text, ...(calls.length > 0 && { tool_calls: calls }) };
}

function toJson(message: BaseMessageLike): JsonObject {
  const { type, text } = coerceMessageLikeToMessage(message);
  return { role: type, content: text };
}
