-- Give up on the command of a host that has fallen silent while it held it.
-- KEYS   1 command, 2 open requests, 3 history, 4 results, 5 deadlines, 6 doorbell, 7 requests, 8 taken, 9 beats,
--        10 events
-- ARGV   1 now (ms), 2 path, 3 tenant, 4 service, 5 host name, 6 silent since (ms), 7 reason, 8 how much silence (ms) is
--        too much
-- Gives  1 when its command is lost now, 0 when it has beaten since, holds none, or has not had that long to begin one
--        that awaited its moment

local command = as_map(redis.call('HGETALL', KEYS[1]))
local state = command.state
if state ~= 'delivered' and state ~= 'received' and state ~= 'running' then
  redis.call('ZREM', KEYS[8], ARGV[2])
  return 0
end
local last_beat = redis.call('ZSCORE', KEYS[9], ARGV[2])
if last_beat and tonumber(last_beat) > tonumber(ARGV[6]) then
  return 0
end
if state ~= 'running' and tonumber(command.starts_at or 0) + tonumber(ARGV[8]) > tonumber(ARGV[1]) then
  return 0
end
local who = host_of(ARGV[2], ARGV[3], ARGV[4], ARGV[5])
local at = {
  command = KEYS[1], open = KEYS[2], history = KEYS[3], results = KEYS[4], deadlines = KEYS[5], taken = KEYS[8],
}
close(at, who, command, 'lost', ARGV[1], { 'reason', ARGV[7] })
ring_if_open(at.open, KEYS[7], KEYS[6], who.path)
tell(KEYS[10], who, 'host_lost', ARGV[1], { 'silent_since', last_beat or ARGV[6], 'command_id', command.id })
return 1
