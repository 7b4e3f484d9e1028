import { randomUUID } from "node:crypto";
import type { CacheKind, CacheSelector } from "../../gen/ragents/cache/v1/cache_pb.js";
import { toBuffer } from "../../runtime/grpc-metadata.js";
import type { Clock } from "../../runtime/clock.js";
import type { Logger } from "../../runtime/logger.js";
import { openRedis, type RedisClient } from "../../runtime/redis.js";
import { selects } from "./entry-scope.js";
import { ChangeChannel } from "./redis/change-channel.js";
import { type DecodedEntry, decodeEntry, encodeHead, GENERATION_CHARS } from "./redis/entry-codec.js";
import { Housekeeping } from "./redis/housekeeping.js";
import { hashName, shardCount, shardKeys, type ShardKeys } from "./redis/keys.js";
import { RedisQuestionLog } from "./redis/question-log.js";
import { freshGeneration, scopeRecord } from "./redis/registry.js";
import { type CacheScripts, defineScripts } from "./redis/scripts.js";
import { UsageCounter } from "./redis/usage-counter.js";
import { emptyStats } from "./stats.js";
import type {
  CacheStore,
  ChangeListener,
  EntryScope,
  GetGroup,
  KindStats,
  PutGroup,
  PutOutcome,
  StoreLookup,
  UsageCounts,
} from "./store.js";

export interface RedisStoreOptions {
  /** redis://, rediss://, redis+cluster:// or rediss+cluster:// */
  url: string;
  clock: Clock;
  logger: Logger;
  /** How long Redis may take for a command, in milliseconds. Default 1,000. */
  commandTimeoutMs?: number;
}

/** How long the store waits for its first connection before it starts without one. */
const CONNECT_PATIENCE_MS = 2_000;

/**
 * Opens the cache that Redis keeps for all replicas. Resolves also while Redis cannot be reached: what is asked of it
 * rejects until it can. redis/keys.ts says what is where.
 */
export async function openRedisStore(options: RedisStoreOptions): Promise<CacheStore> {
  const { clock, logger } = options;
  const connection = openRedis(options.url, {
    logger,
    name: "ragents-cache",
    commandTimeoutMs: options.commandTimeoutMs ?? 1_000,
    // A caller waits 50 ms: commands for a Redis that is away must fail, not queue.
    waitForConnection: false,
  });
  await untilConnected(connection, clock);
  await adviseOnEviction(connection, logger);
  return new RedisStore(connection, clock, logger);
}

/** The items of one group of a request that are in one shard. */
interface Part<G> {
  /** The group's place in the request. */
  readonly at: number;
  readonly group: G;
  /** Places in the group. */
  readonly items: number[];
}

const MISS: StoreLookup = { state: "miss" };

class RedisStore implements CacheStore {
  readonly #client: RedisClient & CacheScripts;
  readonly #clock: Clock;
  readonly #shards: readonly ShardKeys[];
  readonly #channel: ChangeChannel;
  readonly #usage: UsageCounter;
  readonly #housekeeping: Housekeeping;
  readonly questions: RedisQuestionLog;

  constructor(connection: RedisClient, clock: Clock, logger: Logger) {
    this.#client = Object.assign(connection, defineScripts(connection));
    this.#clock = clock;
    this.#shards = Array.from({ length: shardCount(connection) }, (_, shard) => shardKeys(shard));
    this.#channel = new ChangeChannel({ client: this.#client, clock, logger });
    this.#usage = new UsageCounter(connection, this.#shards[0]!, logger);
    this.#housekeeping = new Housekeeping(this.#client, this.#shards);
    this.questions = new RedisQuestionLog(connection, (scopeId) => this.#shardOf(Buffer.from(scopeId)));
  }

  async get(groups: readonly GetGroup[]): Promise<StoreLookup[][]> {
    const found: StoreLookup[][] = groups.map(({ hashes }) => new Array(hashes.length).fill(MISS));
    const work: Promise<void>[] = [];
    for (const [keys, parts] of this.#byShard(groups, ({ hashes }) => hashes)) {
      const plain = parts.filter(({ group }) => group.leaseMs === undefined);
      if (plain.length > 0) work.push(this.#getPlain(keys, plain, found));
      for (const part of parts) {
        if (part.group.leaseMs !== undefined) work.push(this.#getOrLease(keys, part, part.group.leaseMs, found[part.at]!));
      }
    }
    await Promise.all(work);
    return found;
  }

  /** Reads entries of one shard, of any scopes, in one round trip. */
  async #getPlain(keys: ShardKeys, parts: Part<GetGroup>[], found: StoreLookup[][]): Promise<void> {
    const entryKeys: string[] = [];
    const pipeline = this.#client.pipeline();
    for (const { group, items } of parts) {
      const prefix = keys.entryPrefix(group.scope.id);
      for (const item of items) entryKeys.push(prefix + hashName(group.hashes[item]!));
    }
    pipeline.mgetBuffer(...entryKeys);
    for (const { group } of parts) pipeline.hgetBuffer(keys.registry(group.scope.tenant), group.scope.id);
    const [entries, ...records] = (await execute(pipeline)) as [(Buffer | null)[], ...(Buffer | null)[]];
    const damaged: Promise<unknown>[] = [];
    let at = 0;
    for (const [i, { at: index, group, items }] of parts.entries()) {
      for (const item of items) {
        const bytes = entries[at++];
        if (bytes == null) continue;
        const entry = decodeEntry(bytes);
        if (entry === undefined) damaged.push(this.#discard(keys, group.scope, group.hashes[item]!));
        else if (sameGeneration(bytes, records[i])) found[index]![item] = this.#toHit(entry);
      }
    }
    await Promise.all(damaged);
  }

  /** Reads entries of one scope in one shard, and takes leases on those that are missing. */
  async #getOrLease(keys: ShardKeys, { group, items }: Pick<Part<GetGroup>, "group" | "items">, leaseMs: number, found: StoreLookup[]): Promise<void> {
    const { scope, hashes } = group;
    const tokens = items.map(() => randomUUID());
    const names = items.map((item) => hashName(hashes[item]!));
    const replies = await this.#client.cacheGetOrLeaseBuffer(
      2 + 2 * items.length,
      ...[keys.registry(scope.tenant), keys.tenants],
      ...names.flatMap((name) => [keys.entry(scope.id, name), keys.lease(scope.id, name)]),
      ...[scope.id, freshGeneration(), scopeRecord(scope, this.#clock.now()), scope.tenant, leaseMs, ...tokens],
    );
    const damaged: number[] = [];
    items.forEach((item, i) => {
      const reply = replies[i];
      const entry = typeof reply === "object" ? decodeEntry(reply) : undefined;
      if (entry !== undefined) found[item] = this.#toHit(entry);
      else if (reply === 2) found[item] = { state: "leased", token: tokens[i]! };
      else if (reply === 1) found[item] = { state: "filling" };
      else if (reply !== 0) damaged.push(item);
    });
    if (damaged.length === 0) return;
    await Promise.all(damaged.map((item) => this.#discard(keys, scope, hashes[item]!)));
    // What could not be read is gone: now it is missing like any other.
    await this.#getOrLease(keys, { group, items: damaged }, leaseMs, found);
  }

  #toHit({ value, expiresAt }: DecodedEntry): StoreLookup {
    return { state: "hit", value, ttlMs: Math.max(0, expiresAt - this.#clock.now()) };
  }

  /** Forgets an entry that is not as it was written. */
  async #discard(keys: ShardKeys, scope: EntryScope, hash: Uint8Array): Promise<void> {
    const name = hashName(hash);
    await this.#client.cacheDiscard(2, keys.entry(scope.id, name), keys.index(scope.id), name);
  }

  async put(groups: readonly PutGroup[]): Promise<PutOutcome[][]> {
    const outcomes: PutOutcome[][] = groups.map(() => []);
    const work: Promise<void>[] = [];
    for (const [keys, parts] of this.#byShard(groups, ({ items }) => items.map(({ hash }) => hash))) {
      for (const { at, group, items } of parts) work.push(this.#putSome(keys, group, items, outcomes[at]!));
    }
    await Promise.all(work);
    return outcomes;
  }

  /** Puts entries of one scope in one shard. */
  async #putSome(keys: ShardKeys, { scope, items: all }: PutGroup, items: number[], outcomes: PutOutcome[]): Promise<void> {
    const now = this.#clock.now();
    const names = items.map((item) => hashName(all[item]!.hash));
    const states = await this.#client.cachePut(
      4 + 2 * items.length,
      ...[keys.registry(scope.tenant), keys.index(scope.id), keys.counters(scope.tenant), keys.tenants],
      ...names.flatMap((name) => [keys.entry(scope.id, name), keys.lease(scope.id, name)]),
      ...[scope.id, scope.kind, freshGeneration(), scopeRecord(scope, now), scope.tenant],
      ...items.flatMap((item, i) => {
        const { value, ttlMs, leaseToken } = all[item]!;
        return [encodeHead(value, now + ttlMs), toBuffer(value.bytes), ttlMs, leaseToken ?? "", names[i]!];
      }),
    );
    const replaced: Uint8Array[] = [];
    for (const [i, item] of items.entries()) {
      outcomes[item] = states[i] === 2 ? "lease_lost" : states[i] === 3 ? "no_room" : "stored";
      if (states[i] === 1) replaced.push(all[item]!.hash);
    }
    if (replaced.length > 0) await this.#channel.publish(scope.tenant, { kind: "replaced", scope, hashes: replaced });
  }

  async extendLease(scope: EntryScope, hash: Uint8Array, token: string, leaseMs: number): Promise<boolean> {
    const keys = this.#shardOf(hash);
    const lease = keys.lease(scope.id, hashName(hash));
    return (await this.#client.cacheKeepLease(2, keys.registry(scope.tenant), lease, scope.id, token, leaseMs)) === 1;
  }

  async releaseLease(scope: EntryScope, hash: Uint8Array, token: string): Promise<void> {
    await this.extendLease(scope, hash, token, 0);
  }

  async remove(tenant: string, selector: CacheSelector): Promise<number> {
    const removals = await Promise.all(this.#shards.map((keys) => this.#removeScopes(keys, tenant, selector)));
    // Told as soon as nothing of it can be found; the entries' room comes free after that.
    await this.#channel.publish(tenant, { kind: "removed", selector });
    await this.questions.forget([...new Set(removals.flatMap(({ scopes }) => scopes.map(({ id }) => id)))]);
    let removed = 0;
    for (const { keys, scopes } of removals) {
      for (const { id, generation } of scopes) removed += await this.#housekeeping.drain(keys, id, generation);
    }
    return removed;
  }

  async #removeScopes(keys: ShardKeys, tenant: string, selector: CacheSelector) {
    const all = await this.#housekeeping.scopes(keys, tenant);
    const scopes = all.filter(({ kind, parts }) => selects(selector, kind, parts));
    if (scopes.length > 0) {
      await this.#client.cacheRemove(
        2 + 2 * scopes.length,
        ...[keys.registry(tenant), keys.trash],
        ...scopes.flatMap(({ id, generation }) => [keys.index(id), keys.removed(id, generation)]),
        ...scopes.flatMap(({ id, generation }) => [id, generation]),
      );
    }
    return { keys, scopes };
  }

  count(tenant: string, kind: CacheKind, counts: Partial<UsageCounts>): void {
    this.#usage.add(tenant, kind, counts);
  }

  async stats(tenant: string): Promise<Map<CacheKind, KindStats>> {
    await this.#usage.flush();
    const holdings = await this.#housekeeping.survey(tenant);
    const stats = new Map<CacheKind, KindStats>();
    const of = (kind: CacheKind) => {
      let counts = stats.get(kind);
      if (counts === undefined) stats.set(kind, (counts = emptyStats()));
      return counts;
    };
    for (const [kind, held] of holdings) Object.assign(of(kind), held);
    const counters = await Promise.all(this.#shards.map((keys) => this.#client.hgetall(keys.counters(tenant))));
    for (const fields of counters) {
      for (const [field, count] of Object.entries(fields)) {
        const [kind, name] = field.split(":") as [string, keyof KindStats];
        of(Number(kind) as CacheKind)[name] += Number(count);
      }
    }
    return stats;
  }

  watch(tenant: string, listener: ChangeListener): Promise<() => void> {
    return this.#channel.watch(tenant, listener);
  }

  sweep(): Promise<void> {
    return this.#housekeeping.sweep();
  }

  async ping(): Promise<void> {
    await this.#client.ping();
  }

  async close(): Promise<void> {
    await this.#usage.flush();
    await this.#channel.close();
    this.#client.disconnect();
  }

  #shardOf(hash: Uint8Array): ShardKeys {
    return this.#shards[hash[0]! % this.#shards.length]!;
  }

  /** The items of each group by the shard that has them. */
  #byShard<G>(groups: readonly G[], hashesOf: (group: G) => readonly Uint8Array[]): Map<ShardKeys, Part<G>[]> {
    const shards = new Map<ShardKeys, Part<G>[]>();
    groups.forEach((group, at) => {
      hashesOf(group).forEach((hash, item) => {
        const keys = this.#shardOf(hash);
        let parts = shards.get(keys);
        if (parts === undefined) shards.set(keys, (parts = []));
        const latest = parts.at(-1);
        if (latest?.at === at) latest.items.push(item);
        else parts.push({ at, group, items: [item] });
      });
    });
    return shards;
  }
}

/** Whether an entry was put under the generation that its scope has now. */
function sameGeneration(entry: Buffer, record: Buffer | null | undefined): boolean {
  return record != null && entry.compare(record, 0, GENERATION_CHARS, 0, GENERATION_CHARS) === 0;
}

/** Runs a pipeline; rejects with the first command's error. */
async function execute(pipeline: ReturnType<RedisClient["pipeline"]>): Promise<unknown[]> {
  const results = await pipeline.exec();
  return (results ?? []).map(([error, value]) => {
    if (error !== null) throw error;
    return value;
  });
}

async function untilConnected(connection: RedisClient, clock: Clock): Promise<void> {
  const patience = new AbortController();
  const ready = new Promise<void>((resolve) => connection.once("ready", () => resolve()));
  await Promise.race([ready, clock.sleep(CONNECT_PATIENCE_MS, patience.signal).catch(() => {})]);
  patience.abort();
}

/** Under "allkeys" Redis may evict a registry, and with it all entries of its tenant. */
async function adviseOnEviction(connection: RedisClient, logger: Logger): Promise<void> {
  // Not every Redis lets its settings be read.
  const setting = await connection.config("GET", "maxmemory-policy").catch(() => []);
  const policy = String((setting as string[])[1] ?? "");
  if (policy.startsWith("allkeys")) logger.warn("cache_eviction_policy", { policy, better: "volatile-lru" });
}
