import type { RedisClient } from "../../../runtime/redis.js";
import { EPSILON } from "../bucket.js";
import { REDIS_TIME } from "../bucket-script.js";
import { fromRedis } from "../store-redis.js";
import { type BudgetLevel, type BudgetLimits, type BudgetStore, LATE_MS, SETTLED_MS } from "./store.js";

const PREFIX = "ragents:ratelimit:budget:";

interface Answer {
  state: string;
  refusedBy: string;
  waitMs: number;
  levels: [budget: string, reserved: number, ...spent: number[]][];
}

interface Request {
  op: "reserve" | "settle" | "look";
  id?: string;
  amounts?: Record<string, number>;
  ttlMs?: number;
}

/**
 * Budgets in Redis: a hash for each key with what its windows gave, what reservations hold, and the reservations, and a
 * sorted set of when they end. Redis' own persistence decides what a restart keeps of them.
 * @param timeSource Lua that sets `now`
 */
export function openRedisBudgets(client: RedisClient, timeSource = REDIS_TIME): BudgetStore {
  client.defineCommand("ragentsBudget", { numberOfKeys: 2, lua: budgetScript(timeSource) });
  const command = (client as unknown as { ragentsBudget(hash: string, ends: string, request: string): Promise<string> }).ragentsBudget.bind(client);

  async function run(key: string, limits: BudgetLimits, request: Request): Promise<Answer & { read: BudgetLevel[] }> {
    const budgets = [...limits].map(([name, { windows }]) => ({
      name,
      windows: windows.map((window) => [window.periodMs, window.limit, window.capacity]),
    }));
    const name = `${PREFIX}{${key}}`;
    const answer = JSON.parse(await fromRedis(command(name, `${name}:ends`, JSON.stringify({ ...request, budgets })))) as Answer;
    // An empty list is an empty object in Lua's JSON.
    const levels = Array.isArray(answer.levels) ? answer.levels : [];
    return { ...answer, read: levels.map(([budget, reserved, ...spent]) => ({ budget, reserved, spent })) };
  }

  return {
    async reserve(key, limits, id, amounts, ttlMs) {
      const held = Object.fromEntries([...amounts].filter(([budget]) => limits.has(budget)));
      const answer = await run(key, limits, { op: "reserve", id, amounts: held, ttlMs });
      return { refusedBy: answer.refusedBy || undefined, waitMs: answer.waitMs, levels: answer.read };
    },
    async settle(key, limits, id, used) {
      const answer = await run(key, limits, { op: "settle", id, amounts: Object.fromEntries(used) });
      return { state: answer.state as "settled", levels: answer.read };
    },
    async look(key, limits) {
      return (await run(key, limits, { op: "look" })).read;
    },
  };
}

/**
 * store-memory.ts as a script. Fields of the hash: "at"; "s:BUDGET:PERIOD", what a window gave; "r:BUDGET", what reservations
 * hold; "i:ID", a reservation as JSON.
 */
function budgetScript(timeSource: string): string {
  return `
local hash, ends = KEYS[1], KEYS[2]
local request = cjson.decode(ARGV[1])
${timeSource}
local at = tonumber(redis.call('HGET', hash, 'at') or now)
local elapsed = math.max(0, now - at)
now = math.max(now, at)

local function number(field) return tonumber(redis.call('HGET', hash, field) or 0) end
local function set(field, value) redis.call('HSET', hash, field, string.format('%.17g', value)) end
local function keep(id, reservation, till)
  redis.call('HSET', hash, 'i:' .. id, cjson.encode(reservation))
  redis.call('ZADD', ends, string.format('%.17g', till), id)
end
local function release(amounts)
  for budget, amount in pairs(amounts) do set('r:' .. budget, number('r:' .. budget) - amount) end
end

-- Where nothing changes nothing is written, so that looking leaves no key behind.
local changes = request.op ~= 'look'

local due = redis.call('ZRANGEBYSCORE', ends, '-inf', string.format('%.17g', now), 'LIMIT', 0, 1000)
for _, id in ipairs(due) do
  local reservation = cjson.decode(redis.call('HGET', hash, 'i:' .. id))
  if reservation.state == 'open' then
    release(reservation.amounts)
    keep(id, { state = 'expired' }, now + ${LATE_MS})
  else
    redis.call('HDEL', hash, 'i:' .. id)
    redis.call('ZREM', ends, id)
  end
end

local spent, reserved, longest = {}, {}, 0
for _, budget in ipairs(request.budgets) do
  reserved[budget.name] = number('r:' .. budget.name)
  for _, window in ipairs(budget.windows) do
    local field = 's:' .. budget.name .. ':' .. string.format('%.0f', window[1])
    spent[window] = math.max(0, number(field) - window[2] / window[1] * elapsed)
  end
end

local answer = { state = '', refusedBy = '', waitMs = 0 }

if request.op == 'reserve' and next(request.amounts) ~= nil and redis.call('HEXISTS', hash, 'i:' .. request.id) == 0 then
  for _, budget in ipairs(request.budgets) do
    local amount = request.amounts[budget.name]
    for _, window in ipairs(budget.windows) do
      local over = amount and spent[window] + reserved[budget.name] + amount - window[3] - ${EPSILON} or 0
      if over > 0 then
        if answer.refusedBy == '' then answer.refusedBy = budget.name end
        answer.waitMs = math.max(answer.waitMs, over * window[1] / window[2])
      end
    end
  end
  if answer.refusedBy == '' then
    for budget, amount in pairs(request.amounts) do
      reserved[budget] = reserved[budget] + amount
      set('r:' .. budget, reserved[budget])
    end
    keep(request.id, { state = 'open', amounts = request.amounts }, now + request.ttlMs)
  end
end

if request.op == 'settle' then
  local known = redis.call('HGET', hash, 'i:' .. request.id)
  local reservation = known and cjson.decode(known)
  answer.state = reservation and (reservation.state == 'expired' and 'expired' or 'settled') or 'unknown'
  if reservation and reservation.state ~= 'settled' then
    if reservation.state == 'open' then release(reservation.amounts) end
    for _, budget in ipairs(request.budgets) do
      reserved[budget.name] = number('r:' .. budget.name)
      for _, window in ipairs(budget.windows) do
        spent[window] = spent[window] + (request.amounts[budget.name] or 0)
      end
    end
    keep(request.id, { state = 'settled' }, now + ${SETTLED_MS})
  end
end

answer.levels = {}
for i, budget in ipairs(request.budgets) do
  local level = { budget.name, reserved[budget.name] }
  for _, window in ipairs(budget.windows) do
    level[#level + 1] = spent[window]
    longest = math.max(longest, spent[window] * window[1] / window[2])
    if changes then set('s:' .. budget.name .. ':' .. string.format('%.0f', window[1]), spent[window]) end
  end
  answer.levels[i] = level
end
if changes then
  set('at', now)
  local last = redis.call('ZREVRANGE', ends, 0, 0, 'WITHSCORES')
  local till = string.format('%.0f', math.max(1, longest, last[2] and tonumber(last[2]) - now + ${LATE_MS} or 0))
  redis.call('PEXPIRE', hash, till)
  redis.call('PEXPIRE', ends, till)
end
return cjson.encode(answer)
`;
}
