-- Append one request to the streams of some hosts of one partition, once, and ring for each of them.
-- KEYS   1 submitted marker, 2 doorbell, 3 results, 4.. the requests stream of each host
-- ARGV   1 now (ms), 2 request id, 3 command id, 4 tenant, 5 service,
--        then for each host: path, host name, request (JSON)
-- Gives  the number of hosts appended: 0 when this batch was appended before

if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', 86400) then
  return 0
end
local hosts = #KEYS - 3
for i = 1, hosts do
  local first = 6 + (i - 1) * 3
  local who = host_of(ARGV[first], ARGV[4], ARGV[5], ARGV[first + 1])
  redis.call('XADD', KEYS[3 + i], '*', 'request', ARGV[first + 2])
  redis.call('XADD', KEYS[2], '*', 'host', who.path)
  emit(KEYS[3], who, 'submitted', ARGV[1], ARGV[3], 0, ARGV[2])
end
return hosts
