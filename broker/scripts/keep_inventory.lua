-- Keep what runs on a host, with its digest beside the host's facts: a heartbeat compares that alone.
-- KEYS   1 host, 2 inventory
-- ARGV   1 digest, 2 inventory (base64), 3 TTL (s)
-- Gives  "OK"

redis.call('HSET', KEYS[1], 'inventory', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[3])
return redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
