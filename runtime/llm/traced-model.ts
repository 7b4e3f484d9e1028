import type { JsonObject } from "@bufbuild/protobuf";
import { type BaseMessageLike, coerceMessageLikeToMessage } from "@langchain/core/messages";
import { startSpan } from "../tracing/tracer.js";
import type { LanguageModel, ModelReply } from "./language-model.js";

/** The model, with every request a span of the current trace: what was asked and written, tokens, cost, first token. */
export function tracedModel(model: LanguageModel): LanguageModel {
  return {
    name: model.name,
    async reply(request, onText) {
      const span = startSpan("llm", "llm");
      if (span === undefined) return model.reply(request, onText);
      span.set({
        model: model.name,
        input: () => ({ messages: request.messages.map(toJson) }),
        metadata: { ...(request.prompt !== undefined && { prompt: request.prompt }), temperature: request.temperature, max_tokens: request.maxTokens, tools: (request.tools ?? []).map(({ name }) => name) },
      });
      let text = "";
      const noteFirst = () => text === "" && span.set({ firstTokenMs: span.elapsed });
      try {
        const reply = await model.reply(request, (piece) => {
          noteFirst();
          text += piece;
          onText?.(piece);
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
