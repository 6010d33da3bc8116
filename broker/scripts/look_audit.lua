-- A part of a chain, together with where the chain begins and ends at this moment.
-- KEYS   1 audit, 2 audit_chain
-- ARGV   1 entry id: what is behind it, 2 how many at most
-- Gives  number and hash of the checkpoint, number and hash of the last record, the entries

local at = redis.call('HMGET', KEYS[2], 'checkpoint_number', 'checkpoint_hash', 'number', 'hash')
local genesis = string.rep('0', 64)
return {
  at[1] or '0', at[2] or genesis, at[3] or '0', at[4] or genesis,
  redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2]),
}
