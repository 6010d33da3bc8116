-- Give a token another secret. Its present one ends after an overlap, the one before that ends now.
-- KEYS   1 ids, 2 token by its present digest, 3 token by the new one, 4 changes
-- ARGV   1 token id, 2 present digest, 3 new digest, 4 facts (JSON), 5 now, 6 end of the present secret
-- Gives  1 when it was rotated, 0 when it was rotated or revoked meanwhile

if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] or redis.call('HEXISTS', KEYS[2], 'revoked_at') == 1 then
  return 0
end
local before = redis.call('HGET', KEYS[2], 'before')
if before then
  -- Its key is in the slot of the other tokens, and differs from that of the present one in the digest alone.
  redis.call('HSET', string.sub(KEYS[2], 1, -1 - #ARGV[2]) .. before, 'until', ARGV[5])
end
redis.call('HSET', KEYS[2], 'until', ARGV[6])
redis.call('HSET', KEYS[3], 'facts', ARGV[4], 'before', ARGV[2], 'rotated_at', ARGV[5], 'previous_until', ARGV[6])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', 10000, '*', 'token', ARGV[1], 'digest', ARGV[3])
return 1
