import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type LookupGroup, type LookupSchema, LookupState } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { decompress } from "./compression.js";
import { entryScope } from "./entry-scope.js";
import type { CacheStore, GetGroup, StoreLookup, UsageCounts } from "./store.js";

type LookupInit = MessageInitShape<typeof LookupSchema>;

/** Values of one response together; messages are limited to 4 MiB. A value has at most 1 MiB, so one always fits. */
const MAX_RESPONSE_BYTES = 3 * 1024 * 1024;

/** Looks up what a request asks for, in its order, and counts hits and misses. */
export async function lookUp(
  store: CacheStore,
  tenant: string,
  groups: readonly LookupGroup[],
  leaseMs: number,
): Promise<LookupInit[]> {
  const asked: GetGroup[] = groups.map(({ kind, scope, textHashes, takeLeases }) => ({
    scope: entryScope(tenant, kind, scope!),
    hashes: textHashes,
    ...(takeLeases && { leaseMs }),
  }));
  const found = await store.get(asked);
  const lookups: LookupInit[] = [];
  let room = MAX_RESPONSE_BYTES;
  for (const [i, { scope }] of asked.entries()) {
    const counts: Pick<UsageCounts, "hits" | "misses"> = { hits: 0, misses: 0 };
    for (const result of found[i]!) {
      const lookup = await toLookup(result, leaseMs);
      const bytes = lookup.value?.length ?? 0;
      if (bytes > room) {
        lookups.push({ state: LookupState.DEFERRED });
        continue;
      }
      room -= bytes;
      lookups.push(lookup);
      if (lookup.state === LookupState.HIT) counts.hits += 1;
      else if (lookup.state !== LookupState.FILLING) counts.misses += 1;
    }
    store.count(tenant, scope.kind, counts);
  }
  return lookups;
}

async function toLookup(result: StoreLookup, leaseMs: number): Promise<LookupInit> {
  switch (result.state) {
    case "hit": {
      const value = result.value.deflated ? await decompress(result.value) : result.value.bytes;
      if (value === undefined) return { state: LookupState.MISS };
      return { state: LookupState.HIT, value, ttl: durationFromMs(Math.floor(result.ttlMs)) };
    }
    case "leased":
      return { state: LookupState.LEASED, leaseToken: result.token, leaseTtl: durationFromMs(leaseMs) };
    case "filling":
      return { state: LookupState.FILLING };
    case "miss":
      return { state: LookupState.MISS };
  }
}
