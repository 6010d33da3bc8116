-- Note that these hosts are sampled now, unless somebody sampled one of them since the caller looked.
-- KEYS   1 sampled
-- ARGV   1 forget what is older (ms), 2 TTL (s), then for each host: its name, the moment to note (ms),
--        when it was sampled last as the caller knows it ("" never, "any" no matter)
-- Gives  "noted" | "changed"

for i = 3, #ARGV, 3 do
  if ARGV[i + 2] ~= 'any' then
    local last = redis.call('ZSCORE', KEYS[1], ARGV[i])
    if (last and tonumber(last) or -1) ~= (tonumber(ARGV[i + 2]) or -1) then
      return 'changed'
    end
  end
end
for i = 3, #ARGV, 3 do
  redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 'noted'
