import { Cluster } from "ioredis";
import type { RedisClient } from "../../../runtime/redis.js";

/**
 * Where things are in Redis. Every key carries a shard's hash tag, so that what one script or MGET touches is in one
 * slot of a cluster; a single Redis has one shard, a cluster spreads 64 over its nodes.
 *
 *   rc:{S}:r:TENANT        hash    scope id -> generation, kind, time of birth, parts: the scopes that exist
 *   rc:{S}:e:SCOPE HASH    string  an entry, see entry-codec.ts; carries the generation under which it was put
 *   rc:{S}:l:SCOPE HASH    string  a fill lease: generation and token
 *   rc:{S}:x:SCOPE         zset    text hash -> expiry and size of each entry of the scope, for counting and removal
 *   rc:{S}:t:SCOPE:GEN     zset    such an index after its scope was removed; the entries are being deleted
 *   rc:{S}:trash           set     the names of those
 *   rc:{S}:q:SCOPE         stream  the latest texts of the scope, where similar answers are on
 *   rc:{S}:s:TENANT        hash    counters
 *   rc:{S}:tenants         set     the tenants that have scopes
 *
 * An entry counts only while its generation is its scope's. So a scope is removed by deleting one field, at once and for
 * all replicas; and if Redis evicts any of these keys, entries are lost, never served after their removal.
 */
export interface ShardKeys {
  readonly shard: number;
  registry(tenant: string): string;
  entry(scopeId: string, hash: string): string;
  /** What the hash is appended to. */
  entryPrefix(scopeId: string): string;
  lease(scopeId: string, hash: string): string;
  index(scopeId: string): string;
  removed(scopeId: string, generation: string): string;
  questions(scopeId: string): string;
  trash: string;
  counters(tenant: string): string;
  tenants: string;
}

const CLUSTER_SHARDS = 64;

/** How many shards this Redis has. */
export function shardCount(client: RedisClient): number {
  return client instanceof Cluster ? CLUSTER_SHARDS : 1;
}

export function shardKeys(shard: number): ShardKeys {
  const prefix = `rc:{${shard}}:`;
  return {
    shard,
    registry: (tenant) => `${prefix}r:${tenant}`,
    entry: (scopeId, hash) => `${prefix}e:${scopeId}${hash}`,
    entryPrefix: (scopeId) => `${prefix}e:${scopeId}`,
    lease: (scopeId, hash) => `${prefix}l:${scopeId}${hash}`,
    index: (scopeId) => `${prefix}x:${scopeId}`,
    removed: (scopeId, generation) => `${prefix}t:${scopeId}:${generation}`,
    questions: (scopeId) => `${prefix}q:${scopeId}`,
    trash: `${prefix}trash`,
    counters: (tenant) => `${prefix}s:${tenant}`,
    tenants: `${prefix}tenants`,
  };
}

/** The first 128 bits of a text's hash, as they stand in keys. */
export function hashName(hash: Uint8Array): string {
  return Buffer.from(hash.buffer, hash.byteOffset, 16).toString("base64url");
}
