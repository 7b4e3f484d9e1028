import { createClient, type Transport } from "@connectrpc/connect";
import { LRUCache } from "lru-cache";
import { CacheService } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { currentCall } from "../../runtime/call-context.js";
import { channelSecurity, type ClientSecurityOptions } from "../../runtime/channel-security.js";
import { type Clock, systemClock } from "../../runtime/clock.js";
import { createGrpcTransport } from "../../runtime/grpc-transport.js";
import type { Metrics } from "../../runtime/metrics.js";
import { inSpan, isTraced } from "../../runtime/tracing/tracer.js";
import { createCacheBreaker } from "./breaker.js";
import type { CacheKind, CacheScope } from "./cache-key.js";
import { exposeCounts, noCounts } from "./client-metrics.js";
import { LocalMemory } from "./local-memory.js";
import { TenantCache } from "./tenant-cache.js";

export interface PutOptions {
  /** How long the value lives, in milliseconds. Default: the kind's own time. */
  ttlMs?: number;
  /** Asked of a value that was made: whether others may have it. Default: they may. */
  mayStore?: (value: Uint8Array) => boolean;
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
  /** Shows ragents_cache_client_lookups_total, and the sizes of batches. */
  metrics?: Metrics;
  clock?: Clock;
}

const DEFAULT_ADDRESS = "127.0.0.1:9101";
const DEFAULT_LOCAL_BYTES = 64 * 1024 * 1024;
/** Each tenant in use has a stream of its own to the service. */
const MAX_TENANTS = 256;

/** A client of the cache service. It connects when it is first used. */
export function createCacheClient(options: CacheClientOptions = {}): CacheClient {
  const localBytes = options.localBytes ?? DEFAULT_LOCAL_BYTES;
  const own =
    options.transport === undefined
      ? createGrpcTransport({ address: options.address ?? DEFAULT_ADDRESS, services: [CacheService], security: channelSecurity(options) })
      : undefined;
  const counts = noCounts();
  if (options.metrics !== undefined) exposeCounts(options.metrics.registry, counts);
  const shared = {
    client: createClient(CacheService, (options.transport ?? own)!),
    breaker: createCacheBreaker(),
    memory: localBytes > 0 ? new LocalMemory(localBytes) : undefined,
    counts,
    patienceMs: options.patienceMs ?? 50,
    maxWaitMs: options.maxWaitMs ?? 30_000,
    clock: options.clock ?? systemClock,
    onBatch: options.metrics?.batches("cache_lookups"),
  };
  const tenants = new LRUCache<string, TenantCache>({ max: MAX_TENANTS, dispose: (tenant) => tenant.close() });

  /** The cache of the current call's tenant; outside of a call the service says whose it is. */
  function ofTenant(): TenantCache {
    const identity = currentCall()?.identity;
    const name = identity?.tenant ?? "";
    let tenant = tenants.get(name);
    if (tenant === undefined) tenants.set(name, (tenant = new TenantCache(shared)));
    tenant.identity = identity;
    return tenant;
  }

  return {
    get(kind, scope, text) {
      const get = () => ofTenant().get(kind, scope, text);
      if (!isTraced()) return get();
      return inSpan("cache.get", async (span) => {
        const value = await get();
        span?.set({ metadata: { kind, hit: value !== undefined } });
        return value;
      });
    },
    put: (kind, scope, text, value, put = {}) => ofTenant().put(kind, scope, text, value, put),
    getOrCompute(kind, scope, text, compute, put = {}) {
      const fill = () => ofTenant().getOrCompute(kind, scope, text, compute, put);
      if (!isTraced()) return fill();
      return inSpan("cache.fill", async (span) => {
        const filled = await fill();
        span?.set({ metadata: { kind, hit: filled.cached } });
        return filled;
      });
    },
    close() {
      const reports = [...tenants.values()].map((tenant) => tenant.flush());
      tenants.clear();
      void Promise.all(reports).then(() => own?.close());
    },
  };
}
