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
import { hasCode } from "../../runtime/errors.js";

/** Threads cannot be stored now; the cause is what the checkpoint service said. */
export class ThreadStoreGone extends Error {
  override name = "ThreadStoreGone";
}

/** A saver for threads that were just begun here: that nothing is stored of them is known without asking the service. */
export class NewThreadSaver extends BaseCheckpointSaver {
  readonly #saver: BaseCheckpointSaver;

  constructor(saver: BaseCheckpointSaver) {
    super(saver.serde);
    this.#saver = saver;
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    return config.configurable?.["checkpoint_id"] === undefined ? undefined : this.#saver.getTuple(config);
  }

  override async *list(config: RunnableConfig, options?: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    yield* this.#saver.list(config, options);
  }

  override put(config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, newVersions: ChannelVersions): Promise<RunnableConfig> {
    return this.#saver.put(config, checkpoint, metadata, newVersions).catch(asGone);
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string): Promise<void> {
    return this.#saver.putWrites(config, writes, taskId).catch(asGone);
  }

  override deleteThread(threadId: string): Promise<void> {
    return this.#saver.deleteThread(threadId);
  }
}

function asGone(error: unknown): never {
  throw hasCode(error, Code.Unavailable) ? new ThreadStoreGone("threads cannot be stored now", { cause: error }) : error;
}
