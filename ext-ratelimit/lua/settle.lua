#!lua
-- Resolves reservations with what was really used, or releases them, or charges them as if they had expired. Always writes, also below zero and beyond limits.
--
-- KEYS  1 held      hash: reservation id -> record of an open reservation
--       2 open      zset: reservation id by expiry (Unix ms)
--       3 expired   hash: reservation id -> what is charged and waits to be published
--       4..         the `resolved` hashes of the ids, then buckets, then logs, as the header counts them
-- ARGV  1 '<BdHHH': mode (0 settle, 1 release, 2 charge), how long resolved ids are remembered (ms), number of settlements,
--         of `resolved` hashes, of buckets
--       2 settlements, one after the other: '<HdHI4': index in KEYS of the id's `resolved` hash, end of its slot
--         (Unix ms), number of amounts, number of the report (0: it resolves); then per amount '<BBHHdddddd': meter
--         (0 token bucket, 1 sliding window, 2 fixed window), 1 if the amount was held until settled, index of the
--         bucket, index of the log, held amount, actual amount, start of the window (fixed) or time of the entry
--         (sliding) (Unix ms), and
--           token bucket:   limit, rate (thousandths of a unit per s); then what a report gives back
--           sliding window: window ms, 0; then 0, for there are no reports on it
--           fixed window:   end of that window, when its state may go (Unix ms); then what a report gives back
--       3.. reservation ids, 16 bytes, in the same order
-- Reply one byte per settlement: 1 applied, 2 duplicate, 3 replaced the charge of an expired reservation (said again
--       when it comes again), 4 a report on other amounts than those reserved.
-- Atomic: everything. An id is resolved once, in this batch or in an earlier one. Figures of reports are totals: what
-- the record says of the report before is what they are compared with.

-- include: clock.lua
-- include: meters.lua
-- include: window_log.lua

-- Added to a record's state when its reports follow.
local REPORTED = 16

local KEYS, ARGV = KEYS, ARGV
local call, pack, unpack_s, sub, find = redis.call, struct.pack, struct.unpack, string.sub, string.find

-- 1. Read: the clock, the records, every state.
local mode, memory, count, slots, buckets = unpack_s('<BdHHH', ARGV[1])
local now = now_ms()
local open = call('HMGET', KEYS[1], unpack(ARGV, 3, 2 + count))
local first_bucket = 4 + slots
local states = buckets > 0 and call('MGET', unpack(KEYS, first_bucket, first_bucket + buckets - 1)) or {}

-- 2. Apply to copies. A bucket's copy lives in `touched` by its index in KEYS, with `expire` as SET wants it.
local touched, resolved, writes, gone = {}, {}, {}, {}
-- Records that reports changed, by id, and the end of the slot of those that are not open.
local changed, homes = {}, {}
local status = {}

local function token_bucket(bucket, charged, returned, limit, rate)
  local copy = touched[bucket]
  if not copy then
    copy = { limit, 0, now, 0 }
    local state = states[bucket - first_bucket + 1]
    if state then
      local level, frac, seen, life = unpack_s('<dddd', state)
      copy[4] = life
      copy[1], copy[2] = refill(level, frac, now > seen and now - seen or 0, rate, limit)
    end
    copy.format = '<dddd'
    touched[bucket] = copy
  end
  -- In the order in which every sum below 2^53 is exact: what is larger is beyond one of the bounds.
  local level = copy[1] < 0 and copy[1] + returned - charged or copy[1] - charged + returned
  if level >= limit then
    level, copy[2] = limit, 0
  end
  if level < -MAX then level = -MAX end
  copy[1] = level
  local full_at = now + wait_ms(limit - level, copy[2], rate) + 1000
  if full_at > copy[4] then copy[4], copy.expires_at = full_at, full_at end
end

local function sliding_window(bucket, log, id, known, amount, actual, at, window)
  local copy = touched[bucket]
  if not copy then
    copy = { 0, 0, 0, 0 }
    local state = states[bucket - first_bucket + 1]
    if state then
      local total, oldest, newest, life = unpack_s('<dddd', state)
      if newest > 0 and oldest <= now - window then
        total, oldest, newest, life = forget(log, total, newest, life, now - window)
      end
      copy[1], copy[2], copy[3], copy[4] = total, oldest, newest, life
    end
    copy.format, copy.log = '<dddd', true
    touched[bucket] = copy
  end
  local life = copy[4]
  if at > now then at = now end
  if at > now - window then
    if known and copy[3] > 0 and call('ZREM', log, pack(ENTRY, at, id, amount)) == 1 then
      copy[1] = copy[1] >= TOTAL_MAX and recount(log) or copy[1] - amount
      local last = call('ZRANGE', log, -1, -1)[1]
      if last then
        copy[3] = unpack_s('>I6', last)
      else
        copy[1], copy[2], copy[3], copy[4] = 0, 0, 0, 0
      end
    end
    if actual > 0 then
      copy[1], copy[2], copy[3], copy[4] =
        push(log, copy[1], copy[2], copy[3], copy[4], at, id, actual, window, now)
    end
  end
  if copy[4] ~= life then copy.expires_at = copy[4] end
end

local function fixed_window(bucket, held, released, charged, start, finish, life)
  local copy = touched[bucket]
  if not copy then
    local state = states[bucket - first_bucket + 1]
    copy = state and { unpack_s('<dddddd', state) } or { start, 0, 0, -1, 0, 0 }
    copy.format, copy.expires_at = '<dddddd', not state and life or nil
    touched[bucket] = copy
  end
  if start > copy[1] then copy.expires_at = life end
  local slot = slot_of(copy, start)
  if not slot then return end
  -- What was held until now goes back: from `reserved` while open, else from `spent`.
  if held then
    copy[slot + 2] = math.max(copy[slot + 2] - released, 0)
  else
    copy[slot + 1] = math.max(copy[slot + 1] - released, 0)
  end
  copy[slot + 1] = math.max(math.min(copy[slot + 1] + charged, MAX), 0)
end

local function writes_of(slot, slot_end)
  local write = writes[slot]
  if not write then
    write = { life = math.max(now, slot_end) + memory }
    writes[slot] = write
  end
  return write
end

local position = 1
for i = 1, count do
  local id = ARGV[2 + i]
  local slot, slot_end, amounts, part
  slot, slot_end, amounts, part, position = unpack_s('<HdHI4', ARGV[2], position)
  local record = changed[id] or open[i]
  if not record and not resolved[id] then record = call('HGET', KEYS[slot], id) end
  -- 0 open, 1 admitted with nothing to settle, 2 settled or released, 3 reported on but never seen, 4 expired and
  -- charged, 5 settled or released after that, -1 never seen
  local was, reply_len, body, skipped, charges = -1, 0, '', '', ''
  local last, sums, sums_count = 0, {}, nil
  if resolved[id] then
    was = resolved[id]
  elseif record then
    local skipped_len, at
    was, reply_len, skipped_len, at = unpack_s('<BHH', record)
    body = sub(record, at, at + reply_len + skipped_len - 1)
    skipped = sub(body, reply_len + 1)
    at = at + #body
    if reply_len > 0 then sums_count = (reply_len - 9) / 25 end
    if was >= REPORTED then
      was = was - REPORTED
      last, sums_count, at = unpack_s('<I4H', record, at)
      for j = 1, 2 * sums_count do sums[j], at = unpack_s('<d', record, at) end
    end
    if part > 0 then charges = sub(record, at) end
  end
  if was == 2 or was == 5 or part > 0 and part <= last or mode == 2 and was == 4 then
    status[i] = was == 5 and part == 0 and mode < 2 and 3 or 2
    position = position + amounts * 54
  elseif part > 0 and sums_count and sums_count ~= amounts then
    status[i] = 4
    position = position + amounts * 54
  else
    status[i] = was == 4 and part == 0 and 3 or 1
    for j = 1, amounts do
      local meter, held, bucket, log, amount, actual, start, p1, p2, returned
      meter, held, bucket, log, amount, actual, start, p1, p2, returned, position =
        unpack_s('<BBHHdddddd', ARGV[2], position)
      if mode == 1 then actual = 0 end
      local before, used = sums[2 * j - 1] or 0, sums[2 * j] or 0
      -- What expired was charged whole, and stays so until the last word replaces it.
      local after = part > 0 and was == 4 and before or math.max(part > 0 and returned or amount, before)
      if part > 0 then sums[2 * j - 1], sums[2 * j] = after, actual end
      if skipped == '' or not find(skipped, KEYS[bucket] .. '\n', 1, true) then
        local seen = was >= 0 and was ~= 3
        local taken = seen and after - before or 0
        if meter == 0 then
          token_bucket(bucket, actual - used, taken, p1, p2)
        elseif meter == 1 then
          sliding_window(bucket, KEYS[log], id, seen, amount, actual, start, p1)
        else
          fixed_window(bucket, held == 1 and was == 0, taken, actual - used, start, p1, p2)
        end
      end
    end
    if part > 0 then
      changed[id] = pack('<BHH', (was < 0 and 3 or was) + REPORTED, reply_len, #skipped)
        .. body .. pack('<I4H', part, amounts) .. pack('<' .. string.rep('d', 2 * amounts), unpack(sums)) .. charges
      homes[id] = was ~= 0 and { slot, slot_end } or nil
    else
      resolved[id], changed[id] = mode == 2 and 4 or was == 4 and 5 or 2, nil
      if was == 0 then gone[#gone + 1] = id end
      -- A charge that nobody has heard of yet need not be taken back from anywhere.
      if was == 4 then call('HDEL', KEYS[3], id) end
      local write = writes_of(slot, slot_end)
      write[#write + 1], write[#write + 2] = id, pack('<BHH', resolved[id], reply_len, #skipped) .. body
    end
  end
end

-- 3. Write all.
for bucket, copy in pairs(touched) do
  if copy.log and copy[3] == 0 then
    call('DEL', KEYS[bucket])
  else
    local state = pack(copy.format, unpack(copy))
    if not copy.expires_at then
      call('SET', KEYS[bucket], state, 'KEEPTTL')
    elseif copy.expires_at >= MAX then
      call('SET', KEYS[bucket], state)
    else
      call('SET', KEYS[bucket], state, 'PXAT', copy.expires_at)
    end
  end
end
for id, record in pairs(changed) do
  local home = homes[id]
  if home then
    local write = writes_of(home[1], home[2])
    write[#write + 1], write[#write + 2] = id, record
  else
    call('HSET', KEYS[1], id, record)
  end
end
if #gone > 0 then
  call('HDEL', KEYS[1], unpack(gone))
  call('ZREM', KEYS[2], unpack(gone))
end
for slot, write in pairs(writes) do
  call('HSET', KEYS[slot], unpack(write))
  call('PEXPIREAT', KEYS[slot], write.life, 'NX')
end
return string.char(unpack(status))
