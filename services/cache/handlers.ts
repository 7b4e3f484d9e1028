import { create } from "@bufbuild/protobuf";
import { type Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, type ServiceImpl } from "@connectrpc/connect";
import { CacheSelectorSchema } from "../../gen/ragents/cache/v1/cache_pb.js";
import { type CacheService, PutState } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { ErrorReason } from "../../gen/ragents/errors/v1/errors_pb.js";
import { currentTenant } from "../../runtime/call-context.js";
import { meshError } from "../../runtime/errors.js";
import { compress } from "./compression.js";
import type { CacheConfig } from "./config.js";
import { entryScope } from "./entry-scope.js";
import { inOrder } from "./in-order.js";
import { lookUp } from "./lookup.js";
import { statsResponse } from "./stats.js";
import type { CacheStore, PutOutcome } from "./store.js";
import type { WatchHub } from "./watch.js";

/** Requests of one stream that are worked on at the same time. */
const LOOKUPS_AT_ONCE = 16;

const PUT_STATES: Record<PutOutcome, PutState> = {
  stored: PutState.STORED,
  lease_lost: PutState.LEASE_LOST,
  no_room: PutState.NO_ROOM,
};

export interface CacheHandlerOptions {
  store: CacheStore;
  watchers: WatchHub;
  config: Pick<CacheConfig, "ttlMs" | "compressFromBytes" | "leaseMs">;
  /** Ends the streams of lookups, so that the server can drain. */
  stopping?: AbortSignal | undefined;
}

/** The cache service over a store. */
export function cacheHandlers({ store, watchers, config, stopping }: CacheHandlerOptions): ServiceImpl<typeof CacheService> {
  return {
    async batchGet(request) {
      return { lookups: await fromStore(lookUp(store, currentTenant(), request.groups, config.leaseMs)) };
    },
    async *streamGet(requests) {
      const tenant = currentTenant();
      const answers = inOrder(requests, { limit: LOOKUPS_AT_ONCE, stop: stopping }, ({ groups }) =>
        fromStore(lookUp(store, tenant, groups, config.leaseMs)),
      );
      for await (const lookups of answers) yield { lookups };
    },
    async batchPut(request) {
      const tenant = currentTenant();
      const groups = request.groups.map(async ({ kind, scope, items }) => ({
        scope: entryScope(tenant, kind, scope!),
        items: await Promise.all(
          items.map(async (item) => ({
            hash: item.textHash,
            value: await compress(kind, item.value, config.compressFromBytes),
            ttlMs: msOf(item.ttl) ?? config.ttlMs[kind as keyof CacheConfig["ttlMs"]],
            ...(item.leaseToken !== "" && { leaseToken: item.leaseToken }),
            text: item.text,
          })),
        ),
      }));
      const outcomes = await fromStore(store.put(await Promise.all(groups)));
      return { states: outcomes.flat().map((outcome) => PUT_STATES[outcome]) };
    },
    async extendLease({ kind, scope, textHash, leaseToken }) {
      const held = entryScope(currentTenant(), kind, scope!);
      if (await fromStore(store.extendLease(held, textHash, leaseToken, config.leaseMs))) {
        return { leaseTtl: durationFromMs(config.leaseMs) };
      }
      throw meshError(
        Code.FailedPrecondition,
        ErrorReason.CACHE_LEASE_LOST,
        "The lease has ended; look the entry up again to take a new one.",
      );
    },
    async releaseLease({ kind, scope, textHash, leaseToken }) {
      await fromStore(store.releaseLease(entryScope(currentTenant(), kind, scope!), textHash, leaseToken));
      return {};
    },
    async invalidate({ selector }) {
      return { removed: BigInt(await fromStore(store.remove(currentTenant(), selector!))) };
    },
    async clear({ kinds, collection }) {
      const selector = create(CacheSelectorSchema, { kinds, ...(collection !== undefined && { collection }) });
      return { removed: BigInt(await fromStore(store.remove(currentTenant(), selector))) };
    },
    async getStats() {
      return statsResponse(await fromStore(store.stats(currentTenant())));
    },
    reportLocalHits({ hits }) {
      for (const { kind, count } of hits) {
        store.count(currentTenant(), kind, { hits: Number(count), localHits: Number(count) });
      }
      return {};
    },
    watchInvalidations: (_request, context) => watchers.watch(currentTenant(), context.signal),
  };
}

/** A failure of the backend is UNAVAILABLE: callers go on without the cache. */
export async function fromStore<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    throw meshError(Code.Unavailable, ErrorReason.CACHE_UNAVAILABLE, "The cache's store does not answer; go on without it.", {
      cause,
    });
  }
}

function msOf(duration: Duration | undefined): number | undefined {
  return duration === undefined ? undefined : Math.ceil(durationMs(duration));
}
