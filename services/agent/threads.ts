import type { BaseMessage } from "@langchain/core/messages";
import { type CheckpointTuple, emptyCheckpoint } from "@langchain/langgraph-checkpoint";
import type { GrpcCheckpointSaver, ThreadSummary } from "../../clients/checkpoint/index.js";
import { runBeyondCall } from "../../runtime/call-context.js";
import type { Logger } from "../../runtime/logger.js";
import { stampOf } from "./conversation.js";
import { threadNotFound } from "./errors.js";
import { grownAt, isSeedThread, seedOf, seedThread } from "./seeds.js";
import type { RunSettings } from "./settings.js";
import type { RunStateValue } from "./state.js";

/** What is remembered of a conversation. */
export interface ThreadView {
  readonly id: string;
  /** What was said, oldest first. */
  readonly messages: readonly BaseMessage[];
  /** When the first and the last message came, in milliseconds since the epoch. */
  readonly created: number;
  readonly updated: number;
  /** False for a thread that is known by its seed alone: what is written next must begin with the messages. */
  readonly isStored: boolean;
  /** Its newest checkpoint, where it is stored. */
  readonly head: CheckpointTuple | undefined;
  /** The thread whose checkpoints hold it: its own, or its seed's. */
  readonly holder: string;
  /** The agent that ran last, and its version; undefined where that was not kept yet. */
  readonly agentType: string;
  readonly agentVersion: string | undefined;
}

/** Threads that are being stored at the same time; from there on answers wait for theirs. */
const MAX_PENDING = 100;

/** The tenant's threads, read from their checkpoints. */
export class Threads {
  readonly #saver: GrpcCheckpointSaver;
  readonly #logger: Logger;
  readonly #pending = new Map<string, Promise<void>>();

  constructor(saver: GrpcCheckpointSaver, logger: Logger) {
    this.#saver = saver;
    this.#logger = logger;
  }

  /** Undefined when there is no such thread. */
  async find(id: string): Promise<ThreadView | undefined> {
    await this.whenStored(id);
    return this.viewOf(id, await this.#tuple(id));
  }

  /** Resolves when the thread is not being stored here. */
  async whenStored(id: string): Promise<void> {
    await this.#pending.get(id);
  }

  /** A thread by its newest checkpoint; without one it may still be known by its seed. Undefined when there is no such thread. */
  async viewOf(id: string, tuple: CheckpointTuple | undefined): Promise<ThreadView | undefined> {
    const seed = tuple === undefined ? seedOf(id) : undefined;
    const holder = seed === undefined ? id : seedThread(seed);
    const held = seed === undefined ? tuple : await this.#tuple(holder);
    const messages = messagesOf(held);
    if (messages.length === 0) return undefined;
    const stamps = messages.map((message) => stampOf(message));
    // What it has of its seed was said earlier, to someone else.
    const grown = grownAt(id);
    for (const stamp of stamps) stamp.created = Math.max(stamp.created, grown);
    const { settings } = held?.checkpoint.channel_values as { settings: RunSettings };
    return {
      id,
      messages,
      created: stamps[0]?.created ?? 0,
      updated: stamps.at(-1)?.created ?? 0,
      isStored: seed === undefined,
      head: tuple,
      holder,
      agentType: settings.agent,
      agentVersion: settings.version,
    };
  }

  /** Rejects with NOT_FOUND when there is no such thread. */
  async get(id: string): Promise<ThreadView> {
    const thread = await this.find(id);
    if (thread === undefined) throw threadNotFound(id);
    return thread;
  }

  /** A page of the tenant's threads, by id; threads that are still being stored are not in it. */
  async list(options: { prefix: string; pageSize: number; pageToken: string }): Promise<{ threads: ThreadSummary[]; nextPageToken: string }> {
    const { threads, nextPageToken } = await this.#saver.listThreads(options);
    return { threads: threads.filter(({ threadId }) => !isSeedThread(threadId)), nextPageToken };
  }

  /** Forgets its checkpoints. Rejects with NOT_FOUND when there is no such thread. */
  async delete(id: string): Promise<void> {
    await this.get(id);
    await this.#saver.deleteThread(id);
    if (seedOf(id) === undefined) return;
    // An empty conversation in its place: without it, the seed would be found.
    await this.begin(id, {});
  }

  /**
   * Begins a thread with a state in which nothing is left to do, as an update of the state by the last node of any graph would, in one
   * put: what a graph has to do to come to the same is the greater part of an update. Rejects with UNAVAILABLE when it cannot be stored.
   */
  async begin(id: string, state: Partial<RunStateValue>): Promise<void> {
    const versions = Object.fromEntries(Object.keys(state).map((channel) => [channel, 1]));
    const checkpoint = { ...emptyCheckpoint(), channel_values: state, channel_versions: versions };
    const metadata = { source: "update", step: 0, parents: {} } as const;
    await this.#saver.put({ configurable: { thread_id: id, checkpoint_ns: "" } }, checkpoint, metadata, versions);
  }

  /** Stores a thread that grew from a seed without its caller waiting for it, unless too many are being stored. */
  async storeLater(id: string, seed: string): Promise<void> {
    const storing = runBeyondCall(() => this.#saver.copyThread(seedThread(seed), id))
      .catch((err: unknown) => this.#logger.warn("thread_not_stored", { err }))
      .finally(() => this.#pending.delete(id));
    this.#pending.set(id, storing);
    if (this.#pending.size > MAX_PENDING) await storing;
  }

  /** Resolves when no thread is being stored. */
  async settled(): Promise<void> {
    await Promise.all(this.#pending.values());
  }

  #tuple(id: string): Promise<CheckpointTuple | undefined> {
    return this.#saver.getTuple({ configurable: { thread_id: id } });
  }
}

/** What tools answered, and what a model asked of them, is work and not conversation. */
export function messagesOf(tuple: CheckpointTuple | undefined): BaseMessage[] {
  const { messages = [] } = (tuple?.checkpoint.channel_values ?? {}) as { messages?: BaseMessage[] };
  return messages.filter((message) => message.type === "human" || (message.type === "ai" && message.text !== ""));
}
