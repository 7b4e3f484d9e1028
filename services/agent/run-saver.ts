import { Code } from "@connectrpc/connect";
import type { RunnableConfig } from "@langchain/core/runnables";
import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointTuple,
  type PendingWrite,
} from "@langchain/langgraph-checkpoint";
import { LRUCache } from "lru-cache";
import { hasCode } from "../../runtime/errors.js";

/** Threads cannot be stored now; the cause is what the checkpoint service said. */
export class ThreadStoreGone extends Error {
  override name = "ThreadStoreGone";
}

/** Inputs that are remembered: an input is followed by its first step in the same turn of the event loop. */
const MAX_INPUTS = 10_000;

/** An input that a graph was given, which is stored with what follows from it. */
interface Input {
  readonly config: RunnableConfig;
  readonly newVersions: ChannelVersions;
}

/** What a task wrote, until it is known whether the step's checkpoint follows at once. */
interface HeldWrites {
  /** Stores them by themselves. */
  send(): void;
  /** Told once they are stored, or need not be. */
  resolve(): void;
  reject(error: unknown): void;
}

/** Where a run says what its thread's newest checkpoint is. */
const HEAD = "ragents_head";

/** What a graph is run with on a thread whose lease is held: `head` is its newest checkpoint, which need not be read again. */
export function threadConfig(threadId: string, head?: CheckpointTuple): Record<string, unknown> {
  return { thread_id: threadId, ...(head !== undefined && { [HEAD]: head }) };
}

/**
 * The saver of agents' graphs, which stores what is needed to go on, and that once. LangGraph stores a graph's input, and then its
 * first step, which does no more than lead to the first node: here one checkpoint holds both. And it stores what tasks wrote
 * beside the checkpoint that it leads to: here only where that one does not follow at once, as when a task waits or others are
 * still at work.
 */
export class RunSaver extends BaseCheckpointSaver {
  readonly #saver: BaseCheckpointSaver;
  /** By the ids of the checkpoints that are not stored. */
  readonly #inputs = new LRUCache<string, Input>({ max: MAX_INPUTS });
  /** By the ids of the checkpoints that the tasks began from. */
  readonly #held = new Map<string, HeldWrites[]>();

  constructor(saver: BaseCheckpointSaver) {
    super(saver.serde);
    this.#saver = saver;
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const { checkpoint_id, checkpoint_ns = "", [HEAD]: head } = config.configurable ?? {};
    const isHead = head !== undefined && checkpoint_id === undefined && checkpoint_ns === "";
    return isHead ? (head as CheckpointTuple) : this.#saver.getTuple(config);
  }

  override async *list(config: RunnableConfig, options?: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    yield* this.#saver.list(config, options);
  }

  override async put(config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, newVersions: ChannelVersions): Promise<RunnableConfig> {
    const { thread_id, checkpoint_ns = "", checkpoint_id } = config.configurable ?? {};
    if (metadata.source === "input" && checkpoint_ns === "") {
      this.#inputs.set(checkpoint.id, { config: { configurable: { thread_id, checkpoint_ns, checkpoint_id } }, newVersions });
      return { configurable: { thread_id, checkpoint_ns, checkpoint_id: checkpoint.id } };
    }
    const input = this.#inputs.get(checkpoint_id);
    if (input !== undefined) {
      this.#inputs.delete(checkpoint_id);
      return this.#saver.put(input.config, checkpoint, { ...metadata, source: "input" }, { ...input.newVersions, ...newVersions });
    }
    const held = this.#release(checkpoint_id);
    // Channels that are stored as differences are read from what tasks wrote.
    if (metadata.counters_since_delta_snapshot !== undefined) for (const { send } of held) send();
    const put = this.#saver.put(config, checkpoint, metadata, newVersions);
    for (const { resolve, reject } of held) put.then(resolve, reject);
    return put;
  }

  override async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
    const id: string = config.configurable?.["checkpoint_id"];
    if (this.#inputs.has(id)) return;
    await new Promise<void>((resolve, reject) => {
      const one = { resolve, reject, send: () => void this.#saver.putWrites(config, writes, taskId).then(resolve, reject) };
      const held = this.#held.get(id);
      if (held !== undefined) return void held.push(one);
      this.#held.set(id, [one]);
      // LangGraph puts the checkpoint in the same turn of the event loop when all tasks are done.
      setImmediate(() => this.#release(id).forEach(({ send }) => send()));
    });
  }

  #release(id: string): HeldWrites[] {
    const held = this.#held.get(id) ?? [];
    this.#held.delete(id);
    return held;
  }

  override deleteThread(threadId: string): Promise<void> {
    return this.#saver.deleteThread(threadId);
  }
}

/** The same for threads that were just begun here: that nothing is stored of them is known without asking the service. */
export class NewThreadSaver extends RunSaver {
  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    return config.configurable?.["checkpoint_id"] === undefined ? undefined : super.getTuple(config);
  }

  override put(config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, newVersions: ChannelVersions): Promise<RunnableConfig> {
    return super.put(config, checkpoint, metadata, newVersions).catch(asGone);
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
    return super.putWrites(config, writes, taskId).catch(asGone);
  }
}

function asGone(error: unknown): never {
  throw hasCode(error, Code.Unavailable) ? new ThreadStoreGone("threads cannot be stored now", { cause: error }) : error;
}
