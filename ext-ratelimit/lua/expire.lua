#!lua
-- Charges reservations that nobody resolved in time, in full, and notes them for publishing.
--
-- KEYS  1 held      hash: reservation id -> record of an open reservation
--       2 open      zset: reservation id by expiry (Unix ms)
--       3 expired   hash: reservation id -> '<d' when it expired (Unix ms), then its record
--       4..         the `resolved` hashes of the ids, and the buckets of their FIXED_WINDOW quotas
-- ARGV  1 how long resolved ids are remembered (ms)
--       2.. per reservation '<c16HdHI4': id, index in KEYS of its `resolved` hash, end of that slot (Unix ms), number
--         of amounts held in fixed windows, last report that its record knows; then per amount '<Hddd': index of the bucket, what is still held, start of the
--         window, when a state made anew may go (Unix ms)
-- Reply number of reservations charged: those still open, still due, and not reported on since they were read.
-- Atomic: everything; a reservation is charged and noted, or neither. Token buckets and sliding windows were charged
-- when the reservation was made.

-- include: clock.lua
-- include: meters.lua

-- 1. Read: the clock, and per reservation whether it is still due.
-- Added to a record's state when its reports follow.
local REPORTED = 16
local call, unpack_s = redis.call, struct.unpack
local memory = tonumber(ARGV[1])
local now = now_ms()
local charged = 0
for i = 2, #ARGV do
  local id, slot, slot_end, amounts, part, position = unpack_s('<c16HdHI4', ARGV[i])
  local expiry = call('ZSCORE', KEYS[2], id)
  local record = call('HGET', KEYS[1], id)
  local state, reply_len, skipped_len, at = nil, 0, 0, 0
  local last, reports = 0, ''
  if record then
    state, reply_len, skipped_len, at = unpack_s('<BHH', record)
    if state >= REPORTED then
      local from, count = at + reply_len + skipped_len, nil
      last, count = unpack_s('<I4H', record, from)
      reports = string.sub(record, from, from + 5 + 16 * count)
    end
  end
  if expiry and not record then
    call('ZREM', KEYS[2], id)
  elseif expiry and tonumber(expiry) <= now and part == last then
    -- 2. Move what is held to what is spent. A bucket that was emptied meanwhile is charged all the same.
    for _ = 1, amounts do
      local bucket, amount, start, life
      bucket, amount, start, life, position = unpack_s('<Hddd', ARGV[i], position)
      local state = call('GET', KEYS[bucket])
      local window = state and { unpack_s('<dddddd', state) } or { start, 0, 0, -1, 0, 0 }
      local at = slot_of(window, start)
      if at then
        window[at + 1] = math.min(window[at + 1] + amount, MAX)
        window[at + 2] = math.max(window[at + 2] - amount, 0)
        local packed = struct.pack('<dddddd', unpack(window))
        if state then
          call('SET', KEYS[bucket], packed, 'KEEPTTL')
        elseif life >= MAX then
          call('SET', KEYS[bucket], packed)
        else
          call('SET', KEYS[bucket], packed, 'PXAT', life)
        end
      end
    end
    -- 3. Resolve it, and note it for publishing.
    call('HDEL', KEYS[1], id)
    call('ZREM', KEYS[2], id)
    call('HSET', KEYS[slot], id, struct.pack('<BHH', last > 0 and 4 + REPORTED or 4, reply_len, skipped_len)
      .. string.sub(record, at, at + reply_len + skipped_len - 1) .. reports)
    call('PEXPIREAT', KEYS[slot], math.max(now, slot_end) + memory, 'NX')
    call('HSET', KEYS[3], id, struct.pack('<d', now) .. record)
    charged = charged + 1
  end
end
return charged
