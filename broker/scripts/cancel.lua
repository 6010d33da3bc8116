-- Withdraw one request from some hosts of one partition: an entry for each, as compaction alone knows what it is part
-- of. Hosts that it is appended for later have it end at once.
-- KEYS   1 withdrawn, 2 doorbell, then the requests stream of each host
-- ARGV   1 reason, 2 entry (JSON), 3 how long to remember (s), then the path of each host
-- Gives  the number of hosts

redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[3]) -- the first reason stands
for i = 3, #KEYS do
  redis.call('XADD', KEYS[i], '*', 'cancel', ARGV[2])
end
ring(KEYS[2], { unpack(ARGV, 4) })
return #KEYS - 2
