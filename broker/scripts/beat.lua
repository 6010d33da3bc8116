-- Some heartbeats, of one partition or, on a single server, of several: remember each host, take its acks, hand out the
-- command it has not acked. No host is of two partitions.
-- KEYS   of each partition in turn: 1 beats, 2 results, 3 deadlines, 4 doorbell, 5 taken, 6 events, 7 dead letters, then of
--        a place without a path, with a host's path behind those of that host: 8 host, 9 command, 10 open requests,
--        11 history, 12 requests, 13 inventory, 14 conflict told
-- ARGV   1 now (ms), 2 most attempts, 3 MessagePack: of each host a list of its path, whether the run has begun, last
--        command id, after how much silence (ms) a beat is a return, the agent's own time, the digest of what to remember
--        of the host, that of the inventory it carries ("" for none), the credential (token id, claim, fault, whether its
--        owner was asked, ended owner: see contest), the words to remember (name, value, name, value) or
--        false where they are remembered already, received ids, executed ids, which of the partitions above (0 for the
--        first), whether a host that nobody knows may be remembered
-- Gives  of each host: {generation, wanted}, when there is nothing new | {command id, generation, attempt, command (JSON),
--        wanted}; wanted is 1 when the inventory that is kept is another one, or none
--        | {"contested", owner, reason}: this credential may not speak for the host, and nothing was done
--        | {"new"}: nothing was done, as nobody knows this host and it may not be remembered yet
--        | {"tell"}: nothing was done, as what to remember is not what is remembered: send the words | what the server
--        says of a key of another type

local now, most_attempts = ARGV[1], tonumber(ARGV[2])
local KEYS_OF_EACH = 14
local first, beats, results, deadlines, doorbell, taken, events, dead_letters

-- Take the keys of this partition from here on.
local function turn_to(partition)
  first = partition * KEYS_OF_EACH
  beats, results, deadlines, doorbell, taken, events, dead_letters = unpack(KEYS, first + 1, first + 7)
end

-- Whether one of these ids is this one.
local function names(ids, id)
  for i = 1, #ids do
    if ids[i] == id then
      return true
    end
  end
  return false
end

-- Remember what was heard of a host, of which this was known; false where that would take the words and they were not sent.
local function remember(host, path, heard, known, new_owner)
  if heard.words then
    redis.call('HSET', host, 'last_beat', now, 'agent_time', heard.agent_time, 'digest', heard.digest,
      unpack(heard.words))
  elseif known.digest ~= heard.digest then
    return false
  else
    redis.call('HSET', host, 'last_beat', now, 'agent_time', heard.agent_time)
  end
  -- Written to the disk each time, so not at each beat.
  if heard.words or tonumber(now) - tonumber(known.renewed_at or 0) > HOUR_SECONDS * 1000 then
    redis.call('HSET', host, 'renewed_at', now)
    redis.call('EXPIRE', host, WEEK_SECONDS)
  end
  if new_owner then
    redis.call('HSET', host, 'owner', new_owner)
  end
  -- The set keeps a host longer than its own key is kept.
  local last_beat = known.last_beat or redis.call('ZSCORE', beats, path)
  if redis.call('ZADD', beats, now, path) == 1 then
    tell(events, host_at(path), 'host_joined', now)
  elseif last_beat and tonumber(now) - tonumber(last_beat) > heard.silent_after then
    tell(events, host_at(path), 'host_returned', now, { 'silent_since', last_beat })
  end
  return true
end

-- Take the acks for the effective command, and hand it out if it is not acked.
local function exchange(path, heard)
  local at = { command = KEYS[first + 9] .. path, results = results, deadlines = deadlines, taken = taken }
  local known = redis.call('HMGET', at.command, 'state', 'generation', 'back_at_work')
  local state, generation = known[1], tonumber(known[2] or 0)
  if state == 'lost' and heard.has_begun and not known[3] then
    -- Given up on, and at work all the same, by its own word: compaction is to see that it is told to stop.
    redis.call('HSET', at.command, 'back_at_work', '1')
    redis.call('HINCRBY', at.command, 'revision', 1)
    ring(doorbell, { path })
  end
  if not (state == 'pending' or state == 'delivered' or state == 'received' or state == 'running') then
    return generation
  end
  at.open, at.history, at.requests = KEYS[first + 10] .. path, KEYS[first + 11] .. path, KEYS[first + 12] .. path
  local who = host_at(path)
  local command = as_map(redis.call('HGETALL', at.command))
  local id = command.id

  local function move(to)
    redis.call('HSET', at.command, 'state', to, to .. '_at', now)
    redis.call('HINCRBY', at.command, 'revision', 1)
    redis.call('ZADD', at.taken, now, path)
    emit(at.results, who, to, now, id, generation, command.request_ids)
    state = to
  end

  local is_executed = names(heard.executed, id)
  local is_named = heard.last_id == id or is_executed or names(heard.received, id)
  if command.type == 'stop' then
    -- A stop has been carried out once the agent names it as its last or as executed.
    if heard.last_id == id or is_executed then
      close(at, who, command, 'completed', now)
      ring_if_open(at.open, at.requests, doorbell, path)
      return generation
    end
    if is_named then
      if state ~= 'received' then
        move('received')
      end
      -- It has the stop and is at work on it: give it a moment before offering it again.
      if tonumber(now) - tonumber(command.delivered_at or 0) < 5000 then
        return generation
      end
    end
  elseif is_named or state == 'received' or state == 'running' then
    if state == 'pending' or state == 'delivered' then
      move('received')
    end
    if heard.has_begun and heard.last_id == id and state == 'received' then
      begin(at, who, command, now, command.run_for_ms)
    end
    return generation
  end

  local attempt = tonumber(command.attempts or 0) + 1
  if attempt > most_attempts then
    local reason = 'handed out ' .. most_attempts .. ' times without an ack'
    redis.call('XADD', dead_letters, 'MAXLEN', 10000, '*', 'v', '1', 'kind', 'command', 'host', path, 'reason', reason,
      'attempts', attempt - 1, 'at', now, 'command_id', id, 'generation', generation,
      'request_ids', (command.request_ids or '') .. ' ' .. (command.stop_ids or ''), 'command', command.reply)
    close(at, who, command, 'undeliverable', now, { 'reason', reason })
    ring_if_open(at.open, at.requests, doorbell, path)
    return generation
  end
  redis.call('HSET', at.command, 'attempts', attempt, 'delivered_at', now)
  redis.call('HINCRBY', at.command, 'revision', 1)
  if state == 'pending' then
    redis.call('HSET', at.command, 'state', 'delivered')
    redis.call('ZADD', at.taken, now, path)
    emit(at.results, who, 'delivered', now, id, generation, command.request_ids, { 'attempt', tostring(attempt) })
  end
  return { id, generation, attempt, command.reply }
end

-- 1 when the inventory that is kept is not the one the host carries, or there is none; what is kept is kept on.
local function wanted(kept, inventory, digest)
  local left = redis.call('TTL', inventory)
  if left == -2 then
    return 1
  end
  if left < WEEK_SECONDS - HOUR_SECONDS then
    redis.call('EXPIRE', inventory, WEEK_SECONDS)
  end
  return digest ~= '' and kept ~= digest and 1 or 0
end

local function beat(path, heard)
  local host = KEYS[first + 8] .. path
  local said = redis.call('HMGET', host, 'owner', 'digest', 'last_beat', 'renewed_at', 'inventory')
  local known = { digest = said[2], last_beat = said[3], renewed_at = said[4], inventory = said[5] }
  local reason, new_owner = contest(said[1], heard.by, path, now, events, KEYS[first + 14] .. path)
  if reason then
    return { 'contested', string.sub(said[1] or '', 3), reason }
  end
  if not heard.may_join and not known.last_beat and not redis.call('ZSCORE', beats, path) then
    return { 'new' }
  end
  if not remember(host, path, heard, known, new_owner) then
    return { 'tell' }
  end
  local is_wanted = wanted(known.inventory, KEYS[first + 13] .. path, heard.inventory)
  local given = exchange(path, heard)
  if type(given) == 'number' then
    return { given, is_wanted }
  end
  given[5] = is_wanted
  return given
end

local answers, partition = {}, nil
for _, said in ipairs(cmsgpack.unpack(ARGV[3])) do
  if said[16] ~= partition then
    partition = said[16]
    turn_to(partition)
  end
  local heard = {
    has_begun = said[2], last_id = said[3], silent_after = said[4], agent_time = said[5], digest = said[6],
    inventory = said[7],
    by = { id = said[8], claim = said[9], fault = said[10], asked = said[11] and '1' or '0', ended = said[12] },
    words = said[13], received = said[14], executed = said[15], may_join = said[17],
  }
  answers[#answers + 1] = for_one_host(beat, said[1], heard)
end
return answers
