-- Put before every script that changes a command's state.
-- KEYS   none of its own
-- ARGV   none of its own
-- Gives  local functions: as_map, for_one_host, words, host_of, host_at, forget, emit, tell, contest, begin, close, ring,
--        ring_if_open

local WEEK_SECONDS, HOUR_SECONDS = 604800, 3600

-- A flat reply (name, value, name, value) as a table.
local function as_map(flat)
  local map = {}
  for i = 1, #flat, 2 do
    map[flat[i]] = flat[i + 1]
  end
  return map
end

-- Do something for one host of several. A key of the wrong type is that host's trouble alone: what the server says of it
-- is the answer. Anything else (no memory, no disk) is everybody's, and ends the script.
local function for_one_host(step, ...)
  local is_done, answer = pcall(step, ...)
  if is_done then
    return answer
  end
  local reason = type(answer) == 'table' and answer.err or tostring(answer)
  if not string.find(reason, 'WRONGTYPE', 1, true) then
    error({ err = reason }) -- as the server begins it ("OOM ..."): a text would get a word of its own before it
  end
  return reason
end

-- A text of ids parted by blanks, as a list.
local function words(text)
  local list = {}
  for word in string.gmatch(text or '', '%S+') do
    list[#list + 1] = word
  end
  return list
end

-- The host as the caller names it: path, tenant, service, host name.
local function host_of(path, tenant, service, hostname)
  return { path = path, tenant = tenant, service = service, hostname = hostname }
end

-- The host that a path names: three parts, percent-encoded.
local function host_at(path)
  local tenant, service, hostname = string.match(path, '^([^/]+)/([^/]+)/([^/]+)$')
  if string.find(path, '%', 1, true) then
    local function decoded(part)
      return (string.gsub(part, '%%(%x%x)', function(code)
        return string.char(tonumber(code, 16))
      end))
    end
    tenant, service, hostname = decoded(tenant), decoded(service), decoded(hostname)
  end
  return host_of(path, tenant, service, hostname)
end

-- Take requests from the open ones; one by one, as unpack() gives up on some thousands.
local function forget(open, ids)
  for _, id in ipairs(ids) do
    redis.call('HDEL', open, id)
  end
end

-- Append one change of state to the results stream. request_ids: parted by blanks. extras: name, value, name, value.
local function emit(results, who, state, now, command_id, generation, request_ids, extras)
  local event = {
    'v', '1', 'state', state, 'tenant', who.tenant, 'service', who.service, 'hostname', who.hostname,
    'command_id', command_id or '', 'generation', tostring(generation or 0), 'request_ids', request_ids or '',
    'at', now,
  }
  for _, value in ipairs(extras or {}) do
    event[#event + 1] = value
  end
  redis.call('XADD', results, '*', unpack(event))
end

-- Append one fact of the fleet to the events stream. who: as host_of gives; without a host name it is about the service.
-- extras: name, value, name, value
local function tell(events, who, kind, now, extras)
  local event = {
    'v', '1', 'kind', kind, 'tenant', who.tenant, 'service', who.service, 'hostname', who.hostname or '', 'at', now,
  }
  for _, value in ipairs(extras or {}) do
    event[#event + 1] = value
  end
  redis.call('XADD', events, '*', unpack(event))
end

-- Whether a credential may not speak for a host, and what its owner is to be from now on.
-- The first token that beats for a host owns it. owner: as stored, "s:" (a token for many hosts) or "e:" (one bought for
-- this host alone) before the token's id, or false. by: id, claim ("s", "e", or "" for one that owns nothing), fault (why
-- it may not, whoever owns the host), asked ("1" when the owner was looked up), ended (an owner whose token has ended).
-- Gives the reason or nil, and the new owner or nil. A host's conflict is told once in ten minutes, told says when.
-- path: of the host, which is taken apart only where something is told: every heartbeat comes by here.
local function contest(owner, by, path, now, events, told)
  if by.id == '' then
    return nil
  end
  local held, holder = string.sub(owner or '', 1, 1), string.sub(owner or '', 3)
  local reason
  if by.fault ~= '' then
    reason = by.fault
  elseif not owner or holder == by.id or holder == by.ended or (held == 's' and by.claim == 'e') then
    local mine = by.claim ~= '' and by.claim .. ':' .. by.id or nil
    return nil, mine ~= owner and mine or nil
  elseif held == 's' and by.claim == '' then
    return nil
  else
    reason = 'the host belongs to another token'
    if by.asked ~= '1' then
      return reason -- whoever asks looks up whether that token has ended, and comes again
    end
  end
  if redis.call('SET', told, now, 'NX', 'EX', 600) then
    tell(events, host_at(path), 'credential_conflict', now, { 'credential', by.id, 'owner', holder, 'reason', reason })
  end
  return reason
end

-- The run of the effective command has begun; limit (ms): how long it may take until compaction looks, nil for ever.
-- The stops that it carries have taken effect with it: their pids are no longer profiled.
local function begin(at, who, command, now, limit)
  redis.call('HSET', at.command, 'state', 'running', 'running_at', now)
  redis.call('HINCRBY', at.command, 'revision', 1)
  redis.call('ZADD', at.taken, now, who.path)
  if limit then
    redis.call('ZADD', at.deadlines, 'LT', tonumber(now) + tonumber(limit), who.path)
  end
  emit(at.results, who, 'running', now, command.id, command.generation, command.request_ids)
  local stops = words(command.stop_ids)
  if #stops > 0 then
    redis.call('HDEL', at.command, 'stop_ids')
    forget(at.open, stops)
    emit(at.results, who, 'completed', now, command.id, command.generation, command.stop_ids)
  end
end

-- Ring for some hosts, by their paths: a few share an entry, as reading and acking each costs as much as the host itself.
local function ring(doorbell, paths)
  for first = 1, #paths, 50 do
    local some = table.concat(paths, ' ', first, math.min(first + 49, #paths))
    redis.call('XADD', doorbell, '*', 'hosts', some)
  end
end

-- Compaction has more to do for this host: requests that wait for another mode, or came meanwhile.
local function ring_if_open(open, requests, doorbell, path)
  if redis.call('HLEN', open) > 0 or redis.call('EXISTS', requests) == 1 then
    ring(doorbell, { path })
  end
end

-- End the effective command: its requests leave the open ones, history and results hear of it. The command stays as it
-- is, ended, so that its generation is known and a repeated completion finds it.
-- served: the requests it worked for, for the record; they may go on in another command.
local function close(at, who, command, outcome, now, extras, served)
  local ids = words((command.request_ids or '') .. ' ' .. (command.stop_ids or ''))
  forget(at.open, ids)
  redis.call('HSET', at.command, 'state', outcome, 'ended_at', now, 'request_ids', '')
  redis.call('HDEL', at.command, 'stop_ids')
  redis.call('HINCRBY', at.command, 'revision', 1)
  redis.call('EXPIRE', at.command, WEEK_SECONDS)
  redis.call('ZREM', at.deadlines, who.path)
  redis.call('ZREM', at.taken, who.path)
  redis.call('XADD', at.history, 'MAXLEN', 100, '*', 'command_id', command.id, 'generation', command.generation,
    'type', command.type, 'outcome', outcome, 'at', now, 'served', served or table.concat(ids, ' '))
  redis.call('EXPIRE', at.history, WEEK_SECONDS)
  emit(at.results, who, outcome, now, command.id, command.generation, table.concat(ids, ' '), extras)
end
