-- Included by the scripts that count. The exact log of a SLIDING_WINDOW.
--
-- Log: a zset whose scores are all 0, so that it is ordered by member: '>I6c16d' = Unix ms, reservation id, amount.
-- Header, the bucket's state: '<dddd' = total of the log, no entry is older than, newest entry, the log lives until
-- (0: no TTL known). A header is gone only when its whole log has left the window; a log may outlive it.
local ENTRY, PAGE = '>I6c16d', 16

-- Drops entries at or before `cutoff`. Answers the header's four fields.
local function forget(log, total, newest, life, cutoff)
  if newest <= cutoff then
    redis.call('UNLINK', log)
    return 0, 0, 0, 0
  end
  while true do
    local entries = redis.call('ZRANGE', log, 0, PAGE - 1)
    local gone, oldest = 0, nil
    for i = 1, #entries do
      local at, _, amount = struct.unpack(ENTRY, entries[i])
      if at > cutoff then
        oldest = at
        break
      end
      total = total - amount
      gone = i
    end
    if gone > 0 then redis.call('ZREMRANGEBYRANK', log, 0, gone - 1) end
    if oldest then return total, oldest, newest, life end
    if #entries == 0 then return 0, 0, 0, 0 end
  end
end

-- Milliseconds until entries of at least `units` have left the window.
local function wait_log_ms(log, units, window, now)
  local from = 0
  while true do
    local entries = redis.call('ZRANGE', log, from, from + PAGE - 1)
    if #entries == 0 then return 0 end
    for i = 1, #entries do
      local at, _, amount = struct.unpack(ENTRY, entries[i])
      units = units - amount
      if units <= 0 then return at + window - now end
    end
    from = from + PAGE
  end
end

-- Adds an entry. Answers the header's four fields.
local function push(log, total, oldest, newest, life, at, id, amount, window, now)
  if newest == 0 then redis.call('UNLINK', log) end
  redis.call('ZADD', log, '0', struct.pack(ENTRY, at, id, amount))
  if life < now + window then
    life = now + 2 * window
    redis.call('PEXPIREAT', log, life)
  end
  if newest == 0 or at < oldest then oldest = at end
  if at > newest then newest = at end
  total = total + amount
  if total > 9007199254740991 then total = 9007199254740991 end
  return total, oldest, newest, life
end
