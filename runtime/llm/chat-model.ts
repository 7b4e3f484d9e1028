import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { type AIMessageChunk, coerceMessageLikeToMessage } from "@langchain/core/messages";
import type { ChatGenerationChunk } from "@langchain/core/outputs";
import { LRUCache } from "lru-cache";
import { estimatedPromptTokens, estimatedTokens } from "./estimated-tokens.js";
import type { LanguageModel, ModelReply, ModelRequest, Usage } from "./language-model.js";
import { modelUnavailable } from "./model-errors.js";

/** Opens a LangChain chat model with a request's parameters: LangChain fixes them when a model is made. */
export type OpenChatModel = (parameters: { temperature: number; maxTokens: number }) => Promise<BaseChatModel>;

/** Models that are kept open, each with the parameters of its requests. */
const MAX_OPEN = 64;

/**
 * A LangChain chat model as a LanguageModel. The provider's package is loaded by the first request. A provider's stream is read
 * as LangChain's Runnable.stream() would read it, without the run, callbacks and copies that it makes: nobody looks at them here.
 */
export function chatModel(name: string, open: OpenChatModel): LanguageModel {
  const opened = new LRUCache<string, BaseChatModel>({ max: MAX_OPEN });
  return {
    name,
    async reply(request, onText) {
      const { messages, tools = [], signal, temperature, maxTokens } = request;
      signal?.throwIfAborted();
      try {
        const parameters = `${temperature} ${maxTokens}`;
        const model = opened.get(parameters) ?? (await open({ temperature, maxTokens }));
        opened.set(parameters, model);
        const options = { signal, ...(tools.length > 0 && { tools: tools.map((tool) => ({ type: "function", function: tool })) }) };
        let reply: ChatGenerationChunk | undefined;
        for await (const chunk of model._streamResponseChunks(messages.map(coerceMessageLikeToMessage), options)) {
          signal?.throwIfAborted();
          reply = reply === undefined ? chunk : reply.concat(chunk);
          if (chunk.message.text !== "") onText?.(chunk.message.text);
        }
        // An aborted stream just ends.
        signal?.throwIfAborted();
        return finished(name, reply, request);
      } catch (thrown) {
        signal?.throwIfAborted();
        throw modelUnavailable(name, thrown);
      }
    },
  };
}

/** The reply, if the model came to its end: a stream that broke off says no reason to stop. */
function finished(model: string, reply: ChatGenerationChunk | undefined, request: ModelRequest): ModelReply {
  const message = reply?.message as AIMessageChunk | undefined;
  const reason = reply?.generationInfo?.["finish_reason"] ?? message?.additional_kwargs["stop_reason"];
  if (message === undefined || reason === undefined || reason === null) throw new Error("the model's stream ended early");
  return { message, text: message.text, usage: usageOf(message, request), model };
}

/** What the server counted. Some count nothing where they stream: budgets and costs are then kept by an estimate. */
function usageOf({ usage_metadata: counted, text, tool_calls: calls = [] }: AIMessageChunk, request: ModelRequest): Usage {
  if (counted !== undefined) return { inputTokens: counted.input_tokens, outputTokens: counted.output_tokens };
  const written = text.length + calls.reduce((sum, { name, args }) => sum + name.length + JSON.stringify(args).length, 0);
  return { inputTokens: estimatedPromptTokens(request), outputTokens: estimatedTokens(written) };
}
