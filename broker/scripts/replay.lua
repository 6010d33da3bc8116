-- Replay a dead letter, once. What was done is remembered beside it, so that a repeated call gets the same answer.
-- A doorbell's letter rings again and is gone. A command's letter is claimed for one new request, and stays until that
-- request is appended: `done` takes it away then.
-- KEYS   1 dead letters, 2 what was done, 3 doorbell
-- ARGV   1 entry id, 2 what to remember (JSON), 3 for how long (s), 4 "ring", "claim" or "done"
-- Gives  what is remembered, of this call or of an earlier one | "" when there is no such letter

local before = redis.call('GET', KEYS[2])
local letter = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if ARGV[4] == 'done' then
  redis.call('XDEL', KEYS[1], ARGV[1])
  return before or ''
end
if before then
  return before
end
if not letter then
  return ''
end
redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3])
if ARGV[4] == 'ring' then
  local path = ''
  for i = 1, #letter[2], 2 do
    if letter[2][i] == 'host' then
      path = letter[2][i + 1]
    end
  end
  redis.call('XDEL', KEYS[1], ARGV[1])
  redis.call('XADD', KEYS[3], '*', 'hosts', path)
end
return ARGV[2]
