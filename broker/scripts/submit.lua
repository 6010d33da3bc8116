-- Append one request to the streams of some hosts of one partition, once, and ring for each of them.
-- A request that was withdrawn meanwhile ends on each of these hosts instead.
-- KEYS   1 submitted marker, 2 withdrawn, 3 doorbell, 4 results, 5.. the requests stream of each host
-- ARGV   1 now (ms), 2 request id, 3 command id, 4 tenant, 5 service, 6 requests as the hosts see them (JSON, a list
--        of JSON texts), 7 hosts (JSON, for each: path, host name, number of its request)
-- Gives  the number of hosts appended: 0 when this batch was appended before

if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', 86400) then
  return 0
end
local withdrawn = redis.call('GET', KEYS[2])
local requests, hosts, rung = cjson.decode(ARGV[6]), cjson.decode(ARGV[7]), {}
for i, host in ipairs(hosts) do
  local who = host_of(host[1], ARGV[4], ARGV[5], host[2])
  emit(KEYS[4], who, 'submitted', ARGV[1], ARGV[3], 0, ARGV[2])
  if withdrawn then
    emit(KEYS[4], who, 'cancelled', ARGV[1], ARGV[3], 0, ARGV[2], { 'reason', withdrawn })
  else
    redis.call('XADD', KEYS[4 + i], '*', 'request', requests[host[3]])
    rung[#rung + 1] = who.path
  end
end
ring(KEYS[3], rung)
return #hosts
