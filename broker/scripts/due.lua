-- Ring for the hosts whose next deadline has come. Each is looked at again a little later, should nobody answer.
-- KEYS   1 deadlines, 2 doorbell
-- ARGV   1 now (ms), 2 most hosts, 3 again in (ms)
-- Gives  the number of hosts rung for

local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
ring(KEYS[2], due)
for _, path in ipairs(due) do
  redis.call('ZADD', KEYS[1], tonumber(ARGV[1]) + tonumber(ARGV[3]), path)
end
return #due
