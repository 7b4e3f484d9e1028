import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampDate } from "@bufbuild/protobuf/wkt";
import { type Client, Code, createClient, type Transport } from "@connectrpc/connect";
import type { RunnableConfig } from "@langchain/core/runnables";
import {
  BaseCheckpointSaver,
  type ChannelVersions,
  type Checkpoint,
  type CheckpointListOptions,
  type CheckpointMetadata,
  type CheckpointTuple,
  maxChannelVersion,
  type PendingWrite,
  TASKS,
  WRITES_IDX_MAP,
} from "@langchain/langgraph-checkpoint";
import {
  type Checkpoint as CheckpointMessage,
  ChannelStateSchema,
  type Content,
  ContentSchema,
  type Thread,
} from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import { CheckpointService, TaskWriteSchema } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { hasCode, reasonOf } from "../../runtime/errors.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { decode, encode } from "./codec.js";
import { KnownContents } from "./known-contents.js";
import { ThreadLease } from "./lease.js";
import { cutValue, joinValue, segmentHash, segmentKey, type Segments } from "./segments.js";
import { jsonSerializer } from "./serializer.js";

/** Where the checkpoint service is: an address, or a transport that the caller keeps. */
export type GrpcCheckpointSaverOptions = { address: string } | { transport: Transport };

/** What is known of a thread. */
export interface ThreadSummary {
  threadId: string;
  createdAt: Date;
  updatedAt: Date;
  /** Undefined when the thread is kept for ever. */
  expiresAt: Date | undefined;
  checkpointCount: number;
  /** Bytes of its values as stored, compressed. */
  storedBytes: number;
}

/** Contents of one message: below the 4 MiB that every gRPC server accepts, with room for the rest. */
const MESSAGE_BYTES = 2 * 1024 * 1024;
const DEFAULT_LEASE_MS = 30_000;

/**
 * Keeps a LangGraph program's state in the checkpoint service:
 *
 *     const checkpointer = new GrpcCheckpointSaver({ address: "127.0.0.1:9102" });
 *     const graph = builder.compile({ checkpointer });
 *     await graph.invoke(input, { configurable: { thread_id: "1" }, durability: "sync" });
 *
 * A put that resolved is durable. Only what the service does not have travels:
 * elements of lists and other values are named by their hashes. Reading makes
 * plain data, built-in values and the message classes of @langchain/core, never
 * anything else. Rejects with a ConnectError when the service refuses a call or
 * cannot be reached.
 */
export class GrpcCheckpointSaver extends BaseCheckpointSaver {
  readonly #client: Client<typeof CheckpointService>;
  readonly #close: () => void;
  readonly #known = new KnownContents();
  readonly #leases = new Map<string, ThreadLease>();

  constructor(options: GrpcCheckpointSaverOptions) {
    super(jsonSerializer);
    if ("transport" in options) {
      this.#client = createClient(CheckpointService, options.transport);
      this.#close = () => {};
    } else {
      const transport = createGrpcTransport({ address: options.address, services: [CheckpointService] });
      this.#client = createClient(CheckpointService, transport);
      this.#close = () => transport.close();
    }
  }

  /** Ends the connection that the saver opened. */
  close(): void {
    this.#close();
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const { thread_id, checkpoint_ns, checkpoint_id } = config.configurable ?? {};
    if (thread_id === undefined) return undefined;
    const segments: Segments = new Map();
    let found: CheckpointMessage | undefined;
    try {
      const request = { threadId: String(thread_id), checkpointNs: checkpoint_ns ?? "", checkpointId: checkpoint_id ?? "" };
      for await (const { checkpoint, contents } of this.#client.getCheckpoint(request)) {
        this.#receive(String(thread_id), contents, segments);
        found ??= checkpoint;
      }
    } catch (error) {
      if (hasCode(error, Code.NotFound)) return undefined;
      throw error;
    }
    return found && this.#toTuple(found, segments);
  }

  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    const { thread_id, checkpoint_ns, checkpoint_id } = config.configurable ?? {};
    const stop = new AbortController();
    const request = {
      threadId: thread_id === undefined ? "" : String(thread_id),
      checkpointNs: checkpoint_ns ?? undefined,
      checkpointId: checkpoint_id ?? "",
      beforeCheckpointId: options.before?.configurable?.checkpoint_id ?? "",
      filter: Buffer.from(options.filter === undefined ? "" : encode(withoutUndefined(options.filter))),
      limit: options.limit,
    };
    let segments: Segments = new Map();
    let thread: string | undefined;
    let received: Content[] = [];
    try {
      for await (const { checkpoint, contents } of this.#client.listCheckpoints(request, { signal: stop.signal })) {
        received.push(...contents);
        if (checkpoint === undefined) continue;
        // The service sends what another thread needs anew.
        if (checkpoint.threadId !== thread) segments = new Map();
        thread = checkpoint.threadId;
        this.#receive(thread, received, segments);
        received = [];
        yield await this.#toTuple(checkpoint, segments);
      }
    } finally {
      stop.abort();
    }
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    const { threadId, checkpointNs } = placeOf(config, "put a checkpoint");
    const { channel_values, ...head } = checkpoint;
    const segments: Segments = new Map();
    const channels = Object.entries({ ...checkpoint.channel_versions, ...newVersions }).map(([channel, version]) => {
      const state = create(ChannelStateSchema, { channel, version: String(version) });
      if (!Object.hasOwn(newVersions, channel)) state.unchanged = true;
      else if (Object.hasOwn(channel_values, channel)) state.value = cutChannel(channel, channel_values[channel], segments);
      return state;
    });
    const request = {
      threadId,
      checkpointNs,
      checkpointId: checkpoint.id,
      parentCheckpointId: config.configurable?.checkpoint_id ?? "",
      data: Buffer.from(encode(head)),
      metadata: Buffer.from(encode(metadata)),
      channels,
      needsParent: needsParent(checkpoint, metadata),
      fencingToken: this.#leases.get(threadId)?.fencingToken ?? 0n,
    };
    await this.#send(threadId, segments, (contents) => this.#client.putCheckpoint({ ...request, contents }));
    return { configurable: { thread_id: config.configurable?.thread_id, checkpoint_ns: checkpointNs, checkpoint_id: checkpoint.id } };
  }

  /** `taskPath` orders the writes of tasks that ran side by side; LangGraph for JavaScript gives none. */
  override async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath = ""): Promise<void> {
    const { threadId, checkpointNs } = placeOf(config, "put writes");
    const checkpointId = config.configurable?.checkpoint_id;
    if (checkpointId === undefined) throw new Error('To put writes, the config\'s "configurable" must have a "checkpoint_id".');
    const segments: Segments = new Map();
    const request = {
      threadId,
      checkpointNs,
      checkpointId,
      taskId,
      taskPath,
      writes: writes.map(([channel, value], i) =>
        create(TaskWriteSchema, { index: WRITES_IDX_MAP[channel] ?? i, channel, value: cutChannel(channel, value, segments) }),
      ),
      fencingToken: this.#leases.get(threadId)?.fencingToken ?? 0n,
    };
    await this.#send(threadId, segments, (contents) => this.#client.putWrites({ ...request, contents }));
  }

  override async deleteThread(threadId: string): Promise<void> {
    this.#known.forget(threadId);
    await this.#client.deleteThread({ threadId });
  }

  /** Copies a thread with its whole history. Rejects with NOT_FOUND or ALREADY_EXISTS. */
  async copyThread(sourceThreadId: string, targetThreadId: string): Promise<void> {
    await this.#client.copyThread({ sourceThreadId, targetThreadId });
  }

  /** Deletes all but the newest `keep` checkpoints, and those that they need; resolves how many. */
  async pruneThread(threadId: string, options: { keep: number }): Promise<number> {
    const { deletedCount } = await this.#client.pruneThread({ threadId, keep: options.keep });
    return Number(deletedCount);
  }

  /** What is known of a thread; undefined when it has no checkpoint. */
  async getThread(threadId: string): Promise<ThreadSummary | undefined> {
    try {
      const { thread } = await this.#client.getThread({ threadId });
      return thread && toSummary(thread);
    } catch (error) {
      if (hasCode(error, Code.NotFound)) return undefined;
      throw error;
    }
  }

  /** A page of the threads whose ids start with `prefix`, by id. */
  async listThreads(
    options: { prefix?: string; pageSize?: number; pageToken?: string } = {},
  ): Promise<{ threads: ThreadSummary[]; nextPageToken: string }> {
    const { threads, nextPageToken } = await this.#client.listThreads(options);
    return { threads: threads.map(toSummary), nextPageToken };
  }

  /**
   * Makes this saver the thread's only writer until the lease is released: its
   * puts carry the lease's token. Rejects with FAILED_PRECONDITION
   * (THREAD_LEASED, with the time to wait) while another holds the thread.
   */
  async acquireLease(threadId: string, options: { ttlMs?: number } = {}): Promise<ThreadLease> {
    const ttlMs = options.ttlMs ?? DEFAULT_LEASE_MS;
    const { lease } = await this.#client.acquireThreadLease({ threadId, owner: randomUUID(), ttl: durationFromMs(ttlMs) });
    if (lease === undefined) throw new Error("the service granted a lease and did not send it");
    const held = new ThreadLease(this.#client, lease, ttlMs, (ended) => {
      if (this.#leases.get(threadId) === ended && !ended.lost.aborted) this.#leases.delete(threadId);
    });
    this.#leases.set(threadId, held);
    return held;
  }

  /** Sends what the service does not have, ahead of `put` when it is too large to go with it. */
  async #send(threadId: string, segments: Segments, put: (contents: Content[]) => Promise<unknown>): Promise<void> {
    const attempt = async () => {
      const news = [...segments].filter(([key]) => !this.#known.has(threadId, key));
      let contents = news.map(([key, data]) => create(ContentSchema, { hash: segmentHash(key), data }));
      if (contents.reduce((sum, { data }) => sum + data.length, 0) > MESSAGE_BYTES) {
        const fencingToken = this.#leases.get(threadId)?.fencingToken ?? 0n;
        for (const batch of inMessages(contents)) await this.#client.putContents({ threadId, contents: batch, fencingToken });
        contents = [];
      }
      await put(contents);
    };
    try {
      await attempt();
    } catch (error) {
      if (reasonOf(error) !== "MISSING_CONTENTS") throw error;
      // Pruned, deleted or expired since: everything goes along once more.
      this.#known.forget(threadId);
      await attempt();
    }
    this.#known.add(threadId, segments.keys());
  }

  #receive(threadId: string, contents: readonly Content[], segments: Segments): void {
    for (const { hash, data } of contents) segments.set(segmentKey(hash), data);
    this.#known.add(threadId, contents.map(({ hash }) => segmentKey(hash)));
  }

  async #toTuple(message: CheckpointMessage, segments: Segments): Promise<CheckpointTuple> {
    const place = { thread_id: message.threadId, checkpoint_ns: message.checkpointNs };
    const checkpoint = decode(Buffer.from(message.data).toString()) as Checkpoint;
    checkpoint.channel_values = {};
    for (const { channel, value } of message.channels) {
      if (value !== undefined) checkpoint.channel_values[channel] = joinValue(value, segments);
    }
    const tuple: CheckpointTuple = {
      config: { configurable: { ...place, checkpoint_id: message.checkpointId } },
      checkpoint,
      metadata: decode(Buffer.from(message.metadata).toString()) as CheckpointMetadata,
      pendingWrites: message.pendingWrites.map(({ taskId, channel, value }) => [
        taskId,
        channel,
        value && joinValue(value, segments),
      ]),
    };
    if (message.parentCheckpointId !== "") {
      tuple.parentConfig = { configurable: { ...place, checkpoint_id: message.parentCheckpointId } };
      if (checkpoint.v < 4) await this.#addPendingSends(checkpoint, tuple.parentConfig);
    }
    return tuple;
  }

  /** Before version 4, what a step sent to the next one was only in the parent's writes. */
  async #addPendingSends(checkpoint: Checkpoint, parentConfig: RunnableConfig): Promise<void> {
    const parent = await this.getTuple(parentConfig);
    const sends = (parent?.pendingWrites ?? []).filter(([, channel]) => channel === TASKS).map(([, , value]) => value);
    if (sends.length === 0) return;
    const versions = Object.values(checkpoint.channel_versions);
    checkpoint.channel_values[TASKS] = sends;
    checkpoint.channel_versions[TASKS] = versions.length > 0 ? maxChannelVersion(...versions) : this.getNextVersion(undefined);
  }
}

function placeOf(config: RunnableConfig, purpose: string): { threadId: string; checkpointNs: string } {
  const { thread_id, checkpoint_ns } = config.configurable ?? {};
  if (thread_id === undefined || thread_id === null || thread_id === "") {
    throw new Error(`To ${purpose}, the config's "configurable" must have a "thread_id": { configurable: { thread_id: "1" } }.`);
  }
  return { threadId: String(thread_id), checkpointNs: checkpoint_ns ?? "" };
}

function cutChannel(channel: string, value: unknown, segments: Segments) {
  try {
    return cutValue(value, segments);
  } catch (cause) {
    throw new TypeError(`Channel "${channel}": ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** Delta channels, and the sends of old formats, are read from the writes of the checkpoints before. */
function needsParent(checkpoint: Checkpoint, metadata: CheckpointMetadata): boolean {
  return checkpoint.v < 4 || Object.keys(metadata.counters_since_delta_snapshot ?? {}).length > 0;
}

function withoutUndefined(filter: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

function* inMessages(contents: readonly Content[]): Generator<Content[]> {
  let batch: Content[] = [];
  let bytes = 0;
  for (const content of contents) {
    if (bytes > 0 && bytes + content.data.length > MESSAGE_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(content);
    bytes += content.data.length;
  }
  if (batch.length > 0) yield batch;
}

function toSummary(thread: Thread): ThreadSummary {
  return {
    threadId: thread.threadId,
    createdAt: dateOf(thread.createTime) ?? new Date(0),
    updatedAt: dateOf(thread.updateTime) ?? new Date(0),
    expiresAt: dateOf(thread.expireTime),
    checkpointCount: Number(thread.checkpointCount),
    storedBytes: Number(thread.storedBytes),
  };
}

function dateOf(time: Thread["createTime"]): Date | undefined {
  return time && timestampDate(time);
}
