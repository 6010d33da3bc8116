-- Note that a service has fallen silent, or is heard again, and tell of it: once, however many say so.
-- KEYS   1 silent services, 2 events
-- ARGV   1 now (ms), 2 path, 3 tenant, 4 service, 5 grace (ms) of its hosts, or "" when it is heard again, 6 its hosts
--        that are known, 7 those of them that are silent
-- Gives  1 when this call told of it, 0 when it was told before

local now, path, grace = ARGV[1], ARGV[2], ARGV[5]
local who = host_of(path, ARGV[3], ARGV[4])
local counts = { 'known_hosts', ARGV[6], 'silent_hosts', ARGV[7] }

if grace ~= '' then
  if redis.call('HSETNX', KEYS[1], path, now .. ' ' .. grace) == 0 then
    return 0
  end
  tell(KEYS[2], who, 'service_silent', now, counts)
  return 1
end

local noted = redis.call('HGET', KEYS[1], path)
if not noted then
  return 0
end
redis.call('HDEL', KEYS[1], path)
tell(KEYS[2], who, 'service_heard', now, { 'silent_since', words(noted)[1], unpack(counts) })
return 1
