import { randomUUID } from "node:crypto";
import { AIMessage, type BaseMessage, HumanMessage } from "@langchain/core/messages";
import type { Clock } from "../../runtime/clock.js";
import type { Citation } from "../../runtime/llm/answerer.js";
import type { RunAnswer } from "./state.js";

/** What we keep beside a message's text; no provider is sent it. */
export interface MessageStamp {
  /** Milliseconds since the epoch. */
  created: number;
  model?: string;
  citations?: readonly Citation[];
}

function stamp(clock: Clock, fields: Omit<MessageStamp, "created"> = {}): { ragents: MessageStamp } {
  return { ragents: { created: clock.now(), ...fields } };
}

export function stampOf(message: BaseMessage): MessageStamp {
  const { ragents } = message.response_metadata as { ragents?: MessageStamp };
  return ragents ?? { created: 0 };
}

/** What a user said, now. */
export function userMessage(content: string, clock: Clock): HumanMessage {
  return new HumanMessage({ id: randomUUID(), content, response_metadata: stamp(clock) });
}

/** An answer as it is remembered. */
export function answerMessage({ text, model, citations }: Omit<RunAnswer, "usage">, clock: Clock): AIMessage {
  return new AIMessage({ id: randomUUID(), content: text, response_metadata: stamp(clock, { model, citations }) });
}
