-- Take a lease that is free, or renew one's own.
-- KEYS   1 lease
-- ARGV   1 instance, 2 life (ms)
-- Gives  1 when this instance holds it now, else 0

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
