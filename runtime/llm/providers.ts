import { chatModel } from "./chat-model.js";
import type { LanguageModel } from "./language-model.js";

export interface ProviderOptions {
  /** The name in configuration, requests and answers. */
  readonly name: string;
  /** The provider's own name of the model. */
  readonly model: string;
  readonly apiKey?: string | undefined;
  /** Where the provider listens; its public address when absent. */
  readonly baseUrl?: string | undefined;
}

/** OpenAI's models that know one temperature only and refuse any other. */
const FIXED_TEMPERATURE = /^(o\d|gpt-5(?!-chat))/;

/** Any server of the chat completions API: OpenAI, vLLM, Ollama, llama.cpp and many more. Local ones need no key. */
export function openAiModel({ name, model, apiKey, baseUrl }: ProviderOptions): LanguageModel {
  return chatModel(name, async ({ temperature, maxTokens }) => {
    const { ChatOpenAICompletions } = await import("@langchain/openai");
    return new ChatOpenAICompletions({
      model,
      maxTokens,
      ...(!FIXED_TEMPERATURE.test(model) && { temperature }),
      // The client insists on a key, servers without keys ignore it.
      apiKey: apiKey ?? "none",
      configuration: { baseURL: baseUrl ?? "https://api.openai.com/v1" },
      maxRetries: 0,
    });
  });
}

/** Anthropic's API. Its temperature ends at 1. */
export function anthropicModel({ name, model, apiKey, baseUrl }: ProviderOptions): LanguageModel {
  return chatModel(name, async ({ temperature, maxTokens }) => {
    const { ChatAnthropic } = await import("@langchain/anthropic");
    return new ChatAnthropic({
      model,
      maxTokens,
      temperature: Math.min(temperature, 1),
      apiKey,
      anthropicApiUrl: baseUrl,
      maxRetries: 0,
    });
  });
}
