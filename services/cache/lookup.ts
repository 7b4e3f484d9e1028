import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { type LookupGroup, type Lookups, LookupsSchema, LookupState } from "../../gen/ragents/cache/v1/cache_service_pb.js";
import { decompress } from "./compression.js";
import { entryScope } from "./entry-scope.js";
import type { CacheStore, GetGroup, StoreLookup, UsageCounts } from "./store.js";

type Counts = Pick<UsageCounts, "hits" | "misses" | "similarHits">;

/** Values of one response together; messages are limited to 4 MiB. A value has at most 1 MiB, so one always fits. */
const MAX_RESPONSE_BYTES = 3 * 1024 * 1024;

/** Looks up what a request asks for, in its order, and counts hits and misses. */
export async function lookUp(
  store: CacheStore,
  tenant: string,
  groups: readonly LookupGroup[],
  leaseMs: number,
): Promise<Lookups> {
  const asked: GetGroup[] = groups.map(({ kind, scope, textHashes, texts, takeLeases }) => ({
    scope: entryScope(tenant, kind, scope!),
    hashes: textHashes,
    texts,
    ...(takeLeases && { leaseMs }),
  }));
  const found = await store.get(asked);
  const lookups = create(LookupsSchema, {});
  let room = MAX_RESPONSE_BYTES;
  for (const [i, { scope }] of asked.entries()) {
    const counts: Counts = { hits: 0, misses: 0, similarHits: 0 };
    for (const result of found[i]!) {
      if (result.state === "hit") {
        // Awaiting what is not deflated would cost each lookup a turn.
        const value = result.value.deflated ? await decompress(result.value) : result.value.bytes;
        room -= addHit(lookups, value, result, room, counts);
      } else {
        addMissing(lookups, result, counts);
      }
    }
    store.count(tenant, scope.kind, counts);
  }
  if (lookups.leaseTokens.length > 0) lookups.leaseTtl = durationFromMs(leaseMs);
  return lookups;
}

/** Returns the room that the value takes. */
function addHit(
  lookups: Lookups,
  value: Uint8Array | undefined,
  { ttlMs, similar }: StoreLookup & { state: "hit" },
  room: number,
  counts: Counts,
): number {
  if (value === undefined) {
    lookups.states.push(LookupState.MISS);
    counts.misses += 1;
    return 0;
  }
  if (value.length > room) {
    lookups.states.push(LookupState.DEFERRED);
    return 0;
  }
  lookups.states.push(similar === true ? LookupState.SIMILAR_HIT : LookupState.HIT);
  lookups.values.push(value);
  lookups.ttlsMs.push(Math.floor(ttlMs));
  counts.hits += 1;
  if (similar === true) counts.similarHits += 1;
  return value.length;
}

function addMissing(
  lookups: Lookups,
  result: Exclude<StoreLookup, { state: "hit" }>,
  counts: Counts,
): void {
  // A lookup that finds another one at work asks again: it counts when it has its answer.
  if (result.state !== "filling") counts.misses += 1;
  switch (result.state) {
    case "leased":
      lookups.states.push(LookupState.LEASED);
      lookups.leaseTokens.push(result.token);
      break;
    case "filling":
      lookups.states.push(LookupState.FILLING);
      break;
    case "miss":
      lookups.states.push(LookupState.MISS);
  }
}
