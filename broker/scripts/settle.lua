-- Store what compaction decided for some hosts of one partition, but for those that have changed since they were loaded.
-- Hosts that stand alike share a decision.
-- KEYS   1 results, 2 deadlines, 3 doorbell, 4 taken, and of a place without a path, with a host's path behind those of that
--        host: 5 command, 6 open requests, 7 requests, 8 history
-- ARGV   1 now (ms), 2 nudge channel, 3 decisions (JSON, a list of: keep, drop, close, install, update, events,
--        wake_at), 4 hosts (JSON, for each: path, revision loaded, ids of the entries taken up, number of its decision)
-- Gives  for each host "stored", "changed", or why it cannot be stored

local now = ARGV[1]
local decisions = cjson.decode(ARGV[3])
local nudged, wake = {}, {}
for _, decision in ipairs(decisions) do
  decision.fields = {}
  for name, value in pairs(decision.install or {}) do
    table.insert(decision.fields, name)
    table.insert(decision.fields, value)
  end
end

local function settle(at, who, revision, drained, decision)
  if (redis.call('HGET', at.command, 'revision') or '0') ~= revision then
    return 'changed'
  end

  if #drained > 0 then
    if redis.call('XLEN', at.requests) == #drained then
      redis.call('DEL', at.requests) -- an empty stream would keep its memory
    else
      redis.call('XDEL', at.requests, unpack(drained))
      ring(KEYS[3], { who.path }) -- more has come, or there was more than one bite
    end
  end

  if decision.close then
    local command = as_map(redis.call('HGETALL', at.command))
    -- Its requests are told apart by compaction: some end here, some go on in the next command.
    local served = command.request_ids
    command.request_ids, command.stop_ids = '', nil
    close(at, who, command, decision.close.outcome, now, { 'reason', decision.close.reason }, served)
  end
  forget(at.open, decision.drop)
  for id, request in pairs(decision.keep) do
    redis.call('HSET', at.open, id, request)
  end

  if decision.install then
    if revision ~= '0' then
      redis.call('DEL', at.command)
    end
    redis.call('HSET', at.command, 'revision', tonumber(revision) + 1, unpack(decision.fields))
    nudged[#nudged + 1] = who.path
    if decision.install.request_ids == '' then
      redis.call('EXPIRE', at.command, WEEK_SECONDS) -- a stop that nobody asked for must not wait for ever
    end
  elseif #drained > 0 or #decision.events > 0 or decision.close then
    -- Every step that ends or moves a request is counted: a second merger with the same reading must not repeat it.
    redis.call('HINCRBY', at.command, 'revision', 1)
    for name, value in pairs(decision.update) do
      redis.call('HSET', at.command, name, value)
    end
    if redis.call('HEXISTS', at.command, 'id') == 0 then
      redis.call('EXPIRE', at.command, WEEK_SECONDS) -- no command was ever installed: only the counter is here
    end
  end

  for _, event in ipairs(decision.events) do
    local extras = event.reason and { 'reason', event.reason } or nil
    emit(at.results, who, event.state, now, event.command_id, event.generation, event.request_ids, extras)
  end
  if decision.wake_at then
    wake[#wake + 1] = decision.wake_at
    wake[#wake + 1] = who.path
  else
    redis.call('ZREM', at.deadlines, who.path)
  end
  return 'stored'
end

local answers = {}
for number, host in ipairs(cjson.decode(ARGV[4])) do
  local path, revision, drained, decision = unpack(host)
  local at = {
    command = KEYS[5] .. path, open = KEYS[6] .. path, requests = KEYS[7] .. path, history = KEYS[8] .. path,
    results = KEYS[1], deadlines = KEYS[2], taken = KEYS[4],
  }
  answers[number] = for_one_host(settle, at, host_at(path), revision, drained, decisions[decision])
end
if #wake > 0 then
  redis.call('ZADD', KEYS[2], unpack(wake))
end
if #nudged > 0 then
  redis.call('SPUBLISH', ARGV[2], table.concat(nudged, ' '))
end
return answers
