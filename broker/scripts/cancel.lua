-- Withdraw one request from some hosts of one partition: an entry for each, as compaction alone knows what it is part
-- of. Hosts that it is appended for later have it end at once.
-- KEYS   1 withdrawn, 2 doorbell, 3 requests of a place without a path: with a host's path behind, the stream of that host
-- ARGV   1 reason, 2 entry (JSON), 3 how long to remember (s), 4 paths of the hosts, parted by blanks
-- Gives  the number of hosts

redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[3]) -- the first reason stands
local paths = words(ARGV[4])
for _, path in ipairs(paths) do
  redis.call('XADD', KEYS[3] .. path, '*', 'cancel', ARGV[2])
end
ring(KEYS[2], paths)
return #paths
