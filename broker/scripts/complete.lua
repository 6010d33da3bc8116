-- The agent's word that a command has ended (or, from older agents, that a profiler has started).
-- KEYS   1 command, 2 open requests, 3 history, 4 results, 5 deadlines, 6 doorbell, 7 requests, 8 late, 9 taken,
--        10 host, 11 events, 12 conflict told
-- ARGV   1 now (ms), 2 path, 3 tenant, 4 service, 5 host name, 6 command id, 7 outcome ("completed" | "failed"),
--        8 "1" when it only says that a profiler started, 9 the grace (ms) in run_for_ms, 10 to 14 the credential, as in a
--        beat, then what to record: name, value, name, value
-- Gives  "recorded" | "started" | "repeated" | "late" | "unknown" | {"contested", owner, reason}

local now = ARGV[1]
local who = host_of(ARGV[2], ARGV[3], ARGV[4], ARGV[5])
local id, outcome, only_started = ARGV[6], ARGV[7], ARGV[8] == '1'
local at = {
  command = KEYS[1], open = KEYS[2], history = KEYS[3], results = KEYS[4], deadlines = KEYS[5], taken = KEYS[9],
}
local by = { id = ARGV[10], claim = ARGV[11], fault = ARGV[12], asked = ARGV[13], ended = ARGV[14] }
local owner = by.id ~= '' and redis.call('HGET', KEYS[10], 'owner')
local reason = contest(owner, by, who.path, now, KEYS[11], KEYS[12]) -- a completion makes nobody the owner
if reason then
  return { 'contested', string.sub(owner or '', 3), reason }
end
local extras = {}
for i = 15, #ARGV do
  extras[#extras + 1] = ARGV[i]
end

-- Ended otherwise (a clock, a stop, a newer generation): the agent's word is recorded once and changes no outcome.
local function record_late()
  for _, entry in ipairs(redis.call('XREVRANGE', at.history, '+', '-', 'COUNT', 100)) do
    local past = as_map(entry[2])
    if past.command_id == id then
      local is_said = past.outcome == 'completed' or past.outcome == 'failed'
      if is_said or redis.call('SADD', KEYS[8], id) == 0 then
        return 'repeated'
      end
      redis.call('EXPIRE', KEYS[8], WEEK_SECONDS)
      emit(at.results, who, 'late_completion', now, id, past.generation, past.served, extras)
      return 'late'
    end
  end
  return 'unknown'
end

local command = as_map(redis.call('HGETALL', at.command))
if command.id == id then
  local state = command.state
  local is_waiting = state == 'pending' or state == 'delivered' or state == 'received'
  if not is_waiting and state ~= 'running' then
    if state == 'completed' or state == 'failed' then
      return 'repeated'
    end
    return record_late()
  end
  if only_started and command.type == 'start' then
    if state == 'running' then
      return 'repeated'
    end
    redis.call('HSET', at.command, 'closed_by_clock', '1')
    local limit = command.run_for_ms and command.run_for_ms - ARGV[9]
    begin(at, who, command, now, limit)
    return 'started'
  end
  close(at, who, command, outcome, now, extras)
  ring_if_open(at.open, KEYS[7], KEYS[6], who.path)
  return 'recorded'
end

return record_late()
