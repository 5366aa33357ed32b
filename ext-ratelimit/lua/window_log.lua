-- Included by the scripts that count. The exact log of a SLIDING_WINDOW.
--
-- Log: a zset whose scores are all 0, so that it is ordered by member: '>I6c16d' = Unix ms, reservation id, amount.
-- Header, the bucket's state: '<dddd' = total of the log, no entry is older than, newest entry, when both keys
-- expire (0: not set yet): never before the newest entry has left the window.
-- Why not one packed string: its copies cost 9 us of CPU at 60 entries but 60 at 1000 and 350 at 10 000; this costs 9
-- to 11 at any size (measured on Redis 7.0, whole command).
-- The total stops at TOTAL_MAX; from there it cannot be subtracted from and is counted anew.
local ENTRY, PAGE, TOTAL_MAX = '>I6c16d', 16, 9007199254740991

-- The total of a log, counted.
local function recount(log)
  local total = 0
  for _, entry in ipairs(redis.call('ZRANGE', log, 0, -1)) do
    local _, _, amount = struct.unpack(ENTRY, entry)
    total = total + amount
    if total >= TOTAL_MAX then return TOTAL_MAX end
  end
  return total
end

-- Drops entries at or before `cutoff`. Answers the header's four fields.
local function forget(log, total, newest, life, cutoff)
  if newest <= cutoff then
    redis.call('UNLINK', log)
    return 0, 0, 0, 0
  end
  local full = total >= TOTAL_MAX
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
    if oldest then return full and recount(log) or total, oldest, newest, life end
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
  if total > TOTAL_MAX then total = TOTAL_MAX end
  return total, oldest, newest, life
end
