import { coerceMessageLikeToMessage } from "@langchain/core/messages";
import type { ModelRequest } from "./language-model.js";

/** Of English and of most code. */
const CHARACTERS_A_TOKEN = 4;

/** About how many tokens a model counts for so many characters of its reply. */
export function estimatedTokens(characters: number): number {
  return Math.ceil(characters / CHARACTERS_A_TOKEN);
}

/** About how many tokens a model counts for what it is asked, its tools included. */
export function estimatedPromptTokens({ messages, tools = [] }: Pick<ModelRequest, "messages" | "tools">): number {
  const characters = messages.reduce((sum, message) => sum + coerceMessageLikeToMessage(message).text.length, 0);
  return estimatedTokens(characters + (tools.length === 0 ? 0 : JSON.stringify(tools).length));
}
