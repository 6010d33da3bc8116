-- Append one request to the streams of some hosts of one partition, once, and ring for each of them. A request that has
-- been closed ends here: cancelled, for the reason on its tombstone.
-- KEYS   1 submitted marker, 2 doorbell, 3 results, 4 tombstone, 5.. the requests stream of each host
-- ARGV   1 now (ms), 2 request id, 3 command id, 4 tenant, 5 service,
--        then for each host: path, host name, request (JSON)
-- Gives  the number of hosts appended: 0 when this batch was appended before

if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', 86400) then
  return 0
end
local closed = redis.call('GET', KEYS[4])
local hosts = #KEYS - 4
for i = 1, hosts do
  local first = 6 + (i - 1) * 3
  local who = host_of(ARGV[first], ARGV[4], ARGV[5], ARGV[first + 1])
  emit(KEYS[3], who, 'submitted', ARGV[1], ARGV[3], 0, ARGV[2])
  if closed then
    emit(KEYS[3], who, 'cancelled', ARGV[1], ARGV[3], 0, ARGV[2], { 'reason', closed })
  else
    redis.call('XADD', KEYS[4 + i], '*', 'request', ARGV[first + 2])
    redis.call('XADD', KEYS[2], '*', 'host', who.path)
  end
end
return hosts
