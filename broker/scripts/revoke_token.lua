-- Make a token worthless: its newest secret, and the one before it, which may still be good. Older ones have ended.
-- KEYS   1 token by the digest it was found with, 2 ids, 3 changes
-- ARGV   1 token id, 2 that digest, 3 now
-- Gives  1

local prefix = string.sub(KEYS[1], 1, -1 - #ARGV[2])
local digest = redis.call('HGET', KEYS[2], ARGV[1]) or ARGV[2]
local before = redis.call('HGET', prefix .. digest, 'before')
redis.call('HSETNX', prefix .. digest, 'revoked_at', ARGV[3])
if before then
  redis.call('HSETNX', prefix .. before, 'revoked_at', ARGV[3])
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', 10000, '*', 'token', ARGV[1])
return 1
