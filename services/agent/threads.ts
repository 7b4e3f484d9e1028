import type { BaseMessage } from "@langchain/core/messages";
import type { BaseCheckpointSaver, CheckpointTuple } from "@langchain/langgraph-checkpoint";
import { threadNotFound } from "./errors.js";
import { stampOf } from "./conversation.js";

/** What is remembered of a conversation. */
export interface ThreadView {
  readonly id: string;
  /** What was said, oldest first. */
  readonly messages: readonly BaseMessage[];
  /** When the first and the last message came, in milliseconds since the epoch. */
  readonly created: number;
  readonly updated: number;
}

/** The tenant's threads, read from their checkpoints. */
export class Threads {
  readonly #saver: BaseCheckpointSaver;

  constructor(saver: BaseCheckpointSaver) {
    this.#saver = saver;
  }

  /** Undefined when there is no such thread. */
  async find(id: string): Promise<ThreadView | undefined> {
    const tuple = await this.#saver.getTuple({ configurable: { thread_id: id } });
    const messages = tuple && messagesOf(tuple);
    if (messages === undefined || messages.length === 0) return undefined;
    const stamps = messages.map((message) => stampOf(message).created);
    return { id, messages, created: stamps[0] ?? 0, updated: stamps.at(-1) ?? 0 };
  }

  /** Rejects with NOT_FOUND when there is no such thread. */
  async get(id: string): Promise<ThreadView> {
    const thread = await this.find(id);
    if (thread === undefined) throw threadNotFound(id);
    return thread;
  }

  /** Forgets all of it. Rejects with NOT_FOUND when there is no such thread. */
  async delete(id: string): Promise<void> {
    await this.get(id);
    await this.#saver.deleteThread(id);
  }
}

/** What tools answered, and what a model asked of them, is work and not conversation. */
function messagesOf(tuple: CheckpointTuple): BaseMessage[] {
  const { messages = [] } = tuple.checkpoint.channel_values as { messages?: BaseMessage[] };
  return messages.filter((message) => message.type === "human" || (message.type === "ai" && message.text !== ""));
}
