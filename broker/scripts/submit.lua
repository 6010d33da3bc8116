-- Append one request to the streams of some hosts of one partition, once, and ring for each of them.
-- A request that was withdrawn meanwhile ends on each of these hosts instead.
-- KEYS   1 submitted marker, 2 withdrawn, 3 doorbell, 4 results, 5 requests of a place without a path: with a host's path
--        behind, the stream of that host
-- ARGV   1 now (ms), 2 request id, 3 command id, then of all who are asked the same: request as they see it (JSON),
--        paths of the hosts, parted by blanks
-- Gives  the number of hosts appended: 0 when this batch was appended before

if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', 86400) then
  return 0
end
local withdrawn = redis.call('GET', KEYS[2])
local hosts, rung = 0, {}
for first = 4, #ARGV, 2 do
  for _, path in ipairs(words(ARGV[first + 1])) do
    local who = host_at(path)
    hosts = hosts + 1
    emit(KEYS[4], who, 'submitted', ARGV[1], ARGV[3], 0, ARGV[2])
    if withdrawn then
      emit(KEYS[4], who, 'cancelled', ARGV[1], ARGV[3], 0, ARGV[2], { 'reason', withdrawn })
    else
      redis.call('XADD', KEYS[5] .. path, '*', 'request', ARGV[first])
      rung[#rung + 1] = path
    end
  end
end
ring(KEYS[3], rung)
return hosts
