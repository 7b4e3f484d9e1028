import { randomUUID } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { CacheKind, CacheSelector } from "../../gen/ragents/cache/v1/cache_pb.js";
import { toBuffer } from "../../runtime/grpc-metadata.js";
import type { Clock } from "../../runtime/clock.js";
import { ChangeFeed } from "./changes.js";
import { selects } from "./entry-scope.js";
import { ExpiryIndex } from "./expiry-index.js";
import { MemoryQuestionLog } from "./question-log-memory.js";
import { emptyStats } from "./stats.js";
import type {
  CacheStore,
  ChangeListener,
  EntryScope,
  GetGroup,
  KindStats,
  PutEntry,
  PutGroup,
  PutOutcome,
  StoredValue,
  StoreLookup,
  UsageCounts,
} from "./store.js";

export interface MemoryStoreOptions {
  /** The entries' bytes together never exceed this; the least recently used make room. */
  maxBytes: number;
  clock: Clock;
}

interface Entry {
  readonly scope: ScopeState;
  readonly hash: string;
  readonly value: StoredValue;
  /** On the monotonic clock. */
  readonly expiresAt: number;
}

interface ScopeState {
  readonly scope: EntryScope;
  readonly hashes: Set<string>;
}

interface Lease {
  readonly scope: EntryScope;
  readonly token: string;
  endsAt: number;
}

/** What an entry takes beside its value: keys, slots of the maps and the objects, measured roughly. */
const ENTRY_OVERHEAD_BYTES = 400;

/** Opens an empty store in this process's memory. */
export function openMemoryStore({ maxBytes, clock }: MemoryStoreOptions): CacheStore {
  const scopes = new Map<string, ScopeState>();
  const leases = new Map<string, Lease>();
  const stats = new Map<string, Map<CacheKind, KindStats>>();
  const expiry = new ExpiryIndex();
  const questions = new MemoryQuestionLog(clock);
  const feed = new ChangeFeed();
  const entries = new LRUCache<string, Entry>({
    maxSize: maxBytes,
    sizeCalculation: sizeOf,
    dispose(entry, key, reason) {
      const { scope } = entry.scope;
      const counts = statsOf(scope);
      counts.entries -= 1;
      counts.bytes -= sizeOf(entry);
      expiry.delete(key, entry.expiresAt);
      if (reason === "set") return;
      entry.scope.hashes.delete(entry.hash);
      if (entry.scope.hashes.size === 0) scopes.delete(scope.id);
      if (entry.expiresAt <= clock.monotonic()) counts.expirations += 1;
      else if (reason === "evict") counts.evictions += 1;
    },
  });

  function statsOf({ tenant, kind }: { tenant: string; kind: CacheKind }): KindStats {
    let kinds = stats.get(tenant);
    if (kinds === undefined) stats.set(tenant, (kinds = new Map()));
    let counts = kinds.get(kind);
    if (counts === undefined) kinds.set(kind, (counts = emptyStats()));
    return counts;
  }

  function stateOf(scope: EntryScope): ScopeState {
    let state = scopes.get(scope.id);
    if (state === undefined) scopes.set(scope.id, (state = { scope, hashes: new Set() }));
    return state;
  }

  function lookUp(scope: EntryScope, hash: string, leaseMs: number | undefined): StoreLookup {
    const key = scope.id + hash;
    const now = clock.monotonic();
    const entry = entries.get(key);
    if (entry !== undefined && entry.expiresAt > now) {
      return { state: "hit", value: entry.value, ttlMs: entry.expiresAt - now };
    }
    if (entry !== undefined) entries.delete(key);
    if (leaseMs === undefined) return { state: "miss" };
    const lease = leases.get(key);
    if (lease !== undefined && lease.endsAt > now) return { state: "filling" };
    const token = randomUUID();
    leases.set(key, { scope, token, endsAt: now + leaseMs });
    return { state: "leased", token };
  }

  /** The lease, if it lasts and is held by `token`. */
  function heldLease(key: string, token: string): Lease | undefined {
    const lease = leases.get(key);
    return lease !== undefined && lease.token === token && lease.endsAt > clock.monotonic() ? lease : undefined;
  }

  function store(scope: EntryScope, item: PutEntry, replaced: Uint8Array[]): PutOutcome {
    const hash = hashKey(item.hash);
    const key = scope.id + hash;
    if (item.leaseToken !== undefined && heldLease(key, item.leaseToken) === undefined) return "lease_lost";
    leases.delete(key);
    const older = entries.peek(key);
    if (older !== undefined && Buffer.compare(older.value.bytes, item.value.bytes) !== 0) replaced.push(item.hash);
    // A copy: the bytes are a part of the request's, which would live on with them.
    const value = { bytes: item.value.bytes.slice(), deflated: item.value.deflated };
    const state = stateOf(scope);
    const entry: Entry = { scope: state, hash, value, expiresAt: clock.monotonic() + item.ttlMs };
    if (sizeOf(entry) > maxBytes) {
      entries.delete(key);
      if (state.hashes.size === 0) scopes.delete(scope.id);
      return "no_room";
    }
    state.hashes.add(hash);
    const counts = statsOf(scope);
    counts.entries += 1;
    counts.bytes += sizeOf(entry);
    entries.set(key, entry);
    expiry.add(key, entry.expiresAt);
    return "stored";
  }

  async function sweep(): Promise<void> {
    const now = clock.monotonic();
    for (const key of expiry.takeExpired(now)) entries.delete(key);
    for (const [key, lease] of leases) if (lease.endsAt <= now) leases.delete(key);
  }

  return {
    async get(groups: readonly GetGroup[]) {
      return groups.map(({ scope, hashes, leaseMs }) => hashes.map((hash) => lookUp(scope, hashKey(hash), leaseMs)));
    },
    async put(groups: readonly PutGroup[]) {
      return groups.map(({ scope, items }) => {
        const replaced: Uint8Array[] = [];
        const outcomes = items.map((item) => store(scope, item, replaced));
        if (replaced.length > 0) feed.tell(scope.tenant, { kind: "replaced", scope, hashes: replaced });
        return outcomes;
      });
    },
    async extendLease(scope, hash, token, leaseMs) {
      const lease = heldLease(scope.id + hashKey(hash), token);
      if (lease === undefined) return false;
      lease.endsAt = clock.monotonic() + leaseMs;
      return true;
    },
    async releaseLease(scope, hash, token) {
      const key = scope.id + hashKey(hash);
      if (leases.get(key)?.token === token) leases.delete(key);
    },
    async remove(tenant: string, selector: CacheSelector) {
      await sweep();
      const named = ({ scope }: { scope: EntryScope }) => scope.tenant === tenant && selects(selector, scope.kind, scope.parts);
      for (const [key, lease] of leases) if (named(lease)) leases.delete(key);
      let removed = 0;
      for (const state of [...scopes.values()].filter(named)) {
        removed += state.hashes.size;
        for (const hash of [...state.hashes]) entries.delete(state.scope.id + hash);
      }
      questions.forget((scope) => named({ scope }));
      feed.tell(tenant, { kind: "removed", selector });
      return removed;
    },
    count(tenant: string, kind: CacheKind, counts: Partial<UsageCounts>) {
      const all = statsOf({ tenant, kind });
      for (const name of ["hits", "misses", "localHits", "similarHits"] as const) all[name] += counts[name] ?? 0;
    },
    async stats(tenant: string) {
      await sweep();
      return new Map([...(stats.get(tenant) ?? [])].map(([kind, counts]) => [kind, { ...counts }]));
    },
    async watch(tenant: string, listener: ChangeListener) {
      return feed.add(tenant, listener);
    },
    questions,
    sweep,
    async ping() {},
    async close() {
      feed.lose();
      entries.clear();
    },
  };
}

function sizeOf(entry: Entry): number {
  return entry.value.bytes.length + ENTRY_OVERHEAD_BYTES;
}

function hashKey(hash: Uint8Array): string {
  return toBuffer(hash).toString("latin1");
}

