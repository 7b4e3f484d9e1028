import { LRUCache } from "lru-cache";
import type { CacheSelector } from "../../gen/ragents/cache/v1/cache_pb.js";
import { runDetached } from "../../runtime/call-context.js";
import type { Clock } from "../../runtime/clock.js";
import { toBuffer } from "../../runtime/grpc-metadata.js";
import { overriding } from "../../runtime/overriding.js";
import { selects } from "./entry-scope.js";
import type { CacheChange, CacheStore, EntryScope, GetGroup, PutGroup, PutOutcome, StoredValue, StoreLookup } from "./store.js";

export interface NearMemoryOptions {
  /** Bound of what is held, in bytes. */
  maxBytes: number;
  clock: Clock;
}

/** A value is asked for anew after so long: else the store would take what is in use for idle and evict it. */
const FRESH_MS = 10_000;
/** What an entry takes beside its value, measured roughly. */
const ENTRY_OVERHEAD_BYTES = 400;
const MAX_SCOPES = 10_000;
const MAX_TENANTS = 1_000;
const RETRY_MS = 1_000;

/** A scope of which values are held; forgotten as a whole by taking another in its place. */
interface HeldScope {
  readonly of: EntryScope;
  /** Moves whenever a value became stale: what was asked for before must not be held after. */
  version: number;
}

interface HeldValue {
  readonly scope: HeldScope;
  readonly value: StoredValue;
  /** On the monotonic clock, in milliseconds. */
  readonly freshUntil: number;
  readonly expiresAt: number;
}

/** Whether every change of a tenant's entries is heard. */
interface TenantWatch {
  live: boolean;
  end: () => void;
}

/**
 * The store, with what this replica found last held in its own memory, so that it is not fetched again. It is trusted
 * only while the store tells of every change; what other replicas change is gone as soon as they have told.
 */
export function withNearMemory(store: CacheStore, { maxBytes, clock }: NearMemoryOptions): CacheStore {
  const closing = new AbortController();
  const values = new LRUCache<string, HeldValue>({
    maxSize: maxBytes,
    sizeCalculation: ({ value }) => value.bytes.length + ENTRY_OVERHEAD_BYTES,
  });
  const scopes = new LRUCache<string, HeldScope>({ max: MAX_SCOPES });
  const watches = new LRUCache<string, TenantWatch>({
    max: MAX_TENANTS,
    dispose: (watch, tenant) => {
      watch.live = false;
      watch.end();
      forget(({ of }) => of.tenant === tenant);
    },
  });

  function forget(which: (scope: HeldScope) => boolean): void {
    for (const [id, scope] of scopes.entries()) if (which(scope)) scopes.delete(id);
  }

  function forgetSelected(tenant: string, selector: CacheSelector): void {
    forget(({ of }) => of.tenant === tenant && selects(selector, of.kind, of.parts));
  }

  function drop(of: EntryScope, hashes: readonly Uint8Array[]): void {
    const scope = scopes.get(of.id);
    if (scope === undefined) return;
    scope.version += 1;
    for (const hash of hashes) values.delete(keyOf(of, hash));
  }

  /** Listens until the tenant is forgotten, beginning anew when changes may have been missed. */
  async function listen(tenant: string, watch: TenantWatch): Promise<void> {
    while (!closing.signal.aborted && watches.peek(tenant) === watch) {
      const lost = await new Promise<boolean>((resolve) => {
        store
          .watch(tenant, { changed: (change) => hear(tenant, change), lost: () => resolve(true) })
          .then((unwatch) => {
            watch.live = true;
            watch.end = () => {
              unwatch();
              resolve(false);
            };
            if (watches.peek(tenant) !== watch) watch.end();
          })
          .catch(() => resolve(true));
      });
      watch.live = false;
      forget(({ of }) => of.tenant === tenant);
      if (lost) await clock.sleep(RETRY_MS, closing.signal).catch(() => {});
    }
  }

  function hear(tenant: string, change: CacheChange): void {
    if (change.kind === "removed") forgetSelected(tenant, change.selector);
    else drop(change.scope, change.hashes);
  }

  /** The scope, when its values may be held. */
  function heldScope(of: EntryScope): HeldScope | undefined {
    let watch = watches.get(of.tenant);
    if (watch === undefined) {
      const added = (watch = { live: false, end: () => {} });
      watches.set(of.tenant, watch);
      // It outlives the call that happened to be the tenant's first.
      runDetached(() => void listen(of.tenant, added));
    }
    if (!watch.live) return undefined;
    let scope = scopes.get(of.id);
    if (scope === undefined) scopes.set(of.id, (scope = { of, version: 0 }));
    return scope;
  }

  function held(scope: HeldScope, key: string, now: number): StoreLookup | undefined {
    const entry = values.get(key);
    if (entry === undefined || entry.scope !== scope || entry.freshUntil <= now) return undefined;
    return { state: "hit", value: entry.value, ttlMs: entry.expiresAt - now };
  }

  function hold(scope: HeldScope, version: number, key: string, found: StoreLookup): void {
    if (found.state !== "hit" || scope.version !== version || scopes.peek(scope.of.id) !== scope) return;
    const now = clock.monotonic();
    const { bytes, deflated } = found.value;
    // A copy: the value may be a part of a larger reply, which would live on with it.
    const value = { bytes: Uint8Array.from(bytes), deflated };
    values.set(key, { scope, value, freshUntil: now + Math.min(found.ttlMs, FRESH_MS), expiresAt: now + found.ttlMs });
  }

  async function get(groups: readonly GetGroup[]): Promise<StoreLookup[][]> {
    const now = clock.monotonic();
    const found: StoreLookup[][] = [];
    const missed: { group: GetGroup; at: number; items: number[]; scope: HeldScope | undefined; version: number }[] = [];
    for (const [at, group] of groups.entries()) {
      const scope = heldScope(group.scope);
      const items: number[] = [];
      found[at] = group.hashes.map((hash, item) => {
        const hit = scope && held(scope, keyOf(group.scope, hash), now);
        if (hit === undefined) items.push(item);
        return hit ?? { state: "miss" };
      });
      if (items.length > 0) missed.push({ group, at, items, scope, version: scope?.version ?? 0 });
    }
    if (missed.length === 0) return found;
    const fetched = await store.get(missed.map(({ group, items }) => part(group, items)));
    missed.forEach(({ group, at, items, scope, version }, i) => {
      items.forEach((item, j) => {
        const lookup = fetched[i]![j]!;
        found[at]![item] = lookup;
        if (scope !== undefined) hold(scope, version, keyOf(group.scope, group.hashes[item]!), lookup);
      });
    });
    return found;
  }

  async function put(groups: readonly PutGroup[]): Promise<PutOutcome[][]> {
    const dropAll = () => groups.forEach(({ scope, items }) => drop(scope, items.map(({ hash }) => hash)));
    dropAll();
    // Again after it: what was asked for meanwhile may have been the older value.
    return store.put(groups).finally(dropAll);
  }

  async function remove(tenant: string, selector: CacheSelector): Promise<number> {
    forgetSelected(tenant, selector);
    return store.remove(tenant, selector).finally(() => forgetSelected(tenant, selector));
  }

  async function close(): Promise<void> {
    closing.abort();
    watches.clear();
    await store.close();
  }

  return overriding(store, { get, put, remove, close });
}

function keyOf(scope: EntryScope, hash: Uint8Array): string {
  return scope.id + toBuffer(hash).toString("latin1");
}

/** The group with some of its items. */
function part(group: GetGroup, items: readonly number[]): GetGroup {
  const { hashes, texts } = group;
  if (items.length === hashes.length) return group;
  return {
    ...group,
    hashes: items.map((item) => hashes[item]!),
    ...(texts !== undefined && { texts: items.map((item) => texts[item] ?? "") }),
  };
}
