import { randomUUID } from "node:crypto";
import { type BaseMessage, HumanMessage } from "@langchain/core/messages";
import type { Clock } from "../../runtime/clock.js";
import type { Citation } from "../../runtime/llm/answerer.js";

/** What we keep beside a message's text; no provider is sent it. */
export interface MessageStamp {
  /** Milliseconds since the epoch. */
  created: number;
  model?: string;
  citations?: readonly Citation[];
}

export function stamp(clock: Clock, fields: Omit<MessageStamp, "created"> = {}): { ragents: MessageStamp } {
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
