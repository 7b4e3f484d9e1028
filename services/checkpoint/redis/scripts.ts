import { CREATED_BYTES } from "./records.js";

/**
 * What must happen at once happens in a script: all keys of a thread are in one
 * slot. "#!lua" makes Redis refuse a script before its first write when memory
 * is full.
 */
const HEAD = `#!lua
local t, index, checkpoints, writes, contents, ahead = unpack(KEYS)
`;

/**
 * Refuses a writer that another one has replaced, and empties an expired
 * thread. ARGV: now (ms), token.
 */
const ENTER = `
local now, token = tonumber(ARGV[1]), ARGV[2]
local f = redis.call('HMGET', t, 'e', 'lt', 'lo', 'le')
if f[1] and tonumber(f[1]) <= now then
  redis.call('UNLINK', index, checkpoints, writes, contents, ahead)
  redis.call('HDEL', t, 'c', 'u', 'e', 'n', 'b')
end
if token ~= '0' and token ~= (f[2] or '0') then return {'lost'} end
if token == '0' and f[3] and tonumber(f[4]) > now then return {'leased', f[4]} end
`;

/** ARGV: ..., from 3: expiry (ms since the epoch, or ''), time to live (ms). */
const LEAVE = `
redis.call('HSETNX', t, 'c', ARGV[1])
redis.call('HSET', t, 'u', math.max(tonumber(redis.call('HGET', t, 'u') or 0), now))
redis.call('HINCRBY', t, 'r', 1)
if ARGV[3] ~= '' then
  redis.call('HSET', t, 'e', ARGV[3])
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[4]) end
else
  redis.call('PERSIST', t)
end
`;

/** ARGV at \`at\`: how many contents, then hash and content of each. Leaves \`at\` behind them. */
const ADD_CONTENTS = `
local count = tonumber(ARGV[at])
at = at + 1
local bytes = 0
for _ = 1, count do
  if redis.call('HSETNX', contents, ARGV[at], ARGV[at + 1]) == 1 then bytes = bytes + #ARGV[at + 1] end
  at = at + 2
end
if bytes > 0 then redis.call('HINCRBY', t, 'b', bytes) end
`;

export interface Script {
  readonly name: string;
  readonly keys: number;
  readonly lua: string;
}

/** ARGV: now, token, expiry, ttl, required hashes, place or '', record, contents, then for each write: place, key, value, 1 to replace. */
export const PUT: Script = {
  name: "ragentsCheckpointPut",
  keys: 6,
  lua: `${HEAD}${ENTER}
local missing = {}
for p = 1, #ARGV[5], 16 do
  local hash = string.sub(ARGV[5], p, p + 15)
  if redis.call('HEXISTS', contents, hash) == 0 then missing[#missing + 1] = hash end
end
if #missing > 0 then return {'missing', table.concat(missing)} end
local at = 8
${ADD_CONTENTS}
-- The writes of a checkpoint are one value: fields with their lengths before them, key and write in turn.
local changed, places = {}, {}
while at < #ARGV do
  local place, key, value, replace = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  at = at + 4
  local list = changed[place]
  if not list then
    list = {order = {}, values = {}}
    local packed, p = redis.call('HGET', writes, place) or '', 1
    while p <= #packed do
      local k, v
      k, v, p = struct.unpack('>I4c0I4c0', packed, p)
      list.order[#list.order + 1] = k
      list.values[k] = v
    end
    changed[place] = list
    places[#places + 1] = place
  end
  if not list.values[key] then list.order[#list.order + 1] = key end
  if not list.values[key] or replace == '1' then list.values[key] = value end
end
for _, place in ipairs(places) do
  local list, packed = changed[place], {}
  for _, key in ipairs(list.order) do
    packed[#packed + 1] = struct.pack('>I4c0I4c0', #key, key, #list.values[key], list.values[key])
  end
  redis.call('HSET', writes, place, table.concat(packed))
end
if ARGV[6] ~= '' then
  local record = ARGV[7]
  local old = redis.call('HGET', checkpoints, ARGV[6])
  if old then
    record = string.sub(old, 1, ${CREATED_BYTES}) .. string.sub(record, ${CREATED_BYTES + 1})
  else
    redis.call('ZADD', index, 0, ARGV[6])
    redis.call('HINCRBY', t, 'n', 1)
  end
  redis.call('HSET', checkpoints, ARGV[6], record)
end
${LEAVE}
return {'ok', tonumber(redis.call('HGET', t, 'n') or 0)}
`,
};

/** ARGV: now, token, expiry, ttl, contents. */
export const PUT_CONTENTS: Script = {
  name: "ragentsCheckpointPutContents",
  keys: 6,
  lua: `${HEAD}${ENTER}
local at = 5
for i = 6, #ARGV, 2 do redis.call('ZADD', ahead, now, ARGV[i]) end
${ADD_CONTENTS}
${LEAVE}
return {'ok', tonumber(redis.call('HGET', t, 'n') or 0)}
`,
};

/** ARGV: now, least place, place above all, place or '', expiry or '', ttl, refresh when it expires before. Answers place, record, writes, 1 when refreshed. */
export const GET: Script = {
  name: "ragentsCheckpointGet",
  keys: 6,
  lua: `${HEAD}
local e = redis.call('HGET', t, 'e')
if e and tonumber(e) <= tonumber(ARGV[1]) then return {} end
local place = ARGV[4]
if place == '' then place = redis.call('ZREVRANGEBYLEX', index, ARGV[3], ARGV[2], 'LIMIT', 0, 1)[1] end
local record = place and redis.call('HGET', checkpoints, place)
local refreshed = 0
if ARGV[5] ~= '' and redis.call('EXISTS', t) == 1 and (not e or tonumber(e) < tonumber(ARGV[7])) then
  redis.call('HSET', t, 'e', ARGV[5])
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[6]) end
  refreshed = 1
end
if not record then return {false, false, false, refreshed} end
return {place, record, redis.call('HGET', writes, place), refreshed}
`,
};

/** Deletes checkpoints unless the thread has changed. ARGV: revision, then places. Answers what is left, or -1. */
export const DELETE_CHECKPOINTS: Script = {
  name: "ragentsCheckpointDelete",
  keys: 6,
  lua: `${HEAD}
if (redis.call('HGET', t, 'r') or '') ~= ARGV[1] then return -1 end
for i = 2, #ARGV do
  redis.call('HDEL', checkpoints, ARGV[i])
  redis.call('HDEL', writes, ARGV[i])
  redis.call('ZREM', index, ARGV[i])
end
redis.call('HINCRBY', t, 'r', 1)
return redis.call('HINCRBY', t, 'n', 1 - #ARGV)
`,
};

/** Deletes contents unless the thread has changed. ARGV: revision, then hashes. Answers how many, or -1. */
export const SWEEP: Script = {
  name: "ragentsCheckpointSweep",
  keys: 6,
  lua: `${HEAD}
if (redis.call('HGET', t, 'r') or '') ~= ARGV[1] then return -1 end
local deleted, bytes = 0, 0
for i = 2, #ARGV do
  bytes = bytes + redis.call('HSTRLEN', contents, ARGV[i])
  deleted = deleted + redis.call('HDEL', contents, ARGV[i])
  redis.call('ZREM', ahead, ARGV[i])
end
redis.call('HINCRBY', t, 'b', -bytes)
return deleted
`,
};

/** Deletes a thread; only an expired one when ARGV[1] is the time (ms). Answers 1 when it is gone. */
export const ERASE: Script = {
  name: "ragentsCheckpointErase",
  keys: 6,
  lua: `${HEAD}
local e = redis.call('HGET', t, 'e')
if ARGV[1] ~= '' and redis.call('EXISTS', t) == 1 and (not e or tonumber(e) > tonumber(ARGV[1])) then return 0 end
redis.call('UNLINK', unpack(KEYS))
return 1
`,
};

/** Everything of a thread, to be restored under another name. ARGV: now. Answers n, b, then the dumps; nothing when there is no thread. */
export const DUMP: Script = {
  name: "ragentsCheckpointDump",
  keys: 6,
  lua: `${HEAD}
local f = redis.call('HMGET', t, 'n', 'b', 'e')
if not f[1] or f[1] == '0' or (f[3] and tonumber(f[3]) <= tonumber(ARGV[1])) then return {} end
local answer = {f[1], f[2] or '0'}
for i = 2, #KEYS do answer[#answer + 1] = redis.call('DUMP', KEYS[i]) end
return answer
`,
};

/** ARGV: now, expiry or '', ttl, n, b, then the dumps ('' for none). Answers 0 when the thread exists. */
export const RESTORE: Script = {
  name: "ragentsCheckpointRestore",
  keys: 6,
  lua: `${HEAD}
local f = redis.call('HMGET', t, 'n', 'e')
if f[1] and f[1] ~= '0' and not (f[2] and tonumber(f[2]) <= tonumber(ARGV[1])) then return 0 end
redis.call('UNLINK', index, checkpoints, writes, contents, ahead)
for i = 2, #KEYS do
  if ARGV[4 + i] ~= '' then redis.call('RESTORE', KEYS[i], 0, ARGV[4 + i]) end
end
redis.call('HSET', t, 'c', ARGV[1], 'u', ARGV[1], 'n', ARGV[4], 'b', ARGV[5])
redis.call('HDEL', t, 'e')
redis.call('HINCRBY', t, 'r', 1)
redis.call('PERSIST', t)
if ARGV[2] ~= '' then
  redis.call('HSET', t, 'e', ARGV[2])
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[3]) end
end
return 1
`,
};

/** A token larger than all before it, also of a thread that was deleted since: the time in microseconds. */
const NEW_TOKEN = `
local function new_token(last)
  local time = redis.call('TIME')
  return string.format('%.0f', math.max(tonumber(last or 0) + 1, tonumber(time[1]) * 1000000 + tonumber(time[2])))
end
`;

/** What is left of a thread that only ever had a lease is forgotten a day after it. */
const LEASE_ONLY_MS = 86_400_000;

/** ARGV: now, owner, expiry (ms), 1 to take it over. Answers 1 when granted, else 0; then owner, token, expiry. */
export const ACQUIRE: Script = {
  name: "ragentsCheckpointAcquire",
  keys: 6,
  lua: `${HEAD}${NEW_TOKEN}
local f = redis.call('HMGET', t, 'lo', 'lt', 'le', 'n')
if f[1] and f[1] ~= ARGV[2] and tonumber(f[3]) > tonumber(ARGV[1]) and ARGV[4] ~= '1' then return {0, f[1], f[2], f[3]} end
local token = new_token(f[2])
redis.call('HSET', t, 'lo', ARGV[2], 'lt', token, 'le', ARGV[3])
if not f[4] then redis.call('PEXPIRE', t, tonumber(ARGV[3]) - tonumber(ARGV[1]) + ${LEASE_ONLY_MS}) end
return {1, ARGV[2], token, ARGV[3]}
`,
};

/** ARGV: token, expiry (ms). Answers the owner, or nothing. */
export const RENEW: Script = {
  name: "ragentsCheckpointRenew",
  keys: 6,
  lua: `${HEAD}
local f = redis.call('HMGET', t, 'lt', 'lo')
if f[1] ~= ARGV[1] or not f[2] then return false end
redis.call('HSET', t, 'le', ARGV[2])
return f[2]
`,
};

/** ARGV: token. The token is used up: puts of the old holder that are still on their way come too late. */
export const RELEASE: Script = {
  name: "ragentsCheckpointRelease",
  keys: 6,
  lua: `${HEAD}${NEW_TOKEN}
if redis.call('HGET', t, 'lt') ~= ARGV[1] then return 0 end
redis.call('HDEL', t, 'lo', 'le')
redis.call('HSET', t, 'lt', new_token(ARGV[1]))
return 1
`,
};

/** ARGV: owner, until, now (ms). */
export const TAKE_TURN: Script = {
  name: "ragentsCheckpointTakeTurn",
  keys: 1,
  lua: `#!lua
local f = redis.call('HMGET', KEYS[1], 'owner', 'until')
if f[1] and f[1] ~= ARGV[1] and tonumber(f[2]) > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'until', ARGV[2])
return 1
`,
};

export const SCRIPTS: readonly Script[] = [
  PUT,
  PUT_CONTENTS,
  GET,
  DELETE_CHECKPOINTS,
  SWEEP,
  ERASE,
  DUMP,
  RESTORE,
  ACQUIRE,
  RENEW,
  RELEASE,
  TAKE_TURN,
];
