import { Counter, type Registry } from "prom-client";
import { CacheKind } from "../../gen/ragents/cache/v1/cache_pb.js";
import { overriding } from "../../runtime/overriding.js";
import type { CacheStore } from "./store.js";

const KINDS = [CacheKind.EMBEDDING, CacheKind.RETRIEVAL, CacheKind.QUERY_REWRITE, CacheKind.ANSWER] as const;

/** The store, with the hits and misses that this replica counts shown, by kind. */
export function measuredStore(store: CacheStore, registry: Registry): CacheStore {
  const counter = (name: string, help: string) => {
    const made = new Counter({ name, help, labelNames: ["kind"], registers: [registry] });
    for (const kind of KINDS) made.inc({ kind: nameOf(kind) }, 0);
    return made;
  };
  const hits = counter("cache_hits_total", "Look-ups that found a value, those answered by callers' own copies included.");
  const misses = counter("cache_misses_total", "Look-ups that found nothing.");
  return overriding(store, {
    count(tenant, kind, counts) {
      hits.inc({ kind: nameOf(kind) }, counts.hits ?? 0);
      misses.inc({ kind: nameOf(kind) }, counts.misses ?? 0);
      store.count(tenant, kind, counts);
    },
  });
}

function nameOf(kind: CacheKind): string {
  return CacheKind[kind].toLowerCase();
}
