import { randomUUID } from "node:crypto";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, ConnectError } from "@connectrpc/connect";
import { BrokenCircuitError, circuitBreaker, ConsecutiveBreaker, handleWhen } from "cockatiel";
import { type CacheService, type Lookup, LookupState, type PutItemSchema, PutState } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { backgroundCall, type Identity, runDetached, runInCall } from "../../runtime/call-context.js";
import { coalesce } from "../../runtime/coalesce.js";
import type { ResolvedScope } from "./cache-key.js";
import { withPatience } from "./patience.js";

/** One key at the service. */
export interface ServiceKey {
  readonly scope: ResolvedScope;
  readonly hash: Uint8Array;
  /** Sent for kind ANSWER only. */
  readonly text: string;
}

/** What a lookup found. */
export type Found =
  | { state: "hit"; value: Uint8Array; ttlMs: number }
  | { state: "miss" }
  | { state: "leased"; lease: Lease }
  | { state: "filling" };

/** The right to make a value while nobody else does. */
export interface Lease {
  readonly token: string;
  /** Ends then, unless it is extended. */
  readonly ttlMs: number;
}

export interface CacheCallsOptions {
  client: Client<typeof CacheService>;
  /** Silence after which a lookup is a miss, in milliseconds. */
  patienceMs: number;
}

interface LookupRequest extends ServiceKey {
  readonly takeLease: boolean;
}

interface PutRequest extends ServiceKey {
  readonly value: Uint8Array;
  readonly ttlMs: number | undefined;
  readonly leaseToken: string | undefined;
}

/** Lookups of one call: at the values' usual size their answer stays far below a message's limit. */
const MAX_LOOKUPS = 128;
const MAX_PUTS = 128;
/** Values of one BatchPut together; the server takes messages of 4 MiB. */
const MAX_PUT_BYTES = 3 * 1024 * 1024;
/** A text longer than this is looked up by its hash alone, in bytes. */
const MAX_TEXT_BYTES = 4_096;
/** How long a call may go on after its caller has stopped waiting, in milliseconds. */
const CALL_TIMEOUT_MS = 2_000;
/** Faults in a row after which a cache is not asked for a while. */
const FAULTS_TO_BREAK = 5;
const BREAK_MS = 1_000;

/** The calls of one tenant to the service: what is asked in one turn of the event loop goes out together. */
export class CacheCalls {
  readonly #options: CacheCallsOptions;
  readonly #breaker;
  readonly #find: (request: LookupRequest) => Promise<Found>;
  readonly #store: (request: PutRequest) => Promise<PutState>;
  /** The latest call's: a batch of one tenant may go out under any of its identities. */
  identity: Identity | undefined;

  constructor(options: CacheCallsOptions, breaker: CacheBreaker) {
    this.#options = options;
    this.#breaker = breaker;
    this.#find = coalesce((requests) => this.#batchGet(requests), { maxBatch: MAX_LOOKUPS });
    this.#store = coalesce((requests) => this.#batchPut(requests), { maxBatch: MAX_PUTS });
  }

  /** Rejects when the service fails, or is silent for longer than a cache is worth waiting for. */
  find(key: ServiceKey, takeLease: boolean): Promise<Found> {
    return this.#find({ ...key, takeLease });
  }

  /** Rejects when the service fails. It may take its time: callers choose how long they wait. */
  store(key: ServiceKey, value: Uint8Array, options: { ttlMs?: number; leaseToken?: string } = {}): Promise<PutState> {
    return this.#store({ ...key, value, ttlMs: options.ttlMs, leaseToken: options.leaseToken });
  }

  /** The time the lease lasts from now, in milliseconds. Rejects when it has ended. */
  async extend(key: ServiceKey, lease: Lease): Promise<number> {
    const response = await this.#call((options) => this.#options.client.extendLease(leaseRequest(key, lease), options));
    return msOf(response.leaseTtl);
  }

  /** Lets others make the value at once. */
  async release(key: ServiceKey, lease: Lease): Promise<void> {
    await this.#call((options) => this.#options.client.releaseLease(leaseRequest(key, lease), options));
  }

  async #batchGet(requests: LookupRequest[]): Promise<Found[]> {
    const found: Found[] = new Array(requests.length);
    let open = requests.map((_, i) => i);
    // Values that one response has no room for are asked for again; each response has at least one.
    while (open.length > 0) open = await this.#getSome(requests, open, found);
    return found;
  }

  /** Asks for `requests[i]` for each i of `asked`, fills in `found`, and returns those deferred. */
  async #getSome(requests: LookupRequest[], asked: number[], found: Found[]): Promise<number[]> {
    const groups = inGroups(asked, (i) => `${requests[i]!.scope.id} ${requests[i]!.takeLease}`);
    const message = {
      groups: groups.map((members) => {
        const { scope, takeLease } = requests[members[0]!]!;
        return {
          kind: scope.kind,
          scope: scope.message,
          textHashes: members.map((i) => requests[i]!.hash),
          texts: scope.sendsTexts ? members.map((i) => textToSend(requests[i]!.text)) : [],
          takeLeases: takeLease,
        };
      }),
    };
    const { lookups } = await this.#breaker.execute(async () => {
      const call = this.#call((options) => this.#options.client.batchGet(message, options));
      return withPatience(call, this.#options.patienceMs).catch((error: unknown) => {
        call.then((late) => this.#releaseAll(requests, groups.flat(), late.lookups)).catch(() => {});
        throw error;
      });
    });
    const deferred: number[] = [];
    groups.flat().forEach((i, at) => {
      const lookup = lookups[at];
      if (lookup?.state === LookupState.DEFERRED) deferred.push(i);
      else found[i] = toFound(lookup);
    });
    if (deferred.length === asked.length) throw new Error("the cache service deferred everything");
    return deferred;
  }

  /** Leases that came after their callers had stopped waiting would keep others from making the values. */
  async #releaseAll(requests: LookupRequest[], order: number[], lookups: Lookup[]): Promise<void> {
    for (const [at, i] of order.entries()) {
      const found = toFound(lookups[at]);
      if (found.state === "leased") await this.release(requests[i]!, found.lease);
    }
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
      const part = requests.slice(start, end);
      const groups = inGroups([...part.keys()], (i) => String(part[i]!.scope.id));
      const message = {
        groups: groups.map((members) => ({
          kind: part[members[0]!]!.scope.kind,
          scope: part[members[0]!]!.scope.message,
          items: members.map((i) => putItem(part[i]!)),
        })),
      };
      const response = await this.#breaker.execute(() => this.#call((options) => this.#options.client.batchPut(message, options)));
      groups.flat().forEach((i, at) => {
        states[start + i] = response.states[at] ?? PutState.UNSPECIFIED;
      });
      start = end;
    }
    return states;
  }

  /** Runs a call for the tenant, outside of the call that happened to be first in its batch: that one may end before. */
  #call<T>(call: (options: { timeoutMs: number }) => Promise<T>): Promise<T> {
    const run = () => call({ timeoutMs: CALL_TIMEOUT_MS });
    const { identity } = this;
    return identity === undefined
      ? runDetached(run)
      : runInCall(backgroundCall(identity, randomUUID(), new AbortController().signal), run);
  }
}

export type CacheBreaker = ReturnType<typeof createCacheBreaker>;

/** Stops asking a service that failed several times in a row; after a second one call tries it again. */
export function createCacheBreaker() {
  return circuitBreaker(handleWhen(isFault), {
    halfOpenAfter: BREAK_MS,
    breaker: new ConsecutiveBreaker(FAULTS_TO_BREAK),
  });
}

/** Whether the service is at fault, not the request. */
function isFault(error: Error): boolean {
  if (error instanceof BrokenCircuitError) return false;
  return !(error instanceof ConnectError) || error.code !== Code.InvalidArgument;
}

/** The items of one name together, in the order of their first appearance. */
function inGroups(items: number[], nameOf: (item: number) => string): number[][] {
  const groups = new Map<string, number[]>();
  for (const item of items) {
    const name = nameOf(item);
    const members = groups.get(name);
    if (members === undefined) groups.set(name, [item]);
    else members.push(item);
  }
  return [...groups.values()];
}

function toFound(lookup: Lookup | undefined): Found {
  switch (lookup?.state) {
    case LookupState.HIT:
      return { state: "hit", value: lookup.value, ttlMs: msOf(lookup.ttl) };
    case LookupState.LEASED:
      return { state: "leased", lease: { token: lookup.leaseToken, ttlMs: msOf(lookup.leaseTtl) } };
    case LookupState.FILLING:
      return { state: "filling" };
    default:
      return { state: "miss" };
  }
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

function msOf(duration: Duration | undefined): number {
  return duration === undefined ? 0 : durationMs(duration);
}

function textToSend(text: string): string {
  return Buffer.byteLength(text) <= MAX_TEXT_BYTES ? text : "";
}

function leaseRequest(key: ServiceKey, lease: Lease) {
  return { kind: key.scope.kind, scope: key.scope.message, textHash: key.hash, leaseToken: lease.token };
}
