-- A token by the digest of a secret.
-- KEYS   1 token
-- ARGV   none
-- Gives  its fields (name, value, name, value), none where there is no such token

return redis.call('HGETALL', KEYS[1])
