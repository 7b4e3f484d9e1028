import { randomUUID } from "node:crypto";
import { AIMessage, type BaseMessage, HumanMessage } from "@langchain/core/messages";
import type { CacheScope } from "../../clients/cache/index.js";
import type { Clock } from "../../runtime/clock.js";
import type { Citation } from "../../runtime/llm/answerer.js";
import type { RunAnswer, RunStateValue } from "./state.js";

/** What we keep beside a message's text; no provider is sent it. */
export interface MessageStamp {
  /** Milliseconds since the epoch. */
  created: number;
  /** The run that the message belongs to. */
  run?: string;
  /** Of a question with an idempotency key: what was asked, as a hash. */
  request?: string;
  /** Of a question whose answer may be in the cache: where. */
  cachedIn?: CacheScope;
  /** Of an answer: what else the response said. */
  answer?: Omit<RunAnswer, "text"> & { agent: string; collection: string };
  /** Older answers have these in place of `answer`. */
  model?: string;
  citations?: readonly Citation[];
}

export function stampOf(message: BaseMessage): MessageStamp {
  const { ragents } = message.response_metadata as { ragents?: MessageStamp };
  return ragents ?? { created: 0 };
}

export function citationsOf(message: BaseMessage): readonly Citation[] {
  const { answer, citations = [] } = stampOf(message);
  return answer?.citations ?? citations;
}

/** What a user said, now. */
export function userMessage(content: string, clock: Clock, stamp: Pick<MessageStamp, "run" | "request" | "cachedIn"> = {}): HumanMessage {
  return new HumanMessage({ id: randomUUID(), content, response_metadata: { ragents: { created: clock.now(), ...stamp } } });
}

/** What was said in a conversation that was kept elsewhere. */
export function toldMessage(role: string, content: string, clock: Clock): BaseMessage {
  if (role === "user") return userMessage(content, clock);
  return new AIMessage({ id: randomUUID(), content, response_metadata: { ragents: { created: clock.now() } } });
}

/** An answer as it is remembered. */
export function answerMessage({ run, settings }: Pick<RunStateValue, "run" | "settings">, { text, ...rest }: RunAnswer, clock: Clock): AIMessage {
  const answer = { ...rest, agent: settings.agent, collection: settings.collection };
  return new AIMessage({ id: randomUUID(), content: text, response_metadata: { ragents: { created: clock.now(), run, answer } } });
}

/** The answer that a message is. */
export function answerOf(message: BaseMessage): (RunAnswer & { agent: string; collection: string }) | undefined {
  const { answer } = stampOf(message);
  return answer && { ...answer, text: message.text };
}
