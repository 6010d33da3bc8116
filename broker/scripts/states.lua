-- Where the commands of some hosts of one partition stand.
-- KEYS   the command of each host
-- ARGV   none
-- Gives  for each host the state of its command, '' where there is none

local states = {}
for number, key in ipairs(KEYS) do
  states[number] = redis.call('HGET', key, 'state') or ''
end
return states
