import { Cluster } from "ioredis";
import type { CacheKind } from "../../../gen/ragents/cache/v1/cache_pb.js";
import type { RedisClient } from "../../../runtime/redis.js";
import type { ShardKeys } from "./keys.js";
import { readRegistry, type RegisteredScope } from "./registry.js";
import type { CacheScripts } from "./scripts.js";

/** Scopes that one script looks at, so that none holds Redis for longer than a millisecond or so. */
const SCOPES_A_SCRIPT = 100;
/** Entries that one script deletes. */
const ENTRIES_A_SCRIPT = 500;
/** Scripts that one sweep may run to find evicted entries. */
const VERIFICATIONS_A_SWEEP = 200;
/** An empty scope older than this is forgotten, in seconds; a younger one may be about to be filled. */
const EMPTY_SCOPE_S = 3_600;
/** Only one replica sweeps at a time, in milliseconds. */
const SWEEP_LOCK_MS = 4_000;

/** What a tenant holds of one kind. */
export interface Holdings {
  entries: number;
  bytes: number;
}

/** Counting and clearing up after entries that expired, were evicted by Redis, or were removed with their scope. */
export class Housekeeping {
  readonly #client: RedisClient & CacheScripts;
  readonly #shards: readonly ShardKeys[];
  /** Indexes still to be compared with what Redis really holds. */
  #toVerify: { keys: ShardKeys; tenant: string; scope: RegisteredScope; cursor: string }[] = [];
  #evictedKeys = -1;

  constructor(client: RedisClient & CacheScripts, shards: readonly ShardKeys[]) {
    this.#client = client;
    this.#shards = shards;
  }

  /** The scopes of a tenant in one shard. */
  async scopes(keys: ShardKeys, tenant: string): Promise<RegisteredScope[]> {
    return readRegistry(await this.#client.hgetall(keys.registry(tenant)));
  }

  /** Counts the tenant's expired entries as such, and what is left by kind. */
  async survey(tenant: string): Promise<Map<CacheKind, Holdings>> {
    const holdings = new Map<CacheKind, Holdings>();
    await Promise.all(this.#shards.map((keys) => this.#surveyShard(keys, tenant, holdings)));
    return holdings;
  }

  async #surveyShard(keys: ShardKeys, tenant: string, holdings: Map<CacheKind, Holdings>): Promise<RegisteredScope[]> {
    const scopes = await this.scopes(keys, tenant);
    const oldestEmpty = Math.floor(Date.now() / 1000) - EMPTY_SCOPE_S;
    for (let start = 0; start < scopes.length; start += SCOPES_A_SCRIPT) {
      const some = scopes.slice(start, start + SCOPES_A_SCRIPT);
      const indexes = some.map(({ id }) => keys.index(id));
      const counts = await this.#client.cacheSurvey(
        2 + indexes.length,
        ...[keys.registry(tenant), keys.counters(tenant), ...indexes],
        ...[oldestEmpty, ...some.flatMap(({ id, kind }) => [id, kind])],
      );
      some.forEach(({ kind }, i) => {
        const held = holdings.get(kind) ?? { entries: 0, bytes: 0 };
        holdings.set(kind, { entries: held.entries + counts[2 * i]!, bytes: held.bytes + counts[2 * i + 1]! });
      });
    }
    return scopes;
  }

  /** Deletes the entries of scopes that were removed. Resolves to how many there were. */
  async drain(keys: ShardKeys, scopeId: string, generation: string): Promise<number> {
    const removed = keys.removed(scopeId, generation);
    let deleted = 0;
    for (let left = 1; left > 0; ) {
      const step = await this.#client.cacheDrain(2, removed, keys.trash, keys.entryPrefix(scopeId), generation, ENTRIES_A_SCRIPT);
      deleted += step[0];
      left = step[1];
    }
    return deleted;
  }

  /** One sweep over everything; does nothing while another replica is at it. */
  async sweep(): Promise<void> {
    const [first] = this.#shards;
    if ((await this.#client.set(`${first!.trash}:sweeper`, "1", "PX", SWEEP_LOCK_MS, "NX")) === null) return;
    const evictedKeys = await this.#countEvictedKeys();
    const verifyAll = evictedKeys !== this.#evictedKeys && this.#toVerify.length === 0;
    for (const keys of this.#shards) {
      // What a replica left that died while it removed a scope.
      for (const name of await this.#client.smembers(keys.trash)) {
        const [scopeId, generation] = name.split(":").slice(-2) as [string, string];
        await this.drain(keys, scopeId, generation);
      }
      for (const tenant of await this.#client.smembers(keys.tenants)) {
        const scopes = await this.#surveyShard(keys, tenant, new Map());
        if (verifyAll) this.#toVerify.push(...scopes.map((scope) => ({ keys, tenant, scope, cursor: "0" })));
      }
    }
    if (verifyAll) this.#evictedKeys = evictedKeys;
    await this.#verifySome();
  }

  /** Compares some of the indexes with what Redis holds: it does not say what it evicts. */
  async #verifySome(): Promise<void> {
    for (let i = 0; i < VERIFICATIONS_A_SWEEP && this.#toVerify.length > 0; i += 1) {
      const step = this.#toVerify[0]!;
      const { keys, tenant, scope } = step;
      const arguments_ = [keys.entryPrefix(scope.id), scope.kind, scope.generation, step.cursor];
      step.cursor = await this.#client.cacheVerify(2, keys.index(scope.id), keys.counters(tenant), ...arguments_);
      if (step.cursor === "0") this.#toVerify.shift();
    }
  }

  async #countEvictedKeys(): Promise<number> {
    const nodes = this.#client instanceof Cluster ? this.#client.nodes("master") : [this.#client];
    const infos = await Promise.all(nodes.map((node) => (node as Exclude<typeof node, Cluster>).info("stats")));
    return infos.reduce((sum, info) => sum + Number(/^evicted_keys:(\d+)/m.exec(info)?.[1] ?? 0), 0);
  }
}
