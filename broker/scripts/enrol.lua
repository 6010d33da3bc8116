-- Buy a host a credential of its own, once for each host.
-- KEYS   1 enrolments, 2 bound tokens, 3 ids, 4 tokens of the tenant, 5 token by the digest of the credential
-- ARGV   1 id of the enrolment token, 2 how many hosts it may enrol, 3 path of the host, 4 id of the credential,
--        5 its digest, 6 its facts (JSON), 7 its member of the list
-- Gives  "enrolled" | "repeated" | "taken" | "spent"

local prefix = string.sub(KEYS[5], 1, -1 - #ARGV[5])
local known = redis.call('HGET', KEYS[5], 'facts')
local bound = redis.call('HGET', KEYS[2], ARGV[3])
if bound then
  local digest = redis.call('HGET', KEYS[3], bound)
  local is_revoked = not digest or redis.call('HEXISTS', prefix .. digest, 'revoked_at') == 1
  if not is_revoked then
    return digest == ARGV[5] and 'repeated' or 'taken'
  end
end
if known then
  return 'taken' -- this secret is or was somebody's
end
if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) >= tonumber(ARGV[2]) then
  return 'spent'
end
redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
redis.call('HSET', KEYS[5], 'facts', ARGV[6])
redis.call('HSET', KEYS[3], ARGV[4], ARGV[5])
redis.call('ZADD', KEYS[4], 0, ARGV[7])
redis.call('HSET', KEYS[2], ARGV[3], ARGV[4])
return 'enrolled'
