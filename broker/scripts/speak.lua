-- Whether a credential may speak for a host now. It makes nobody the owner, and changes nothing.
-- KEYS   1 host, 2 events, 3 conflict told
-- ARGV   1 now (ms), 2 path, 3 to 7 the credential, as in a beat
-- Gives  "yes" | {"contested", owner, reason}

local by = { id = ARGV[3], claim = ARGV[4], fault = ARGV[5], asked = ARGV[6], ended = ARGV[7] }
local owner = by.id ~= '' and redis.call('HGET', KEYS[1], 'owner')
local reason = contest(owner, by, ARGV[2], ARGV[1], KEYS[2], KEYS[3])
if reason then
  return { 'contested', string.sub(owner or '', 3), reason }
end
return 'yes'
