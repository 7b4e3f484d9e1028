import type { RedisClient } from "../../../runtime/redis.js";

/** Beginning of every script. Offsets are those of entry-codec.ts and registry.ts. */
const COMMON = `
-- An index member's score holds two numbers: the second of expiry, and the size in the lower 21 bits.
local SIZES = 2097152
local function score_of(expiry, size) return string.format('%.0f', expiry * SIZES + size) end
local function now() return tonumber(redis.call('TIME')[1]) end
local function entry_generation(entry) return string.sub(entry, 1, 11) end
local function generation_of(registry, scope)
  local known = redis.call('HGET', registry, scope)
  return known and string.sub(known, 1, 11)
end
-- Failing for want of memory is an answer here, not an error.
local function try(...)
  local reply = redis.pcall(...)
  return not (type(reply) == 'table' and reply.err)
end
-- The member '' of an index has minus the bytes of all others as its score: one key holds both or neither.
local function add_bytes(index, bytes) redis.call('ZINCRBY', index, string.format('%.0f', -bytes), '') end
local function unindex(index, hash, score)
  redis.call('ZREM', index, hash)
  add_bytes(index, -(score % SIZES))
end
-- An entry that is gone although it was indexed. Expiry is kept to the second only.
local function count_lost(counters, kind, score, at)
  local expired = math.floor(score / SIZES) <= at + 1
  redis.call('HINCRBY', counters, kind .. (expired and ':expirations' or ':evictions'), 1)
end
`;

const SCRIPTS = {
  // KEYS registry, index, counters, tenants, then entry and lease of each item.
  // ARGV scope, kind, fresh generation, the scope's record, tenant, then head, value, ttl in ms, lease token, hash.
  // For each item 0: stored, 1: stored in the place of another value, 2: lease lost, 3: no room.
  cachePut: `
    local registry, index, counters, tenants = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
    local scope, kind, fresh, record, tenant = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
    local at = now()
    local generation = generation_of(registry, scope)
    local outcomes = {}
    for i = 1, (#KEYS - 4) / 2 do
      local entry, lease = KEYS[3 + 2 * i], KEYS[4 + 2 * i]
      local a = 5 * i
      local head, value, ttl, token, hash = ARGV[a + 1], ARGV[a + 2], tonumber(ARGV[a + 3]), ARGV[a + 4], ARGV[a + 5]
      if token ~= '' and not (generation and redis.call('GET', lease) == generation .. token) then
        outcomes[i] = 2
      else
        if not generation and try('HSET', registry, scope, fresh .. record) then
          redis.call('SADD', tenants, tenant)
          generation = fresh
        end
        local old = redis.call('GET', entry)
        local known = tonumber(redis.call('ZSCORE', index, hash) or nil)
        local lives = old and generation and entry_generation(old) == generation
        if generation and try('SET', entry, generation .. head .. value, 'PX', ttl) then
          if known and not lives then count_lost(counters, kind, known, at) end
          local size = #entry + #head + #generation + #value
          redis.call('ZADD', index, score_of(math.ceil(at + ttl / 1000), size), hash)
          add_bytes(index, size - (known and known % SIZES or 0))
          redis.call('DEL', lease)
          outcomes[i] = lives and string.sub(old, 26) ~= value and 1 or 0
        else
          if lives then redis.call('UNLINK', entry) end
          if known then unindex(index, hash, known) end
          outcomes[i] = 3
        end
      end
    end
    return outcomes`,

  // KEYS registry, tenants, then entry and lease of each item.
  // ARGV scope, fresh generation, the scope's record, tenant, lease in ms, then a token for each item.
  // For each item its entry, or 0: missing, 1: being filled, 2: the lease is the caller's.
  cacheGetOrLease: `
    local registry, tenants = KEYS[1], KEYS[2]
    local scope, fresh, record, tenant, lease_ms = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
    local generation = generation_of(registry, scope)
    local found = {}
    for i = 1, (#KEYS - 2) / 2 do
      local entry = redis.call('GET', KEYS[1 + 2 * i])
      if entry and generation and entry_generation(entry) == generation then
        found[i] = entry
      else
        local lease = KEYS[2 + 2 * i]
        local held = redis.call('GET', lease)
        if held and generation and string.sub(held, 1, 11) == generation then
          found[i] = 1
        else
          if not generation and try('HSET', registry, scope, fresh .. record) then
            redis.call('SADD', tenants, tenant)
            generation = fresh
          end
          local leased = generation and try('SET', lease, generation .. ARGV[5 + i], 'PX', lease_ms)
          found[i] = leased and 2 or 0
        end
      end
    end
    return found`,

  // KEYS registry, lease. ARGV scope, token, lease in ms; 0 ms gives it back. 1 when the lease was held.
  cacheKeepLease: `
    local generation = generation_of(KEYS[1], ARGV[1])
    if not generation or redis.call('GET', KEYS[2]) ~= generation .. ARGV[2] then return 0 end
    return redis.call('PEXPIRE', KEYS[2], ARGV[3])`,

  // KEYS entry, index. ARGV hash. Forgets an entry that cannot be read.
  cacheDiscard: `
    redis.call('UNLINK', KEYS[1])
    local known = redis.call('ZSCORE', KEYS[2], ARGV[1])
    if known then unindex(KEYS[2], ARGV[1], tonumber(known)) end`,

  // KEYS registry, trash, then index and its place among the removed of each scope. ARGV scope and generation of each.
  // Ends the scopes, unless they have a newer generation already.
  cacheRemove: `
    for i = 1, #ARGV / 2 do
      local scope, generation = ARGV[2 * i - 1], ARGV[2 * i]
      local index, removed = KEYS[1 + 2 * i], KEYS[2 + 2 * i]
      if generation_of(KEYS[1], scope) == generation then
        redis.call('HDEL', KEYS[1], scope)
        if redis.call('EXISTS', index) == 1 then
          redis.call('RENAME', index, removed)
          redis.call('SADD', KEYS[2], removed)
        end
      end
    end`,

  // KEYS removed index, trash. ARGV prefix of the entries' keys, generation, limit.
  // Deletes entries of a removed scope. Returns how many, and 1 when some are left.
  cacheDrain: `
    local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[3])
    local deleted = 0
    for i = 1, #popped, 2 do
      local entry = ARGV[1] .. popped[i]
      if popped[i] ~= '' and redis.call('GETRANGE', entry, 0, 10) == ARGV[2] then
        deleted = deleted + redis.call('UNLINK', entry)
      end
    end
    local left = redis.call('EXISTS', KEYS[1])
    if left == 0 then redis.call('SREM', KEYS[2], KEYS[1]) end
    return { deleted, left }`,

  // KEYS registry, counters, then the index of each scope. ARGV oldest birth of an empty scope that is kept, then scope
  // and kind of each. Counts what has expired; returns entries and bytes of each scope.
  cacheSurvey: `
    local at = now()
    local counts = {}
    for i = 1, #KEYS - 2 do
      local index, scope, kind = KEYS[2 + i], ARGV[2 * i], ARGV[2 * i + 1]
      local expired = redis.call('ZRANGEBYSCORE', index, '(0', score_of(at, 0), 'WITHSCORES', 'LIMIT', 0, 1000)
      for e = 1, #expired, 2 do
        unindex(index, expired[e], tonumber(expired[e + 1]))
        redis.call('HINCRBY', KEYS[2], kind .. ':expirations', 1)
      end
      local entries = math.max(0, redis.call('ZCARD', index) - 1)
      local bytes = -tonumber(redis.call('ZSCORE', index, '') or 0)
      if entries == 0 then
        redis.call('DEL', index)
        local known = redis.call('HGET', KEYS[1], scope)
        if known and tonumber(string.sub(known, 13, 22)) < tonumber(ARGV[1]) then redis.call('HDEL', KEYS[1], scope) end
      end
      counts[2 * i - 1] = entries
      counts[2 * i] = entries == 0 and 0 or bytes
    end
    return counts`,

  // KEYS index, counters. ARGV prefix of the entries' keys, kind, generation, cursor.
  // Forgets entries that Redis evicted. Returns the next cursor.
  cacheVerify: `
    local at = now()
    local step = redis.call('ZSCAN', KEYS[1], ARGV[4], 'COUNT', 500)
    for i = 1, #step[2], 2 do
      local hash = step[2][i]
      if hash ~= '' and redis.call('GETRANGE', ARGV[1] .. hash, 0, 10) ~= ARGV[3] then
        local score = tonumber(step[2][i + 1])
        unindex(KEYS[1], hash, score)
        count_lost(KEYS[2], ARGV[2], score, at)
      end
    end
    return step[1]`,

  // KEYS any key of the slot whose node the subscribers are connected to. ARGV channel, message.
  cachePublish: "return redis.call('PUBLISH', ARGV[1], ARGV[2])",
} as const;

type Arg = string | number | Buffer | Uint8Array;
type Call<T> = (keyCount: number, ...keysThenArguments: Arg[]) => Promise<T>;

/** The scripts as commands; each takes the number of keys, the keys and the arguments. */
export interface CacheScripts {
  cachePut: Call<number[]>;
  cacheGetOrLeaseBuffer: Call<(Buffer | number)[]>;
  cacheKeepLease: Call<number>;
  cacheDiscard: Call<null>;
  cacheRemove: Call<null>;
  cacheDrain: Call<[deleted: number, left: number]>;
  cacheSurvey: Call<number[]>;
  cacheVerify: Call<string>;
  cachePublish: Call<number>;
}

/** Makes the scripts known to a client, which sends each once and then by its hash. */
export function defineScripts(client: RedisClient): CacheScripts {
  for (const [name, lua] of Object.entries(SCRIPTS)) client.defineCommand(name, { lua: COMMON + lua });
  return client as unknown as CacheScripts;
}
