import { createClient, type Transport } from "@connectrpc/connect";
import { CacheService, type PutState } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { currentCall } from "../../runtime/call-context.js";
import { channelSecurity, type ClientSecurityOptions } from "../../runtime/channel-security.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import { CacheCalls, createCacheBreaker, type ServiceKey } from "./cache-calls.js";
import { type CacheKind, type CacheScope, ScopeResolver, sha256 } from "./cache-key.js";
import { fill } from "./fill.js";
import { withPatience } from "./patience.js";

export interface PutOptions {
  /** How long the value lives, in milliseconds. Default: the kind's own time. */
  ttlMs?: number;
}

/** A value, and whether another call made it. */
export interface Filled {
  value: Uint8Array;
  cached: boolean;
}

/**
 * Values that were costly to make, shared by every process of the mesh. The tenant is that of the current call. A fault
 * of the cache is a miss: nothing here rejects because of it, and nothing waits longer than the patience for it.
 */
export interface CacheClient {
  /** The value, or undefined when there is none or the cache fails. Never rejects. Treat the bytes as read-only. */
  get(kind: CacheKind, scope: CacheScope, text: string): Promise<Uint8Array | undefined>;
  /** Stores a value for others. Resolves when that is done or has failed. Never rejects. */
  put(kind: CacheKind, scope: CacheScope, text: string, value: Uint8Array, options?: PutOptions): Promise<void>;
  /**
   * The value, made by `compute` when there is none; of all processes that ask at the same time one makes it and the
   * others wait for it. Rejects only when this caller's own `compute` does.
   */
  getOrCompute(
    kind: CacheKind,
    scope: CacheScope,
    text: string,
    compute: () => Promise<Uint8Array>,
    options?: PutOptions,
  ): Promise<Filled>;
  close(): void;
}

export interface CacheClientOptions extends ClientSecurityOptions {
  /** Where the service is: host:port, or dns:///name:port for every replica of it. Default 127.0.0.1:9101. */
  address?: string;
  /** Takes the place of the address; its owner closes it. */
  transport?: Transport;
  /** Silence of the service after which a lookup is a miss, in milliseconds. Default 50. */
  patienceMs?: number;
  /** Bound of the memory of this process that holds recent values, in bytes; 0 for none. Default 64 MiB. */
  localBytes?: number;
  /** How long getOrCompute waits for a value that another process makes, in milliseconds. Default 30,000. */
  maxWaitMs?: number;
  clock?: Clock;
}

const DEFAULT_ADDRESS = "127.0.0.1:9101";
/** Values larger than this are not worth a cache's room; the service refuses them, in bytes. */
const MAX_VALUE_BYTES = 1024 * 1024;

/** A client of the cache service. It connects when it is first used. */
export function createCacheClient(options: CacheClientOptions = {}): CacheClient {
  const patienceMs = options.patienceMs ?? 50;
  const maxWaitMs = options.maxWaitMs ?? 30_000;
  const clock = options.clock ?? systemClock;
  const own =
    options.transport === undefined
      ? createGrpcTransport({ address: options.address ?? DEFAULT_ADDRESS, services: [CacheService], security: channelSecurity(options) })
      : undefined;
  const client = createClient(CacheService, (options.transport ?? own)!);
  const breaker = createCacheBreaker();
  const scopes = new ScopeResolver();
  const tenants = new Map<string, CacheCalls>();

  function callsOfTenant(): CacheCalls {
    const identity = currentCall()?.identity;
    const name = identity === undefined ? "" : `:${identity.tenant}`;
    let calls = tenants.get(name);
    if (calls === undefined) {
      calls = new CacheCalls({ client, patienceMs }, breaker);
      tenants.set(name, calls);
    }
    calls.identity = identity;
    return calls;
  }

  function keyOf(kind: CacheKind, scope: CacheScope, text: string): ServiceKey | undefined {
    const resolved = scopes.resolve(kind, scope);
    return resolved && { scope: resolved, hash: sha256(text), text };
  }

  async function store(calls: CacheCalls, key: ServiceKey, value: Uint8Array, put: PutOptions & { leaseToken?: string }): Promise<void> {
    if (value.length > MAX_VALUE_BYTES) return;
    const stored: Promise<PutState> = calls.store(key, value, put);
    await withPatience(stored, patienceMs).catch(() => {});
  }

  return {
    async get(kind, scope, text) {
      const key = keyOf(kind, scope, text);
      if (key === undefined) return undefined;
      const found = await callsOfTenant().find(key, false).catch(() => undefined);
      return found?.state === "hit" ? found.value : undefined;
    },
    async put(kind, scope, text, value, put = {}) {
      const key = keyOf(kind, scope, text);
      if (key !== undefined) await store(callsOfTenant(), key, value, put);
    },
    async getOrCompute(kind, scope, text, compute, put = {}) {
      const key = keyOf(kind, scope, text);
      if (key === undefined) return { value: await compute(), cached: false };
      const calls = callsOfTenant();
      return fill({
        key,
        calls,
        clock,
        maxWaitMs,
        compute,
        store: (value, leaseToken) => store(calls, key, value, leaseToken === undefined ? put : { ...put, leaseToken }),
      });
    },
    close: () => own?.close(),
  };
}
