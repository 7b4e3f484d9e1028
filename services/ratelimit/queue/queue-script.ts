import { IDEMPOTENCY_MS, MAX_DEQUEUED, OVERDUE_TURN } from "./store.js";

/** Most items whose time is over that one call cleans up: the rest waits for the next. */
const MAX_DUE = 200;

/**
 * memory-queue.ts as a script that runs inside Redis. KEYS[1] names the queue, and all its keys begin with it:
 * itself (a hash of counters), :items (JSON by id), :payloads (by id), :turn:P and :age:P (sorted sets of what waits with
 * priority P), :given:P (each tenant's last turn), :expiring, :delayed and :flight (sorted sets by when that ends), and
 * :idem:KEY. ARGV[1] is the request as JSON, ARGV[2] a new item's payload. Answers JSON, then the payloads of delivered items.
 *
 * @param timeSource Lua that sets the local variable `now`
 */
export function queueScript(timeSource: string): string {
  return `
local q = KEYS[1]
local request = cjson.decode(ARGV[1])
${timeSource}
local call, max = redis.call, math.max
-- Ages must not be negative when the clock was set back.
now = max(math.floor(now), tonumber(call('HGET', q, 'now') or 0))

local itemsKey, payloadsKey, expiringKey = q .. ':items', q .. ':payloads', q .. ':expiring'
local delayedKey, flightKey = q .. ':delayed', q .. ':flight'
local function turnKey(priority) return q .. ':turn:' .. priority end
local function ageKey(priority) return q .. ':age:' .. priority end
local function givenKey(priority) return q .. ':given:' .. priority end

local function text(number) return string.format('%.0f', number) end
local function number(field) return tonumber(call('HGET', q, field) or 0) end
local function add(field, by)
  if call('HINCRBY', q, field, by) == 0 then call('HDEL', q, field) end
end
local function load(id)
  local found = call('HGET', itemsKey, id)
  return found and cjson.decode(found)
end
local function save(item) call('HSET', itemsKey, item.id, cjson.encode(item)) end

local function wait(item)
  item.state = 'waiting'
  call('ZADD', turnKey(item.priority), text(item.turn), item.id)
  call('ZADD', ageKey(item.priority), text(item.at), item.id)
  save(item)
end

local function leaveState(item)
  if item.state == 'waiting' then
    call('ZREM', turnKey(item.priority), item.id)
    call('ZREM', ageKey(item.priority), item.id)
  elseif item.state == 'delayed' then
    call('ZREM', delayedKey, item.id)
  else
    call('ZREM', flightKey, item.id)
    add('worker:' .. item.worker, -1)
  end
end

local function remove(item, counter)
  leaveState(item)
  call('ZREM', expiringKey, item.id)
  call('HDEL', itemsKey, item.id)
  call('HDEL', payloadsKey, item.id)
  add('tenant:' .. item.tenant, -1)
  add(counter, 1)
end

local function giveBack(item, delayMs)
  if item.attempt >= request.maxAttempts then
    remove(item, 'dead')
    return 'dropped'
  end
  leaveState(item)
  item.worker, item.lease = '', ''
  if delayMs > 0 then
    item.state = 'delayed'
    call('ZADD', delayedKey, text(now + delayMs), item.id)
    save(item)
  else
    wait(item)
  end
  return 'done'
end

local function due(key) return call('ZRANGEBYSCORE', key, '-inf', text(now), 'LIMIT', 0, ${MAX_DUE}) end
local function passTime()
  for _, id in ipairs(due(flightKey)) do giveBack(load(id), 0) end
  for _, id in ipairs(due(delayedKey)) do
    local item = load(id)
    leaveState(item)
    wait(item)
  end
  for _, id in ipairs(due(expiringKey)) do remove(load(id), 'expired') end
end

local function nextItem()
  local first, overdue, overdueSince
  for priority = 1, 4 do
    local oldest = call('ZRANGE', ageKey(priority), 0, 0, 'WITHSCORES')
    if oldest[1] then
      first = first or priority
      local since = tonumber(oldest[2]) + (priority - 1) * request.ageingMs
      if priority > 1 and since <= now and (overdue == nil or since < overdueSince) then
        overdue, overdueSince = priority, since
      end
    end
  end
  if first == nil then return nil end
  local since = number('sinceOverdue')
  local priority = (overdue ~= nil and since >= ${OVERDUE_TURN - 1}) and overdue or first
  call('HSET', q, 'sinceOverdue', priority == overdue and 0 or since + 1)
  return load(call('ZRANGE', turnKey(priority), 0, 0)[1])
end

-- An item that is held under this lease, or why it is not.
local function held()
  local item = load(request.id)
  if not item then return nil, 'unknown' end
  if item.state ~= 'in_flight' or item.lease ~= request.lease then return nil, 'lost' end
  return item
end

local ops = {}

function ops.enqueue()
  local idempotent = request.idempotencyKey ~= '' and q .. ':idem:' .. #request.tenant .. ':' .. request.tenant .. ':' .. request.idempotencyKey
  local known = idempotent and call('GET', idempotent)
  if known then return { id = known } end
  if call('HLEN', itemsKey) >= request.maxDepth then return { full = 'queue' } end
  if number('tenant:' .. request.tenant) >= request.maxTenantDepth then return { full = 'tenant' } end
  local id = string.format('%016.0f', call('HINCRBY', q, 'sequence', 1))
  local turn = max(number('served:' .. request.priority), tonumber(call('HGET', givenKey(request.priority), request.tenant) or 0)) + 1
  call('HSET', givenKey(request.priority), request.tenant, text(turn))
  call('HSET', payloadsKey, id, ARGV[2])
  call('ZADD', expiringKey, text(now + request.ttlMs), id)
  add('tenant:' .. request.tenant, 1)
  add('enqueued', 1)
  wait({ id = id, tenant = request.tenant, priority = request.priority, at = now, turn = turn, attempt = 0, worker = '', lease = '' })
  if idempotent then call('SET', idempotent, id, 'PX', ${IDEMPOTENCY_MS}) end
  return { id = id }
end

function ops.dequeue()
  local delivered, payloads = {}, {}
  local holds = number('worker:' .. request.worker)
  while #delivered < ${MAX_DEQUEUED} and holds < request.maxInFlight do
    local item = nextItem()
    if item == nil then break end
    leaveState(item)
    call('ZREM', expiringKey, item.id)
    call('HSET', q, 'served:' .. item.priority, text(max(number('served:' .. item.priority), item.turn)))
    if tonumber(call('HGET', givenKey(item.priority), item.tenant) or 0) == item.turn then
      call('HDEL', givenKey(item.priority), item.tenant)
    end
    item.state, item.worker, item.lease = 'in_flight', request.worker, request.lease
    item.attempt = item.attempt + 1
    call('ZADD', flightKey, text(now + request.leaseMs), item.id)
    add('worker:' .. request.worker, 1)
    if item.attempt > 1 then add('redelivered', 1) end
    save(item)
    holds = holds + 1
    delivered[#delivered + 1] = item
    payloads[#payloads + 1] = call('HGET', payloadsKey, item.id)
  end
  local nextAt
  for _, key in ipairs({ flightKey, delayedKey }) do
    local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')[2]
    if first and (nextAt == nil or tonumber(first) < nextAt) then nextAt = tonumber(first) end
  end
  return { items = delivered, nextMs = nextAt and max(0, nextAt - now) }, payloads
end

function ops.ack()
  local item, why = held()
  if not item then return { outcome = why } end
  remove(item, 'acknowledged')
  return { outcome = 'done' }
end

function ops.nack()
  local item, why = held()
  if not item then return { outcome = why } end
  return { outcome = giveBack(item, request.delayMs) }
end

function ops.extend()
  local item, why = held()
  if not item then return { outcome = why } end
  call('ZADD', flightKey, text(now + request.leaseMs), item.id)
  return { outcome = 'done' }
end

function ops.cancel()
  local item = load(request.id)
  if not item or item.tenant ~= request.tenant then return { outcome = 'unknown' } end
  remove(item, 'cancelled')
  return { outcome = item.state == 'in_flight' and 'in_flight' or 'waiting' }
end

function ops.counts()
  local waiting = {}
  for priority = 1, 4 do
    local oldest = call('ZRANGE', ageKey(priority), 0, 0, 'WITHSCORES')[2]
    waiting[priority] = { depth = call('ZCARD', ageKey(priority)), oldestAgeMs = oldest and now - tonumber(oldest) or 0 }
  end
  local counts = { waiting = waiting, delayed = call('ZCARD', delayedKey), inFlight = call('ZCARD', flightKey) }
  for _, name in ipairs({ 'enqueued', 'acknowledged', 'redelivered', 'expired', 'dead', 'cancelled' }) do
    counts[name] = number(name)
  end
  return counts
end

passTime()
local answer, payloads = ops[request.op]()
call('HSET', q, 'now', text(now))
if request.wakes then call('PUBLISH', q .. ':changed', '') end
local reply = { cjson.encode(answer) }
for _, payload in ipairs(payloads or {}) do reply[#reply + 1] = payload end
return reply
`;
}
