import { randomUUID } from "node:crypto";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import {
  type StreamPutsRequest,
  StreamPutsRequestSchema,
  type StreamPutsResponse,
} from "../../gen/ragents/checkpoint/v1/checkpoint_service_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { backgroundCall, type CallContext, currentCall, type Identity, type MessageOrigin, runDetached, runInCall } from "../../runtime/call-context.js";
import { Channel } from "../../runtime/channel.js";
import { meshError } from "../../runtime/errors.js";
import { fromStatus } from "../../runtime/grpc-status.js";
import { traceHeader } from "../../runtime/tracing/trace-header.js";

/** A stream is followed by another after this time, so that new replicas get their share, in milliseconds. */
const MAX_AGE_MS = 60_000;
/** A stream that nothing is put into for so long ends: an open one keeps the process alive, in milliseconds. */
const IDLE_MS = 500;
/** How long a put waits for its answer when the current call does not say, in milliseconds. */
const PUT_TIMEOUT_MS = 30_000;
const STREAM_TIMEOUT_MS = 3_600_000;
/** Each tenant in use has a stream of its own. */
const MAX_STREAMS = 256;

type Request = MessageInitShape<typeof StreamPutsRequestSchema>;

/** How a stream is opened; it ends with the signal. */
export type OpenPutStream = (
  requests: AsyncIterable<Request>,
  options: { signal: AbortSignal; timeoutMs: number },
) => AsyncIterable<StreamPutsResponse>;

/** The stream ended before a put was answered, which is stored or not: it can be repeated. */
export class PutStreamEndedError extends Error {
  override name = "PutStreamEndedError";
}

/** Sends puts over a stream of their tenant's, which costs a fraction of a call each. */
export class PutStreams {
  readonly #open: OpenPutStream;
  readonly #streams = new LRUCache<string, PutStream>({ max: MAX_STREAMS, dispose: (stream) => stream.finish() });

  constructor(open: OpenPutStream) {
    this.#open = open;
  }

  /**
   * Resolves when the put is durable. Rejects with why it was refused, with DEADLINE_EXCEEDED or CANCELED as the current
   * call says, and with PutStreamEndedError when the stream ended before.
   */
  put(put: StreamPutsRequest["put"]): Promise<void> {
    const identity = currentCall()?.identity;
    const key = identity === undefined ? "" : keyOf(identity);
    let stream = this.#streams.get(key);
    if (stream === undefined || stream.ended || performance.now() - stream.openedAt > MAX_AGE_MS) {
      stream = new PutStream((requests, signal) =>
        inIdentity(identity, () => this.#open(requests, { signal, timeoutMs: STREAM_TIMEOUT_MS })),
      );
      this.#streams.set(key, stream);
    }
    return stream.put(put);
  }

  /** Ends the streams when what was put is answered. */
  close(): void {
    this.#streams.clear();
  }
}

interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

class PutStream {
  readonly openedAt = performance.now();
  readonly #requests = new Channel<Request>();
  readonly #waiting = new Map<number, Waiter>();
  readonly #stop = new AbortController();
  readonly #idle: NodeJS.Timeout;
  #lastId = 0;
  #ended = false;

  constructor(open: (requests: AsyncIterable<Request>, signal: AbortSignal) => AsyncIterable<StreamPutsResponse>) {
    this.#idle = setTimeout(() => this.#waiting.size === 0 && this.finish(), IDLE_MS).unref();
    void this.#read(open(this.#requests, this.#stop.signal));
  }

  /** Whether it takes no more puts. */
  get ended(): boolean {
    return this.#ended;
  }

  put(put: StreamPutsRequest["put"]): Promise<void> {
    const call = currentCall();
    const waitMs = Math.min(PUT_TIMEOUT_MS, (call?.deadline ?? Number.POSITIVE_INFINITY) - Date.now());
    return new Promise<void>((resolve, reject) => {
      const putId = (this.#lastId += 1);
      const settle = () => {
        clearTimeout(timer);
        call?.signal.removeEventListener("abort", cancel);
        this.#waiting.delete(putId);
        this.#idle.refresh();
      };
      const fail = (error: unknown) => {
        settle();
        reject(error);
      };
      const cancel = () => fail(cancelled(call?.signal.reason));
      const timer = setTimeout(() => {
        fail(tooLate());
        // Silent for too long: others need not wait as long for it.
        this.#stop.abort();
      }, waitMs);
      call?.signal.addEventListener("abort", cancel, { once: true });
      this.#waiting.set(putId, {
        resolve() {
          settle();
          resolve();
        },
        reject: fail,
      });
      if (call?.signal.aborted === true) return cancel();
      this.#requests.push(create(StreamPutsRequestSchema, { putId, put, ...(call && originOf(call)) }));
    });
  }

  finish(): void {
    this.#ended = true;
    this.#requests.close();
  }

  async #read(responses: AsyncIterable<StreamPutsResponse>): Promise<void> {
    let cause: unknown;
    try {
      for await (const { putId, error } of responses) {
        const waiter = this.#waiting.get(putId);
        if (error === undefined) waiter?.resolve();
        else waiter?.reject(fromStatus(error));
      }
    } catch (error) {
      cause = error;
    }
    this.finish();
    for (const waiter of [...this.#waiting.values()]) {
      waiter.reject(new PutStreamEndedError("the stream of puts ended before the answer", { cause }));
    }
    clearTimeout(this.#idle);
  }
}

/** What the metadata of a call of its own would say. */
function originOf({ requestId, span }: CallContext): MessageOrigin {
  return { requestId, trace: span === undefined ? "" : traceHeader(span) };
}

/** One for all of a tenant's users who may do the same. */
function keyOf({ tenant, tier, roles, service, operator }: Identity): string {
  return JSON.stringify([tenant, tier, roles, service, operator]);
}

/** Runs `fn` for a tenant, outside of the call that happens to be the stream's first: that one may end before. */
function inIdentity<T>(identity: Identity | undefined, fn: () => T): T {
  if (identity === undefined) return runDetached(fn);
  const { user: _, ...ofTenant } = identity;
  return runInCall(backgroundCall(ofTenant, randomUUID(), new AbortController().signal), fn);
}

function tooLate() {
  const message = "CheckpointService did not answer before the deadline.";
  return meshError(Code.DeadlineExceeded, ErrorReason.DEADLINE_EXCEEDED, message);
}

function cancelled(cause: unknown) {
  return meshError(Code.Canceled, ErrorReason.CANCELLED, "The call was cancelled.", { cause });
}
