-- Let a host join a standing request, once, under a number of its own, as long as the request stands.
-- KEYS   1 request, 2 joined, 3 unsent
-- ARGV   1 TTL (s), 2 path
-- Gives  the number of the host, or -1 when it has joined before, or the request stands no more

if redis.call('HGET', KEYS[1], 'standing') ~= 'open' then
  return -1
end
local number = redis.call('HLEN', KEYS[2])
if redis.call('HSETNX', KEYS[2], ARGV[2], number) == 0 then
  return -1
end
redis.call('HSET', KEYS[3], ARGV[2], number)
redis.call('EXPIRE', KEYS[2], ARGV[1])
redis.call('EXPIRE', KEYS[3], ARGV[1])
return number
