import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { AIMessageChunk } from "@langchain/core/messages";
import { estimatedPromptTokens, estimatedTokens } from "./estimated-tokens.js";
import type { LanguageModel, ModelReply, ModelRequest, Usage } from "./language-model.js";
import { modelUnavailable } from "./model-errors.js";

/** Opens a LangChain chat model with a request's parameters: LangChain fixes them when a model is made. */
export type OpenChatModel = (parameters: { temperature: number; maxTokens: number }) => Promise<BaseChatModel>;

/** A LangChain chat model as a LanguageModel. The provider's package is loaded by the first request. */
export function chatModel(name: string, open: OpenChatModel): LanguageModel {
  return {
    name,
    async *stream(request) {
      const { signal } = request;
      signal?.throwIfAborted();
      let reply: AIMessageChunk | undefined;
      try {
        for await (const chunk of await openStream(open, request)) {
          reply = reply === undefined ? chunk : reply.concat(chunk);
          if (chunk.text !== "") yield chunk.text;
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

async function openStream(open: OpenChatModel, { messages, tools, signal, ...parameters }: ModelRequest) {
  const model = await open(parameters);
  const options = signal === undefined ? {} : { signal };
  if (tools === undefined || tools.length === 0) return model.stream(messages, options);
  if (model.bindTools === undefined) throw new Error("the provider knows no tools");
  return model.bindTools(tools.map((tool) => ({ type: "function", function: tool }))).stream(messages, options);
}

/** The reply, if the model came to its end: a stream that broke off says no reason to stop. */
function finished(model: string, reply: AIMessageChunk | undefined, request: ModelRequest): ModelReply {
  const reason = reply?.response_metadata["finish_reason"] ?? reply?.additional_kwargs["stop_reason"];
  if (reply === undefined || reason === undefined || reason === null) throw new Error("the model's stream ended early");
  return { message: reply, text: reply.text, usage: usageOf(reply, request), model };
}

/** What the server counted. Some count nothing where they stream: budgets and costs are then kept by an estimate. */
function usageOf({ usage_metadata: counted, text, tool_calls: calls = [] }: AIMessageChunk, request: ModelRequest): Usage {
  if (counted !== undefined) return { inputTokens: counted.input_tokens, outputTokens: counted.output_tokens };
  const written = text.length + calls.reduce((sum, { name, args }) => sum + name.length + JSON.stringify(args).length, 0);
  return { inputTokens: estimatedPromptTokens(request), outputTokens: estimatedTokens(written) };
}
