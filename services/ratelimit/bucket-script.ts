import { CLOCK_STEP_MS, EPSILON, LEASE_MS, MAX_LEASES, MAX_TICKETS, TICKET_MS } from "./bucket.js";

/** Lua that sets `now`: the milliseconds of Redis' own clock, which all replicas share. */
export const REDIS_TIME = `local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000`;

/**
 * `decide` of bucket.ts, as a script that runs inside Redis; bucket-script.int.test.ts holds the two against each other. It
 * takes many operations at once: starting a script costs more than deciding.
 *
 * KEYS: the marker of the process, then the buckets. ARGV, four for each: the operation's kind, whether the limit is "open" or
 * "closed" after a loss, its windows (period, limit, capacity as doubles), and the operation's arguments. Numbers travel as
 * little-endian doubles: as text they would lose digits. Answers one string for each: verdict, waitMs, granted and the levels
 * as doubles.
 *
 * The marker says which Redis process has held the buckets, and since when: every new one (a restart, a replica that was
 * promoted) may lack what the last one had decided. The script that meets a new one first writes down when.
 *
 * The value is one string: version (1 byte), at (double), windows (count byte; period and level), leases (16-bit count;
 * holder of 8 bytes, amount, end) and tickets (16-bit count; id of 8 bytes, priority byte, cost, last seen). A bucket with two
 * windows that nobody leases or waits for has 46 bytes. It expires when everything has drained.
 *
 * @param timeSource Lua that sets the local variable `now`
 */
export function bucketScript(timeSource: string): string {
  return `
local EPSILON, LEASE_MS, TICKET_MS = ${EPSILON}, ${LEASE_MS}, ${TICKET_MS}
local max, min = math.max, math.min
local pack, unpack = struct.pack, struct.unpack
${timeSource}

local function processSince()
  local process = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local seen, since = string.match(redis.call('GET', KEYS[1]) or '', '^(%x+) (%d+)$')
  if seen == process then return tonumber(since) end
  since = math.ceil(now)
  redis.call('SET', KEYS[1], process .. ' ' .. string.format('%.0f', since))
  return since
end
local since = processSince()

-- Of the operation that is decided.
local state, windows, lostAt

local function readWindows(bytes)
  local found = {}
  for pos = 1, #bytes, 24 do
    local period, limit, capacity = unpack('<ddd', bytes, pos)
    found[#found + 1] = { period = period, rate = limit / period, capacity = capacity }
  end
  return found
end

local function read(bytes)
  local version, at, count, pos = unpack('<BdB', bytes)
  if version ~= 1 then return nil end
  local found = { at = at, periods = {}, levels = {}, leases = {}, tickets = {} }
  for i = 1, count do
    found.periods[i], found.levels[i], pos = unpack('<dd', bytes, pos)
  end
  count, pos = unpack('<H', bytes, pos)
  for i = 1, count do
    local holder, sequence, amount, endsAt
    holder, sequence, amount, endsAt, pos = unpack('<c8ddd', bytes, pos)
    found.leases[i] = { holder = holder, sequence = sequence, amount = amount, endsAt = endsAt }
  end
  count, pos = unpack('<H', bytes, pos)
  for i = 1, count do
    local id, priority, cost, seenAt
    id, priority, cost, seenAt, pos = unpack('<c8Bdd', bytes, pos)
    found.tickets[i] = { id = id, priority = priority, cost = cost, seenAt = seenAt }
  end
  return found
end

local function written()
  local parts = { pack('<BdB', 1, state.at, #windows) }
  for i, window in ipairs(windows) do parts[#parts + 1] = pack('<dd', window.period, state.levels[i]) end
  parts[#parts + 1] = pack('<H', #state.leases)
  for _, lease in ipairs(state.leases) do
    parts[#parts + 1] = pack('<c8ddd', lease.holder, lease.sequence, lease.amount, lease.endsAt)
  end
  parts[#parts + 1] = pack('<H', #state.tickets)
  for _, ticket in ipairs(state.tickets) do
    parts[#parts + 1] = pack('<c8Bdd', ticket.id, ticket.priority, ticket.cost, ticket.seenAt)
  end
  return table.concat(parts)
end

local function leased()
  local sum = 0
  for _, lease in ipairs(state.leases) do sum = sum + lease.amount end
  return sum
end

local function costsOf(tickets, count)
  local sum = 0
  for i = 1, count do sum = sum + tickets[i].cost end
  return sum
end

local function addToLevels(tokens)
  for i, level in ipairs(state.levels) do state.levels[i] = max(0, level + tokens) end
end

local function raiseLevels(floor)
  for i, level in ipairs(state.levels) do state.levels[i] = max(level, floor) end
end

local function followClock()
  local step = state.at - now
  if step <= ${CLOCK_STEP_MS} then return end
  state.at = state.at - step
  for _, lease in ipairs(state.leases) do lease.endsAt = lease.endsAt - step end
  for _, ticket in ipairs(state.tickets) do ticket.seenAt = ticket.seenAt - step end
end

local function align()
  local known = {}
  for i, period in ipairs(state.periods) do known[period] = state.levels[i] end
  local floor = leased()
  state.levels = {}
  for i, window in ipairs(windows) do
    local level = 0
    if lostAt > 0 then level = max(0, window.capacity - window.rate * (state.at - lostAt - LEASE_MS)) end
    state.levels[i] = known[window.period] or max(floor, level)
  end
end

local function drain(target)
  while true do
    local first = state.leases[1]
    local ends = first ~= nil and first.endsAt <= target
    local till = ends and max(first.endsAt, state.at) or target
    local floor, elapsed = leased(), till - state.at
    for i, level in ipairs(state.levels) do
      state.levels[i] = max(0, level - windows[i].rate * elapsed, min(level, floor))
    end
    state.at = till
    if not ends then return end
    table.remove(state.leases, 1)
  end
end

local function msUntil(level, target, rate)
  target = target + EPSILON
  if level <= target then return 0 end
  local floor, at = leased(), state.at
  for _, lease in ipairs(state.leases) do
    if floor <= target then break end
    level = max(level - rate * (lease.endsAt - at), min(level, floor))
    at = lease.endsAt
    floor = floor - lease.amount
  end
  return at - state.at + max(0, level - target) / rate
end

-- How long one with this cost waits behind the first tickets, as many as count.
local function look(cost, count)
  local before, waitMs = costsOf(state.tickets, count), 0
  for i, window in ipairs(windows) do
    waitMs = max(waitMs, msUntil(state.levels[i] + before, window.capacity - cost, window.rate))
  end
  return waitMs
end

local ops = {}

function ops.take(cost)
  local waitMs = look(cost, #state.tickets)
  if waitMs > 0 then return 0, waitMs, 0 end
  addToLevels(cost)
  return 1, 0, 0
end

function ops.peek(cost)
  local waitMs = look(cost, #state.tickets)
  return waitMs > 0 and 0 or 1, waitMs, 0
end

function ops.refund(cost)
  local floor = leased()
  for i, level in ipairs(state.levels) do state.levels[i] = max(0, level - cost, min(level, floor)) end
  return 1, 0, 0
end

function ops.wait(id, priority, cost, maxWaitMs)
  local mine, behind
  for i, ticket in ipairs(state.tickets) do
    if ticket.id == id then mine = i end
    if behind == nil and ticket.priority > priority then behind = i end
  end
  local place = mine or behind or #state.tickets + 1
  local waitMs = look(cost, place - 1)
  if mine ~= nil then table.remove(state.tickets, mine) end
  if waitMs <= 0 then
    addToLevels(cost)
    return 1, 0, 0
  end
  if waitMs > maxWaitMs then return 0, waitMs, 0 end
  if #state.tickets >= ${MAX_TICKETS} then return 3, waitMs, 0 end
  table.insert(state.tickets, place, { id = id, priority = priority, cost = cost, seenAt = state.at })
  return 2, waitMs, 0
end

function ops.leave(id)
  for i, ticket in ipairs(state.tickets) do
    if ticket.id == id then
      table.remove(state.tickets, i)
      break
    end
  end
  return 1, 0, 0
end

local function shareOf(cost, want)
  local free = math.huge
  for i, window in ipairs(windows) do free = min(free, window.capacity - state.levels[i]) end
  free = free - costsOf(state.tickets, #state.tickets)
  local holders = #state.leases
  local part = holders == 1 and min(math.floor(free), math.ceil(free * 7 / 8)) or math.floor(free / (1 + holders))
  return max(cost, min(want, part))
end

function ops.lease(holder, sequence, cost, want, carry, returned)
  for i, lease in ipairs(state.leases) do
    if lease.holder == holder then
      if sequence <= lease.sequence then return 0, LEASE_MS, 0 end
      table.remove(state.leases, i)
      addToLevels(-min(returned, lease.amount))
      break
    end
  end
  local lease = { holder = holder, sequence = sequence, amount = carry, endsAt = state.at + LEASE_MS }
  state.leases[#state.leases + 1] = lease
  raiseLevels(leased())
  local waitMs = LEASE_MS
  if #state.leases <= ${MAX_LEASES} then waitMs = look(cost, #state.tickets) end
  local granted = 0
  if cost > 0 and waitMs <= 0 then granted = shareOf(cost, want) end
  addToLevels(granted)
  lease.amount = lease.amount + granted
  if lease.amount == 0 then table.remove(state.leases) end
  if cost == 0 then return 1, 0, 0 end
  return waitMs > 0 and 0 or 1, waitMs, granted
end

local function forgetAfterMs()
  local drained, held = 0, 0
  for i, window in ipairs(windows) do drained = max(drained, state.levels[i] / window.rate) end
  local last = state.leases[#state.leases]
  if last ~= nil then held = last.endsAt - state.at end
  return max(held + drained, #state.tickets > 0 and TICKET_MS or 0)
end

local function decide(key, op, args)
  -- What cannot be read, whoever wrote it, is lost.
  local fetched, bytes = pcall(redis.call, 'GET', key)
  local readable, found = false, nil
  if fetched and bytes then readable, found = pcall(read, bytes) end
  if readable and found ~= nil and found.at > lostAt then state = found
  else state = { at = now, periods = {}, levels = {}, leases = {}, tickets = {} } end
  followClock()
  local behindMs = max(0, state.at - now)
  align()
  drain(max(now, state.at))
  local present = {}
  for _, ticket in ipairs(state.tickets) do
    if ticket.seenAt + TICKET_MS > state.at then present[#present + 1] = ticket end
  end
  state.tickets = present

  local verdict, waitMs, granted
  if op == 'wait' then verdict, waitMs, granted = ops.wait(unpack('<c8ddd', args))
  elseif op == 'leave' then verdict, waitMs, granted = ops.leave(args)
  elseif op == 'lease' then verdict, waitMs, granted = ops.lease(unpack('<c8ddddd', args))
  else verdict, waitMs, granted = ops[op]((unpack('<d', args))) end
  if waitMs > 0 then waitMs = waitMs + behindMs end

  if op ~= 'peek' then
    local forget = math.ceil(forgetAfterMs() + behindMs)
    if forget > 0 then redis.call('SET', key, written(), 'PX', string.format('%.0f', forget))
    else redis.call('DEL', key) end
  end

  local answer = pack('<ddd', verdict, waitMs, granted)
  for _, level in ipairs(state.levels) do answer = answer .. pack('<d', level) end
  return answer
end

local answers = {}
local limits = {}
for i = 1, #KEYS - 1 do
  local at = (i - 1) * 4
  local limit = ARGV[at + 3]
  limits[limit] = limits[limit] or readWindows(limit)
  windows, lostAt = limits[limit], ARGV[at + 2] == 'closed' and since or 0
  answers[i] = decide(KEYS[i + 1], ARGV[at + 1], ARGV[at + 4])
end
return answers
`;
}
