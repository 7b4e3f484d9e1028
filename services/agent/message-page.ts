import type { BaseMessage } from "@langchain/core/messages";
import { invalidPageToken } from "./errors.js";

const DEFAULT_PAGE = 50;

/** A page of a conversation; the token names the last message before the next page, so that new messages move nothing. */
export function messagePage(messages: readonly BaseMessage[], size: number, token: string): { messages: BaseMessage[]; nextPageToken: string } {
  const before = token === "" ? -1 : messages.findIndex((message) => message.id === token);
  if (token !== "" && before === -1) throw invalidPageToken();
  const page = messages.slice(before + 1, before + 1 + (size === 0 ? DEFAULT_PAGE : size));
  const last = page.at(-1);
  return { messages: page, nextPageToken: last !== undefined && last !== messages.at(-1) ? (last.id ?? "") : "" };
}
