import { create } from "@bufbuild/protobuf";
import { type Client, Code } from "@connectrpc/connect";
import type { Contents, TaskWrites } from "../../gen/ragents/checkpoint/v1/checkpoint_pb.js";
import {
  type CheckpointService,
  type PutCheckpointRequest,
  PutWritesRequestSchema,
  ReleaseThreadLeaseRequestSchema,
  type StreamPutsRequest,
} from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { hasCode, reasonOf } from "../../runtime/errors.js";
import { PutStreamEndedError, PutStreams } from "./put-stream.js";
import type { SegmentCache } from "./segment-cache.js";
import { type Segments, toContents } from "./segments.js";
import { WriteQueue } from "./write-queue.js";

/** Contents of one message: below the 4 MiB that every gRPC server accepts, with room for the rest. */
const MESSAGE_BYTES = 2 * 1024 * 1024;
/** Tasks whose writes go out together. */
const MAX_TASKS = 256;

/** A checkpoint or a task's writes, on its way to the service. */
export interface Put {
  readonly threadId: string;
  readonly checkpoint?: PutCheckpointRequest;
  readonly taskWrites?: TaskWrites;
  readonly segments: Segments;
}

/** Sends puts: those of one thread and turn of the event loop together, and of their segments what the service does not have. */
export class PutSender {
  readonly #client: Client<typeof CheckpointService>;
  readonly #cache: SegmentCache;
  readonly #fencingToken: (threadKey: string) => bigint;
  readonly #queue = new WriteQueue<Put>({
    send: (threadKey, puts) => this.#send(threadKey, puts),
    mayJoin: (puts, next) => puts.length < MAX_TASKS && !(next.checkpoint && puts.some(({ checkpoint }) => checkpoint)),
  });
  #streams: PutStreams | undefined;

  constructor(options: {
    client: Client<typeof CheckpointService>;
    cache: SegmentCache;
    /** The token of the lease that is held on a thread; 0n without one. */
    fencingToken: (threadKey: string) => bigint;
  }) {
    this.#client = options.client;
    this.#cache = options.cache;
    this.#fencingToken = options.fencingToken;
    this.#streams = new PutStreams((requests, call) => this.#client.streamPuts(requests, call));
  }

  /** Resolves when the put is durable; `threadKey` tells threads of the same id apart. */
  put(threadKey: string, put: Put): Promise<void> {
    return this.#queue.put(threadKey, put);
  }

  /** Gives a lease back when all that was put under it is durable; its holder puts nothing more. */
  async release(threadId: string, fencingToken: bigint): Promise<void> {
    await this.#store({ case: "release", value: create(ReleaseThreadLeaseRequestSchema, { threadId, fencingToken }) });
  }

  close(): void {
    this.#streams?.close();
  }

  /** Contents go ahead of the put that names them when they are too large to go along. */
  async #send(threadKey: string, puts: readonly Put[]): Promise<void> {
    const threadId = puts[0]?.threadId ?? "";
    const segments = new Map(puts.flatMap((put) => [...put.segments]));
    const checkpoint = puts.find((put) => put.checkpoint !== undefined)?.checkpoint;
    const taskWrites = puts.flatMap((put) => put.taskWrites ?? []);
    const fencingToken = this.#fencingToken(threadKey);
    const attempt = async () => {
      const news = [...segments].filter(([key]) => !this.#cache.has(threadKey, key));
      let [contents, ...more]: (Contents | undefined)[] = [...toContents(news, MESSAGE_BYTES)];
      if (more.length > 0) {
        for (const part of [contents, ...more]) await this.#client.putContents({ threadId, contents: part, fencingToken });
        contents = undefined;
      }
      const added = { taskWrites, fencingToken, ...(contents !== undefined && { contents }) };
      await this.#store(
        checkpoint === undefined
          ? { case: "writes", value: create(PutWritesRequestSchema, { threadId, ...added }) }
          : { case: "checkpoint", value: { ...checkpoint, ...added } },
      );
    };
    try {
      await attempt();
    } catch (error) {
      if (reasonOf(error) !== "MISSING_CONTENTS") throw error;
      // Pruned, deleted or expired since: everything goes along once more.
      this.#cache.forget(threadKey);
      await attempt();
    }
    this.#cache.add(threadKey, segments);
  }

  async #store(put: StreamPutsRequest["put"]): Promise<void> {
    if (this.#streams === undefined) return this.#call(put);
    try {
      await this.#streams.put(put);
    } catch (error) {
      if (!(error instanceof PutStreamEndedError)) throw error;
      // A service, or what stands before it, that knows no such streams.
      if (hasCode(error.cause, Code.Unimplemented)) this.#streams = undefined;
      // Storing it twice does no harm, and a call is tried again at other replicas.
      await this.#call(put);
    }
  }

  async #call(put: StreamPutsRequest["put"]): Promise<void> {
    if (put.case === "checkpoint") await this.#client.putCheckpoint(put.value);
    else if (put.case === "writes") await this.#client.putWrites(put.value);
    else if (put.case === "release") await this.#client.releaseThreadLease(put.value);
  }
}
