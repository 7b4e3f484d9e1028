import type { Client } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import type { CacheSelector } from "../../gen/ragents/cache/v1/cache_pb.js";
import { type CacheService, PutState, type ReplacedEntries } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { type Identity, runDetached } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import type { CacheBreaker } from "./breaker.js";
import { CacheCalls } from "./cache-calls.js";
import type { Filled, PutOptions } from "./cache-client.js";
import { type CacheKind, type CacheScope, type ResolvedScope, resolveScope, scopeKey, scopeName, sha256 } from "./cache-key.js";
import type { LookupCounts } from "./client-metrics.js";
import { fill } from "./fill.js";
import { InvalidationWatch } from "./invalidation-watch.js";
import { LocalHits } from "./local-hits.js";
import type { LocalMemory } from "./local-memory.js";
import { LocalScope } from "./local-scope.js";
import { type Found, LookupBatcher } from "./lookup-batcher.js";
import { LookupStream } from "./lookup-stream.js";
import { withPatience } from "./patience.js";

export interface TenantCacheOptions {
  client: Client<typeof CacheService>;
  breaker: CacheBreaker;
  clock: Clock;
  /** Told the number of lookups of each request. */
  onBatch?: ((size: number) => void) | undefined;
  /** How long anything waits for the service, in milliseconds. */
  patienceMs: number;
  /** Undefined: every lookup goes to the service. */
  memory: LocalMemory | undefined;
  counts: LookupCounts;
  maxWaitMs: number;
}

/** A scope in use: what the service calls it, and what this process has of it. */
interface ScopeHandle {
  readonly resolved: ResolvedScope;
  readonly local: LocalScope | undefined;
  /** Values that are being found or made here now, by text. */
  readonly flights: Map<string, Promise<Uint8Array>>;
}

/** The scope of the latest lookup, by what it was made of. */
interface RecentScope extends CacheScope {
  readonly kind: CacheKind;
  readonly handle: ScopeHandle | undefined;
}

/** Scopes that are remembered; the entries of a forgotten one are forgotten too. */
const MAX_SCOPES = 1_000;
/** Values larger than this are not worth a cache's room; the service refuses them, in bytes. */
const MAX_VALUE_BYTES = 1024 * 1024;
/** How often a caller waits for another call of this process to make a value, when those fail. */
const MAX_FAILED_FLIGHTS = 3;

const NOTHING: Promise<undefined> = Promise.resolve(undefined);

/** One tenant's view of the cache. */
export class TenantCache {
  readonly #options: TenantCacheOptions;
  readonly #calls: CacheCalls;
  readonly #stream: LookupStream;
  readonly #batcher: LookupBatcher;
  readonly #localHits: LocalHits;
  readonly #watch: InvalidationWatch | undefined;
  readonly #scopes: LRUCache<string, ScopeHandle>;
  readonly #byName = new Map<string, ScopeHandle>();
  #recent: RecentScope | undefined;

  constructor(options: TenantCacheOptions) {
    this.#options = options;
    const { client, breaker, clock, patienceMs } = options;
    this.#calls = new CacheCalls(client, breaker);
    this.#stream = new LookupStream({ open: (requests, signal) => this.#calls.streamGet(requests, signal), clock });
    this.#batcher = new LookupBatcher({
      stream: this.#stream,
      breaker,
      patienceMs,
      onBatch: options.onBatch,
      // A lease that nobody holds would keep others from making the value.
      leaseCameLate: (key, lease) => void this.#calls.release(key, lease).catch(() => {}),
    });
    this.#localHits = new LocalHits((hits) => this.#calls.reportLocalHits(hits));
    this.#scopes = new LRUCache({
      max: MAX_SCOPES,
      dispose: (handle) => {
        this.#byName.delete(handle.resolved.name);
        handle.local?.clear();
      },
    });
    if (options.memory === undefined) return;
    // The stream outlives the call that happened to be the tenant's first.
    this.#watch = runDetached(
      () =>
        new InvalidationWatch({
          open: (signal) => this.#calls.watch(signal),
          clock,
          invalidated: (selector) => this.#invalidate(selector),
          replaced: (entries) => this.#replace(entries),
          lost: () => this.#forgetAll(),
        }),
    );
  }

  /** The latest call's: a batch of one tenant may go out under any of its identities. */
  set identity(identity: Identity | undefined) {
    this.#calls.identity = identity;
  }

  get(kind: CacheKind, scope: CacheScope, text: string): Promise<Uint8Array | undefined> {
    const handle = this.#handleOf(kind, scope);
    if (handle === undefined) return NOTHING;
    return this.#getLocal(handle, text) ?? this.#getRemote(handle, text);
  }

  async put(kind: CacheKind, scope: CacheScope, text: string, value: Uint8Array, options: PutOptions): Promise<void> {
    const handle = this.#handleOf(kind, scope);
    if (handle !== undefined) await this.#store(handle, text, sha256(text), value, options);
  }

  async getOrCompute(
    kind: CacheKind,
    scope: CacheScope,
    text: string,
    compute: () => Promise<Uint8Array>,
    options: PutOptions,
  ): Promise<Filled> {
    const handle = this.#handleOf(kind, scope);
    for (let failed = 0; handle !== undefined && failed < MAX_FAILED_FLIGHTS; failed += 1) {
      const local = this.#getLocal(handle, text);
      if (local !== undefined) return { value: await local, cached: true };
      const flight = handle.flights.get(text);
      if (flight === undefined) return this.#fly(handle, text, compute, options);
      // Another call's failure is not this one's: its caller may have gone away.
      const value = await flight.catch(() => undefined);
      if (value !== undefined) {
        this.#countLocal(handle);
        return { value, cached: true };
      }
    }
    return { value: await compute(), cached: false };
  }

  close(): void {
    this.#watch?.close();
    this.#stream.close();
    this.#scopes.clear();
  }

  /** Sends what is still to be reported. Never rejects. */
  flush(): Promise<void> {
    return this.#localHits.flush();
  }

  async #fly(handle: ScopeHandle, text: string, compute: () => Promise<Uint8Array>, options: PutOptions): Promise<Filled> {
    const hash = sha256(text);
    const key = { scope: handle.resolved, hash, text };
    const filling = fill({
      calls: this.#calls,
      key,
      clock: this.#options.clock,
      maxWaitMs: this.#options.maxWaitMs,
      find: () => new Promise((resolve) => this.#find(handle, text, hash, true, resolve)),
      compute,
      store: (value, leaseToken) => this.#store(handle, text, hash, value, { ...options, ...(leaseToken !== undefined && { leaseToken }) }),
    });
    const flight = filling.then(({ value }) => value);
    flight.catch(() => {});
    handle.flights.set(text, flight);
    try {
      return await filling;
    } finally {
      handle.flights.delete(text);
    }
  }

  /** Not async: a local hit costs a lookup and no promise of its own. */
  #getLocal(handle: ScopeHandle, text: string): Promise<Uint8Array> | undefined {
    if (this.#watch?.live !== true) return undefined;
    const answer = handle.local?.get(text, this.#options.clock.monotonic());
    if (answer !== undefined) this.#countLocal(handle);
    return answer;
  }

  #getRemote(handle: ScopeHandle, text: string): Promise<Uint8Array | undefined> {
    return new Promise((resolve) => {
      this.#find(handle, text, sha256(text), false, (found) => resolve(found.state === "hit" ? found.value : undefined));
    });
  }

  /** Looks a text up at the service, and keeps what it finds. */
  #find(handle: ScopeHandle, text: string, hash: Uint8Array, takeLease: boolean, done: (found: Found) => void): void {
    const { resolved: scope, local } = handle;
    const listening = this.#watch?.live === true;
    const version = local?.version ?? 0;
    const settle = (found: Found) => {
      if (found.state !== "filling") this.#options.counts[found.state === "leased" ? "miss" : found.state] += 1;
      // What is told of a change names the question that was answered, not those that are similar to it.
      if (found.state === "hit" && !found.similar && listening && this.#watch?.live === true) {
        local?.keep(text, hash, found.value, this.#options.clock.monotonic() + found.ttlMs, version);
      }
      done(found);
    };
    this.#batcher.add({ scope, hash, text, takeLease, settle });
  }

  async #store(
    handle: ScopeHandle,
    text: string,
    hash: Uint8Array,
    value: Uint8Array,
    options: PutOptions & { leaseToken?: string },
  ): Promise<boolean> {
    handle.local?.drop([hash]);
    if (value.length > MAX_VALUE_BYTES || options.mayStore?.(value) === false) return false;
    const stored = this.#calls.store({ scope: handle.resolved, hash, text }, value, options);
    return withPatience(stored, this.#options.patienceMs).then(
      (state) => state === PutState.STORED,
      () => false,
    );
  }

  #handleOf(kind: CacheKind, scope: CacheScope): ScopeHandle | undefined {
    const recent = this.#recent;
    if (
      recent !== undefined &&
      recent.kind === kind &&
      recent.epoch === scope.epoch &&
      recent.collection === scope.collection &&
      recent.model === scope.model &&
      recent.parameters === scope.parameters
    ) {
      return recent.handle;
    }
    const key = scopeKey(kind, scope);
    const handle = this.#scopes.get(key) ?? this.#open(key, kind, scope);
    const { collection, epoch, model, parameters } = scope;
    this.#recent = { kind, collection, epoch, model, parameters, handle };
    return handle;
  }

  #open(key: string, kind: CacheKind, scope: CacheScope): ScopeHandle | undefined {
    const resolved = resolveScope(kind, scope);
    if (resolved === undefined) return undefined;
    const { memory } = this.#options;
    const handle: ScopeHandle = { resolved, local: memory && new LocalScope(memory), flights: new Map() };
    this.#scopes.set(key, handle);
    this.#byName.set(resolved.name, handle);
    return handle;
  }

  #countLocal(handle: ScopeHandle): void {
    this.#options.counts.local += 1;
    this.#localHits.add(handle.resolved.kind);
  }

  #invalidate(selector: CacheSelector): void {
    for (const { resolved, local } of this.#byName.values()) if (selects(selector, resolved)) local?.clear();
  }

  #replace({ kind, scope, textHashes }: ReplacedEntries): void {
    if (scope !== undefined) this.#byName.get(scopeName(kind, scope))?.local?.drop(textHashes);
  }

  #forgetAll(): void {
    for (const { local } of this.#byName.values()) local?.clear();
  }
}

/** Whether a selector names the entries of a scope. */
function selects(selector: CacheSelector, { kind, message }: ResolvedScope): boolean {
  return (
    (selector.kinds.length === 0 || selector.kinds.includes(kind)) &&
    (selector.collection === undefined || selector.collection === message.collection) &&
    (selector.epoch === undefined || selector.epoch === message.epoch) &&
    (selector.model === undefined || selector.model === message.model) &&
    (selector.parametersHash === undefined || Buffer.compare(selector.parametersHash, message.parametersHash) === 0)
  );
}
