-- One heartbeat: remember the host, take its acks, hand out the command it has not acked.
-- KEYS   1 host, 2 beats, 3 command, 4 open requests, 5 history, 6 results, 7 deadlines, 8 doorbell, 9 requests,
--        10 taken, 11 events, 12 dead letters, 13 inventory, 14 conflict told
-- ARGV   1 now (ms), 2 path, 3 tenant, 4 service, 5 host name, 6 most attempts, 7 "1" when the run has begun,
--        8 last command id, 9 to 13 the credential: token id, claim, fault, "1" when its owner was asked, ended owner
--        (see contest), 14 digest of the inventory it carries ("" for none), 15 number of received ids, then those,
--        then the number of executed ids, then those, then what to remember of the host: name, value, name, value;
--        last, after how much silence (ms) a beat is a return
-- Gives  {"idle", generation, wanted} | {"deliver", command id, generation, attempt, command (JSON), wanted};
--        wanted is 1 when the inventory that is kept is another one, or none
--        | {"contested", owner, reason}: this credential may not speak for the host, and nothing was done

local now = ARGV[1]
local who = host_of(ARGV[2], ARGV[3], ARGV[4], ARGV[5])
local at = {
  command = KEYS[3], open = KEYS[4], history = KEYS[5], results = KEYS[6], deadlines = KEYS[7], taken = KEYS[10],
}
local has_begun, last_id = ARGV[7] == '1', ARGV[8]

local by = { id = ARGV[9], claim = ARGV[10], fault = ARGV[11], asked = ARGV[12], ended = ARGV[13] }
local owner = by.id ~= '' and redis.call('HGET', KEYS[1], 'owner')
local reason, new_owner = contest(owner, by, who, now, KEYS[11], KEYS[14])
if reason then
  return { 'contested', string.sub(owner or '', 3), reason }
end

local received, executed = {}, {}
local next_arg = 15
for _, into in ipairs({ received, executed }) do
  local count = tonumber(ARGV[next_arg])
  for i = 1, count do
    into[ARGV[next_arg + i]] = true
  end
  next_arg = next_arg + count + 1
end

local facts = { 'last_beat', now }
for i = next_arg, #ARGV - 1 do
  facts[#facts + 1] = ARGV[i]
end
if new_owner then
  facts[#facts + 1] = 'owner'
  facts[#facts + 1] = new_owner
end
redis.call('HSET', KEYS[1], unpack(facts))
redis.call('EXPIRE', KEYS[1], WEEK_SECONDS)
local is_kept = redis.call('EXPIRE', KEYS[13], WEEK_SECONDS) == 1
if is_kept and ARGV[14] ~= '' then
  is_kept = redis.call('HGET', KEYS[1], 'inventory') == ARGV[14]
end
local wanted = is_kept and 0 or 1
local last_beat = redis.call('ZSCORE', KEYS[2], who.path)
redis.call('ZADD', KEYS[2], now, who.path)
if not last_beat then
  tell(KEYS[11], who, 'host_joined', now)
elseif tonumber(now) - tonumber(last_beat) > tonumber(ARGV[#ARGV]) then
  tell(KEYS[11], who, 'host_returned', now, { 'silent_since', last_beat })
end

local command = as_map(redis.call('HGETALL', at.command))
local state, id = command.state, command.id
local generation = tonumber(command.generation or 0)
local is_open = state == 'pending' or state == 'delivered' or state == 'received' or state == 'running'
if not is_open then
  -- Given up on, and at work all the same, by its own word: compaction is to see that it is told to stop.
  if state == 'lost' and has_begun and not command.back_at_work then
    redis.call('HSET', at.command, 'back_at_work', '1')
    redis.call('HINCRBY', at.command, 'revision', 1)
    ring(KEYS[8], { who.path })
  end
  return { 'idle', generation, wanted }
end

local function move(to)
  redis.call('HSET', at.command, 'state', to, to .. '_at', now)
  redis.call('HINCRBY', at.command, 'revision', 1)
  redis.call('ZADD', at.taken, now, who.path)
  emit(at.results, who, to, now, id, generation, command.request_ids)
  state = to
end

local is_named = last_id == id or received[id] or executed[id]
if command.type == 'stop' then
  -- A stop has been carried out once the agent names it as its last or as executed.
  if last_id == id or executed[id] then
    close(at, who, command, 'completed', now)
    ring_if_open(at.open, KEYS[9], KEYS[8], who.path)
    return { 'idle', generation, wanted }
  end
  if is_named then
    if state ~= 'received' then
      move('received')
    end
    -- It has the stop and is at work on it: give it a moment before offering it again.
    if tonumber(now) - tonumber(command.delivered_at or 0) < 5000 then
      return { 'idle', generation, wanted }
    end
  end
elseif is_named or state == 'received' or state == 'running' then
  if state == 'pending' or state == 'delivered' then
    move('received')
  end
  if has_begun and last_id == id and state == 'received' then
    begin(at, who, command, now, command.run_for_ms)
  end
  return { 'idle', generation, wanted }
end

local attempt = tonumber(command.attempts or 0) + 1
if attempt > tonumber(ARGV[6]) then
  local reason = 'handed out ' .. ARGV[6] .. ' times without an ack'
  redis.call('XADD', KEYS[12], 'MAXLEN', 10000, '*', 'v', '1', 'kind', 'command', 'host', who.path, 'reason', reason,
    'attempts', attempt - 1, 'at', now, 'command_id', id, 'generation', generation,
    'request_ids', (command.request_ids or '') .. ' ' .. (command.stop_ids or ''), 'command', command.reply)
  close(at, who, command, 'undeliverable', now, { 'reason', reason })
  ring_if_open(at.open, KEYS[9], KEYS[8], who.path)
  return { 'idle', generation, wanted }
end
redis.call('HSET', at.command, 'attempts', attempt, 'delivered_at', now)
redis.call('HINCRBY', at.command, 'revision', 1)
if state == 'pending' then
  redis.call('HSET', at.command, 'state', 'delivered')
  redis.call('ZADD', at.taken, now, who.path)
  emit(at.results, who, 'delivered', now, id, generation, command.request_ids, { 'attempt', tostring(attempt) })
end
return { 'deliver', id, generation, attempt, command.reply, wanted }
