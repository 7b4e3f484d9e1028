import type { AIMessageChunk, BaseMessageLike } from "@langchain/core/messages";

/** A large language model behind one small interface, whoever serves it. */
export interface LanguageModel {
  /** The name that configuration and requests know it by. */
  readonly name: string;
  /**
   * Has the model reply: tells `onText` of each piece of text as the model writes it, and resolves to the whole reply.
   * Rejects with MODEL_UNAVAILABLE when the model fails or its stream breaks off, and with the signal's reason when that aborts.
   */
  reply(request: ModelRequest, onText?: OnText): Promise<ModelReply>;
}

/** Takes the next piece of a text. A function and not a stream of them: a reply has hundreds, each passed on by every layer around the model. */
export type OnText = (piece: string) => void;

export interface ModelRequest {
  readonly messages: BaseMessageLike[];
  /** Which prompt instructs it, as NAME@VERSION, for traces. */
  readonly prompt?: string;
  /** 0 to 2. */
  readonly temperature: number;
  /** The most tokens that the model may write. */
  readonly maxTokens: number;
  /** What the model may call. Default none. */
  readonly tools?: readonly ToolDefinition[];
  readonly signal?: AbortSignal | undefined;
}

/** A tool as a model is told of it. */
export interface ToolDefinition {
  readonly name: string;
  readonly description: string;
  /** JSON schema of its arguments, an object. */
  readonly parameters: Record<string, unknown>;
}

export interface ModelReply {
  /** The whole reply, tool calls included. */
  readonly message: AIMessageChunk;
  readonly text: string;
  readonly usage: Usage;
  /** The name of the model that wrote it, which may have stood in for the one that was asked. */
  readonly model: string;
}

/** Tokens as the model counted them; estimated by the characters when it did not say. */
export interface Usage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** What they cost, in US dollars, where the model has a price. */
  readonly costUsd?: number;
}

export const NO_USAGE: Usage = { inputTokens: 0, outputTokens: 0 };

export function addUsage(a: Usage, b: Usage): Usage {
  const costUsd = (a.costUsd ?? 0) + (b.costUsd ?? 0);
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    ...(costUsd > 0 && { costUsd }),
  };
}
