import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
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
  ChannelStateSchema,
  type Checkpoint as CheckpointMessage,
  type Contents,
  TaskWriteSchema,
  TaskWritesSchema,
} from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import { type AcquireThreadLeaseRequestSchema, CheckpointService, PutCheckpointRequestSchema } from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { currentCall } from "../../runtime/call-context.js";
import { hasCode, reasonOf } from "../../runtime/errors.js";
import { fromStatus } from "../../runtime/grpc-status.js";
import { channelSecurity, type ClientSecurityOptions } from "../../runtime/channel-security.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { decode, encode } from "./codec.js";
import { CopyQueue } from "./copy-queue.js";
import { type LeaseOptions, ThreadLease } from "./lease.js";
import { PutSender } from "./put-sender.js";
import { SegmentCache } from "./segment-cache.js";
import { addContents, joinValue, type Segments, toHashes, toKeys, ValueCutter } from "./segments.js";
import { jsonSerializer } from "./serializer.js";
import { type ThreadSummary, toSummary } from "./thread-summary.js";

/** Where the checkpoint service is: an address, or a transport that the caller keeps. */
export type GrpcCheckpointSaverOptions = ({ address: string } & ClientSecurityOptions) | { transport: Transport };

/** Segments that one call asks for. */
const MAX_ASKED_SEGMENTS = 65_536;
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
  readonly #cache = new SegmentCache();
  readonly #cutter = new ValueCutter();
  readonly #copies = new CopyQueue(async (copies) => {
    const { outcomes } = await this.#client.batchCopyThread({ copies: [...copies] });
    return outcomes.map(({ error }) => error && fromStatus(error));
  });
  readonly #leases = new Map<string, ThreadLease>();
  readonly #sender: PutSender;

  constructor(options: GrpcCheckpointSaverOptions) {
    super(jsonSerializer);
    if ("transport" in options) {
      this.#client = createClient(CheckpointService, options.transport);
      this.#close = () => {};
    } else {
      const transport = createGrpcTransport({ address: options.address, services: [CheckpointService], security: channelSecurity(options) });
      this.#client = createClient(CheckpointService, transport);
      this.#close = () => transport.close();
    }
    this.#sender = new PutSender({
      client: this.#client,
      cache: this.#cache,
      fencingToken: (thread) => this.#leases.get(thread)?.fencingToken ?? 0n,
    });
  }

  /** Ends the connection that the saver opened. */
  close(): void {
    this.#sender.close();
    this.#close();
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    const { thread_id, checkpoint_ns, checkpoint_id } = config.configurable ?? {};
    if (thread_id === undefined) return undefined;
    const request = { threadId: String(thread_id), checkpointNs: checkpoint_ns ?? "", checkpointId: checkpoint_id ?? "" };
    try {
      const { checkpoint, segments } = await this.#read(request);
      return await this.#toTuple(checkpoint, segments);
    } catch (error) {
      if (hasCode(error, Code.NotFound)) return undefined;
      throw error;
    }
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
    let received: (Contents | undefined)[] = [];
    try {
      for await (const { checkpoint, contents } of this.#client.listCheckpoints(request, { signal: stop.signal })) {
        received.push(contents);
        if (checkpoint === undefined) continue;
        // The service sends what another thread needs anew.
        if (checkpoint.threadId !== thread) segments = new Map();
        thread = checkpoint.threadId;
        for (const part of received) addContents(part, segments);
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
      else if (Object.hasOwn(channel_values, channel)) state.value = this.#cut(channel, channel_values[channel], segments);
      return state;
    });
    const request = create(PutCheckpointRequestSchema, {
      threadId,
      checkpointNs,
      checkpointId: checkpoint.id,
      parentCheckpointId: config.configurable?.checkpoint_id ?? "",
      data: Buffer.from(encode(head)),
      metadata: Buffer.from(encode(metadata)),
      channels,
      needsParent: needsParent(checkpoint, metadata),
    });
    await this.#sender.put(keyOf(threadId), { threadId, checkpoint: request, segments });
    return { configurable: { thread_id: config.configurable?.thread_id, checkpoint_ns: checkpointNs, checkpoint_id: checkpoint.id } };
  }

  /** `taskPath` orders the writes of tasks that ran side by side; LangGraph for JavaScript gives none. */
  override async putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath = ""): Promise<void> {
    const { threadId, checkpointNs } = placeOf(config, "put writes");
    const checkpointId = config.configurable?.checkpoint_id;
    if (checkpointId === undefined) throw new Error('To put writes, the config\'s "configurable" must have a "checkpoint_id".');
    const segments: Segments = new Map();
    const taskWrites = create(TaskWritesSchema, {
      checkpointNs,
      checkpointId,
      taskId,
      taskPath,
      writes: writes.map(([channel, value], i) =>
        create(TaskWriteSchema, { index: WRITES_IDX_MAP[channel] ?? i, channel, value: this.#cut(channel, value, segments) }),
      ),
    });
    await this.#sender.put(keyOf(threadId), { threadId, taskWrites, segments });
  }

  override async deleteThread(threadId: string): Promise<void> {
    this.#cache.forget(keyOf(threadId));
    await this.#client.deleteThread({ threadId });
  }

  /** Copies a thread with its whole history. Rejects with NOT_FOUND or ALREADY_EXISTS. */
  async copyThread(sourceThreadId: string, targetThreadId: string): Promise<void> {
    await this.#copies.add({ sourceThreadId, targetThreadId });
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
   * (THREAD_LEASED, with the time to wait) while another holds the thread,
   * unless `takeOver` takes it from that one.
   */
  async acquireLease(threadId: string, options: LeaseOptions = {}): Promise<ThreadLease> {
    return (await this.#acquire(threadId, options, {})).lease;
  }

  /** The same, with the thread's newest checkpoint as its new writer finds it; undefined when it has none. */
  async acquireLeaseWithHead(threadId: string, options: LeaseOptions = {}): Promise<{ lease: ThreadLease; head: CheckpointTuple | undefined }> {
    const withoutContents = this.#cache.knows(keyOf(threadId));
    const { lease, checkpoint, contents } = await this.#acquire(threadId, options, { withCheckpoint: true, withoutContents });
    if (checkpoint === undefined) return { lease, head: undefined };
    try {
      const joined = await this.#joined(threadId, checkpoint, contents).catch((error: unknown) => {
        if (reasonOf(error) !== "MISSING_CONTENTS") throw error;
        return this.#read({ threadId, checkpointNs: "", checkpointId: "" });
      });
      return { lease, head: await this.#toTuple(joined.checkpoint, joined.segments) };
    } catch (error) {
      await lease.release().catch(() => {});
      throw error;
    }
  }

  async #acquire(threadId: string, { ttlMs = DEFAULT_LEASE_MS, takeOver = false, owner = randomUUID() }: LeaseOptions, asked: MessageInitShape<typeof AcquireThreadLeaseRequestSchema>) {
    const answer = await this.#client.acquireThreadLease({ ...asked, threadId, owner, ttl: durationFromMs(ttlMs), takeOver });
    if (answer.lease === undefined) throw new Error("the service granted a lease and did not send it");
    const thread = keyOf(threadId);
    const client = { renewThreadLease: this.#client.renewThreadLease, release: (id: string, token: bigint) => this.#sender.release(id, token) };
    const lease = new ThreadLease(client, answer.lease, ttlMs, (ended) => {
      if (this.#leases.get(thread) === ended && !ended.lost.aborted) this.#leases.delete(thread);
    });
    this.#leases.set(thread, lease);
    return { ...answer, lease };
  }

  /**
   * Leases of all tenants' threads, of owners that begin with a text, that ended without being given back. Rejects with
   * PERMISSION_DENIED unless a service of the mesh or its operator asks.
   */
  async expiredLeases(ownerPrefix: string, limit: number): Promise<{ tenant: string; threadId: string; owner: string }[]> {
    const { leases } = await this.#client.listExpiredLeases({ ownerPrefix, pageSize: limit });
    return leases.map(({ tenant, lease }) => ({ tenant, threadId: lease?.threadId ?? "", owner: lease?.owner ?? "" }));
  }

  /** A checkpoint with all its segments; those that came by before are not asked for again. Rejects with NOT_FOUND. */
  async #read(request: { threadId: string; checkpointNs: string; checkpointId: string }) {
    const { threadId } = request;
    for (let attempt = 1; ; attempt += 1) {
      const withoutContents = this.#cache.knows(keyOf(threadId)) && attempt === 1;
      const { checkpoint, contents } = await this.#client.getCheckpoint({ ...request, withoutContents });
      if (checkpoint === undefined) throw new Error("the service found a checkpoint and did not send it");
      try {
        return await this.#joined(threadId, checkpoint, contents);
      } catch (error) {
        // Deleted between the two calls; what is there now is another one, or none.
        if (reasonOf(error) !== "MISSING_CONTENTS" || attempt === 2) throw error;
      }
    }
  }

  /** A checkpoint that was received, with all its segments. Rejects with MISSING_CONTENTS when it was deleted since. */
  async #joined(threadId: string, checkpoint: CheckpointMessage, contents: Contents | undefined) {
    const segments: Segments = new Map();
    addContents(contents, segments);
    await this.#complete(threadId, checkpoint, segments);
    this.#cache.add(keyOf(threadId), segments);
    return { checkpoint, segments };
  }

  /** Adds the segments that the checkpoint names and that did not come with it. */
  async #complete(threadId: string, checkpoint: CheckpointMessage, segments: Segments): Promise<void> {
    let missing: string[] = [];
    for (const { value } of [...checkpoint.channels, ...checkpoint.pendingWrites]) {
      for (const key of value === undefined ? [] : toKeys(value.segments)) {
        if (segments.has(key)) continue;
        const data = this.#cache.get(key);
        if (data === undefined) missing.push(key);
        else segments.set(key, data);
      }
    }
    missing = [...new Set(missing)];
    while (missing.length > 0) {
      const { contents } = await this.#client.getContents({ threadId, hashes: toHashes(missing.slice(0, MAX_ASKED_SEGMENTS)) });
      const received = addContents(contents, segments).length;
      if (received === 0) throw new Error("the service was asked for segments and sent none");
      missing = missing.slice(received);
    }
  }

  #cut(channel: string, value: unknown, segments: Segments) {
    try {
      return this.#cutter.cut(value, segments);
    } catch (cause) {
      throw new TypeError(`Channel "${channel}": ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
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

/** Tells threads of the same id apart: they belong to the tenants that call. */
function keyOf(threadId: string): string {
  return `${currentCall()?.identity.tenant ?? ""}\n${threadId}`;
}

function placeOf(config: RunnableConfig, purpose: string): { threadId: string; checkpointNs: string } {
  const { thread_id, checkpoint_ns } = config.configurable ?? {};
  if (thread_id === undefined || thread_id === null || thread_id === "") {
    throw new Error(`To ${purpose}, the config's "configurable" must have a "thread_id": { configurable: { thread_id: "1" } }.`);
  }
  return { threadId: String(thread_id), checkpointNs: checkpoint_ns ?? "" };
}

/** Delta channels, and the sends of old formats, are read from the writes of the checkpoints before. */
function needsParent(checkpoint: Checkpoint, metadata: CheckpointMetadata): boolean {
  return checkpoint.v < 4 || Object.keys(metadata.counters_since_delta_snapshot ?? {}).length > 0;
}

function withoutUndefined(filter: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}
