-- Tell a host where the processes of a request are now, unless the request was withdrawn, and ring for it.
-- KEYS   1 withdrawn, 2 doorbell, 3 requests
-- ARGV   1 path, 2 the request as the host sees it now (JSON)
-- Gives  1, or 0 when the request was withdrawn

if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('XADD', KEYS[3], '*', 'request', ARGV[2])
redis.call('XADD', KEYS[2], '*', 'host', ARGV[1])
return 1
