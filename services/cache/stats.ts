import type { MessageInitShape } from "@bufbuild/protobuf";
import { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";
import type { GetStatsResponseSchema } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import type { KindStats } from "./store.js";

const KINDS = [CacheKind.EMBEDDING, CacheKind.RETRIEVAL, CacheKind.QUERY_REWRITE, CacheKind.ANSWER] as const;
const COUNTERS = ["hits", "misses", "localHits", "similarHits", "entries", "bytes", "evictions", "expirations"] as const;

/** No counts. */
export function emptyStats(): KindStats {
  return { hits: 0, misses: 0, localHits: 0, similarHits: 0, entries: 0, bytes: 0, evictions: 0, expirations: 0 };
}

/** The statistics of a tenant, of all kinds together and of each; kinds that were never used count 0. */
export function statsResponse(byKind: ReadonlyMap<CacheKind, KindStats>): MessageInitShape<typeof GetStatsResponseSchema> {
  const total = emptyStats();
  const kinds = KINDS.map((kind) => {
    const stats = byKind.get(kind) ?? emptyStats();
    for (const name of COUNTERS) total[name] += stats[name];
    return [CacheKind[kind].toLowerCase(), toMessage(stats)] as const;
  });
  return { ...toMessage(total), byKind: Object.fromEntries(kinds) };
}

function toMessage(stats: KindStats) {
  const requests = stats.hits + stats.misses;
  return {
    hits: BigInt(stats.hits),
    misses: BigInt(stats.misses),
    hitRate: requests === 0 ? 0 : stats.hits / requests,
    requests: BigInt(requests),
    localHits: BigInt(stats.localHits),
    similarHits: BigInt(stats.similarHits),
    entries: BigInt(stats.entries),
    bytes: BigInt(stats.bytes),
    evictions: BigInt(stats.evictions),
    expirations: BigInt(stats.expirations),
  };
}
