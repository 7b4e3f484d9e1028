import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";
import {
  type CacheService,
  type PutItemSchema,
  PutState,
  type StreamGetRequestSchema,
  type StreamGetResponse,
  type WatchInvalidationsResponse,
} from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { backgroundCall, type Identity, runDetached, runInCall } from "../../runtime/call-context.js";
import { coalesce } from "../../runtime/coalesce.js";
import type { CacheBreaker } from "./breaker.js";
import type { ResolvedScope } from "./cache-key.js";

/** One key at the service. */
export interface ServiceKey {
  readonly scope: ResolvedScope;
  readonly hash: Uint8Array;
  /** Sent for kind ANSWER only. */
  readonly text: string;
}

/** The right to make a value while nobody else does. */
export interface Lease {
  readonly token: string;
  /** Ends then, unless it is extended. */
  readonly ttlMs: number;
}

interface PutRequest extends ServiceKey {
  readonly value: Uint8Array;
  readonly ttlMs: number | undefined;
  readonly leaseToken: string | undefined;
}

const MAX_PUTS = 128;
/** Values of one BatchPut together; the server takes messages of 4 MiB. */
const MAX_PUT_BYTES = 3 * 1024 * 1024;
/** A text longer than this is known by its hash alone, in bytes. */
const MAX_TEXT_BYTES = 4_096;
/** How long a call may go on after its caller has stopped waiting, in milliseconds. */
const CALL_TIMEOUT_MS = 2_000;
const STREAM_TIMEOUT_MS = 3_600_000;

/** The calls of one tenant to the service. They reject when the service fails, and while the breaker is open. */
export class CacheCalls {
  readonly #client: Client<typeof CacheService>;
  readonly #breaker: CacheBreaker;
  readonly #store: (request: PutRequest) => Promise<PutState>;
  /** The latest call's: a batch of one tenant may go out under any of its identities. */
  identity: Identity | undefined;

  constructor(client: Client<typeof CacheService>, breaker: CacheBreaker) {
    this.#client = client;
    this.#breaker = breaker;
    this.#store = coalesce((requests) => this.#batchPut(requests), { maxBatch: MAX_PUTS });
  }

  /** Stores a value; what is stored in one turn of the event loop goes out together. */
  store(key: ServiceKey, value: Uint8Array, options: { ttlMs?: number; leaseToken?: string } = {}): Promise<PutState> {
    return this.#store({ ...key, value, ttlMs: options.ttlMs, leaseToken: options.leaseToken });
  }

  /** Makes a lease last for its time from now. Rejects when it has ended. */
  async extend(key: ServiceKey, lease: Lease): Promise<void> {
    await this.#call((options) => this.#client.extendLease(leaseRequest(key, lease), options));
  }

  /** Lets others make the value at once. */
  async release(key: ServiceKey, lease: Lease): Promise<void> {
    await this.#call((options) => this.#client.releaseLease(leaseRequest(key, lease), options));
  }

  /** Adds hits of this process's own memory to the service's statistics. */
  async reportLocalHits(hits: { kind: CacheKind; count: bigint }[]): Promise<void> {
    await this.#call((options) => this.#client.reportLocalHits({ hits }, options));
  }

  /** Opens a stream of lookups. */
  streamGet(
    requests: AsyncIterable<MessageInitShape<typeof StreamGetRequestSchema>>,
    signal: AbortSignal,
  ): AsyncIterable<StreamGetResponse> {
    return this.#inTenant(() => this.#client.streamGet(requests, { signal, timeoutMs: STREAM_TIMEOUT_MS }));
  }

  /** Opens the stream of what other callers change. */
  watch(signal: AbortSignal): AsyncIterable<WatchInvalidationsResponse> {
    return this.#inTenant(() => this.#client.watchInvalidations({}, { signal, timeoutMs: STREAM_TIMEOUT_MS }));
  }

  async #batchPut(requests: PutRequest[]): Promise<PutState[]> {
    const states: PutState[] = [];
    let start = 0;
    while (start < requests.length) {
      let bytes = 0;
      let end = start;
      while (end < requests.length && (end === start || bytes + requests[end]!.value.length <= MAX_PUT_BYTES)) {
        bytes += requests[end]!.value.length;
        end += 1;
      }
      states.push(...(await this.#putTogether(requests.slice(start, end))));
      start = end;
    }
    return states;
  }

  async #putTogether(requests: PutRequest[]): Promise<PutState[]> {
    const groups = new Map<ResolvedScope, number[]>();
    requests.forEach(({ scope }, i) => {
      const members = groups.get(scope);
      if (members === undefined) groups.set(scope, [i]);
      else members.push(i);
    });
    const message = {
      groups: [...groups].map(([{ kind, message: scope }, members]) => ({
        kind,
        scope,
        items: members.map((i) => putItem(requests[i]!)),
      })),
    };
    const response = await this.#call((options) => this.#client.batchPut(message, options));
    const states: PutState[] = [];
    [...groups.values()].flat().forEach((i, at) => (states[i] = response.states[at] ?? PutState.UNSPECIFIED));
    return states;
  }

  #call<T>(call: (options: { timeoutMs: number }) => Promise<T>): Promise<T> {
    return this.#breaker.execute(() => this.#inTenant(() => call({ timeoutMs: CALL_TIMEOUT_MS })));
  }

  /** Runs `fn` for the tenant, outside of the call that happened to be first in its batch: that one may end before. */
  #inTenant<T>(fn: () => T): T {
    const { identity } = this;
    return identity === undefined
      ? runDetached(fn)
      : runInCall(backgroundCall(identity, randomUUID(), new AbortController().signal), fn);
  }
}

/** The text as it goes along with its hash; empty when it is too long to. */
export function textToSend(text: string): string {
  return Buffer.byteLength(text) <= MAX_TEXT_BYTES ? text : "";
}

function putItem(request: PutRequest): MessageInitShape<typeof PutItemSchema> {
  return {
    textHash: request.hash,
    value: request.value,
    leaseToken: request.leaseToken ?? "",
    text: request.scope.sendsTexts ? textToSend(request.text) : "",
    ...(request.ttlMs !== undefined && { ttl: durationFromMs(request.ttlMs) }),
  };
}

function leaseRequest(key: ServiceKey, lease: Lease) {
  return { kind: key.scope.kind, scope: key.scope.message, textHash: key.hash, leaseToken: lease.token };
}
