#!lua
-- Checks all quotas of one request and takes from all of them, or from none.
--
-- KEYS  1 held      hash: reservation id -> record of an open reservation
--       2 open      zset: reservation id by expiry (Unix ms)
--       3 resolved  hash: reservation id -> record of a reservation that needs nothing more; '' once it has a TTL
--       4..         one bucket per quota, in order; then the mark: until when the workspace's buckets were known to be
--                   whole, '<d' (Unix ms); then one log per SLIDING_WINDOW quota, in order
-- ARGV  1 reservation id, 16 bytes
--       2 '<BdddHd': kind (0 nothing to settle, 1 opens a reservation, 2 only look), ttl ms, end of the id's
--         `resolved` slot (Unix ms), how long resolved ids are remembered (ms), number of quotas, how old the mark may
--         be (Unix ms; -1: it is not asked for)
--       3 charges: what the sweeper must know of these quotas; opaque here
--       4.. per quota '<BBBddddddd': meter (0 token bucket, 1 sliding window, 2 fixed window),
--         mode (0 enforce, 1 shadow and taken only when it fits, 2 shadow and always taken), 1 if the amount is held
--         until settled, amount, limit, and
--           token bucket:   rate (thousandths of a unit per s), 0, 0, 0; then ms from empty to full, with slack
--           sliding window: window ms, 0, 0, 0; then 0
--           fixed window:   start of the previous, current and next window, end of the next (Unix ms); then how long
--                           the state outlives its window, ms
-- Reply '<Bd': outcome (1 admitted, 2 refused, 3 the caller's windows are not of this time, 4 the mark is missing or too
--       old), now (Unix ms); then per quota '<Bddd': 1 if this quota admits, and
--           token bucket:   spent (limit - level), ms until full, retry after ms (-1 none)
--           sliding window: total in the window, ms until empty, retry after ms (-1 none)
--           fixed window:   spent, reserved, start of the window
-- Atomic: everything. The same id twice gives the first answer and no second effect. A refused request leaves no
-- trace, so the same id is judged again.

-- include: clock.lua
-- include: meters.lua
-- include: window_log.lua

local KEYS, ARGV = KEYS, ARGV
local call, pack, unpack_s, sub = redis.call, struct.pack, struct.unpack, string.sub
local QUOTA = '<BBBddddddd'
-- The mark is written anew this often, in ms; `ledger::MARK_BEAT_MS`.
local BEAT = 1000

-- As a command's argument: Lua's own way to text is four times slower.
local function text(number) return string.format('%d', number) end

-- 1. Read: the clock, the id's record, every state.
local id = ARGV[1]
local kind, ttl, slot_end, memory, count, since = unpack_s('<BdddHd', ARGV[2])
local now = now_ms()
local looking = kind == 2
local fresh_slot = false
if not looking then
  local record = kind == 1 and call('HGET', KEYS[1], id)
  if not record then
    local found = call('HMGET', KEYS[3], id, '')
    record, fresh_slot = found[1], not found[2]
  end
  if record then
    local _, reply_len, _, at = unpack_s('<BHH', record)
    if reply_len > 0 then return sub(record, at, at + reply_len - 1) end
    -- Settled before this arrived: admitted, and nothing is taken.
    looking = true
  end
end
local states = call('MGET', unpack(KEYS, 4, since >= 0 and 4 + count or 3 + count))
if since >= 0 and not looking then
  -- Counters that were lost, or are of an older copy, would admit what was spent already.
  local mark = states[count + 1]
  mark = mark and unpack_s('<d', mark) or -1
  if mark < since then return pack('<Bd', 4, now) end
  if now - mark >= BEAT then call('SET', KEYS[4 + count], pack('<d', now)) end
end

-- 2. Check all. `out` becomes the answer; until then it holds per quota: fits, then level, frac | total | spent,
-- reserved, start. Made at its usual size: growing a table is what costs.
local out = { 1, now, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
local opened = nil -- per windowed quota: its state as a table
local admitted, stale = true, false
local log = 4 + count
for i = 1, count do
  local meter, mode, _, amount, limit, p1, p2, p3, p4 = unpack_s(QUOTA, ARGV[3 + i])
  if looking then amount = 0 end
  local at, state, fits = 4 * i - 1, states[i], nil
  if meter == 0 then
    local level, frac, life = limit, 0, 0
    if state then
      local seen
      level, frac, seen, life = unpack_s('<dddd', state)
      level, frac = refill(level, frac, now > seen and now - seen or 0, p1, limit)
    end
    out[at + 1], out[at + 2], out[at + 3] = level, frac, life
    fits = amount <= level
  elseif meter == 2 then
    local start = p2
    if now >= p1 and now < p2 then start = p1
    elseif now >= p3 and now < p4 then start = p3
    elseif now < p1 or now >= p4 then stale = true end
    local window = state and { unpack_s('<dddddd', state) } or { start, 0, 0, -1, 0, 0 }
    local slot = 1
    if start == window[4] then
      slot, window.kept = 4, true -- the clock went back over a boundary: count where it belongs
    else
      window.kept = state and start <= window[1]
      roll(window, start)
    end
    opened = opened or {}
    opened[i], window.slot = window, slot
    out[at + 1], out[at + 2], out[at + 3] = window[slot + 1], window[slot + 2], window[slot]
    fits = window[slot + 1] + window[slot + 2] + amount <= limit
  else
    log = log + 1
    local header = { 0, 0, 0, 0, log = log }
    if state then
      local total, oldest, newest, life = unpack_s('<dddd', state)
      if newest > 0 and oldest <= now - p1 then
        total, oldest, newest, life = forget(KEYS[log], total, newest, life, now - p1)
        header.trimmed = true
      end
      header[1], header[2], header[3], header[4] = total, oldest, newest, life
    end
    opened = opened or {}
    opened[i] = header
    out[at + 1] = header[1]
    fits = header[1] + amount <= limit
  end
  out[at] = (fits or looking) and 1 or 0
  if not fits and mode == 0 and not looking then admitted = false end
end
if stale then
  for i, header in pairs(opened) do
    if header.trimmed then call('SET', KEYS[3 + i], pack('<dddd', unpack(header)), 'KEEPTTL') end
  end
  return pack('<Bd', 3, now)
end

-- 3. Write all or nothing, and tell the state as it is then.
if not admitted then out[1] = 2 end
local taking = admitted and not looking
local skipped = ''
for i = 1, count do
  local meter, mode, held, amount, limit, p1, p2, p3, p4, spare = unpack_s(QUOTA, ARGV[3 + i])
  local at, key = 4 * i - 1, KEYS[3 + i]
  local fits, a, b, c = out[at] == 1, out[at + 1], out[at + 2], -1
  local taken = taking
  if taken and not fits and mode == 1 then
    taken = false
    skipped = skipped .. key .. '\n'
  end
  if meter == 0 then
    if taken then
      a = a - amount
      local life = out[at + 3]
      if life >= now + spare then
        call('SET', key, pack('<dddd', a, b, now, life), 'KEEPTTL')
      else
        life = now + 2 * spare
        call('SET', key, pack('<dddd', a, b, now, life), 'PXAT', text(life))
      end
    end
    if not fits and amount <= limit then c = wait_ms(amount - a, b, p1) end
    local spent = limit - a
    a, b = spent <= MAX and spent or MAX, wait_ms(spent, b, p1)
  elseif meter == 2 then
    c = out[at + 3]
    if taken then
      if held == 1 then
        b = b + amount
        if b > MAX then b = MAX end
      else
        a = a + amount
        if a > MAX then a = MAX end
      end
      local window = opened[i]
      window[window.slot + 1], window[window.slot + 2] = a, b
      local packed = pack('<dddddd', unpack(window))
      local finish = c == p2 and p3 or c == p1 and p2 or p4
      if window.kept then
        call('SET', key, packed, 'KEEPTTL')
      elseif finish >= MAX then
        call('SET', key, packed)
      else
        call('SET', key, packed, 'PXAT', text(finish + spare))
      end
    end
  else
    local header = opened[i]
    local log_key = KEYS[header.log]
    if taken and amount > 0 then
      local life = header[4]
      header[1], header[2], header[3], header[4] =
        push(log_key, header[1], header[2], header[3], life, now, id, amount, p1, now)
      if header[4] == life then
        call('SET', key, pack('<dddd', unpack(header)), 'KEEPTTL')
      else
        call('SET', key, pack('<dddd', unpack(header)), 'PXAT', text(header[4]))
      end
      a = header[1]
    elseif header.trimmed then
      call('SET', key, pack('<dddd', unpack(header)), 'KEEPTTL')
    end
    b = header[3] > 0 and header[3] + p1 - now or 0
    if not fits and amount <= limit then c = wait_log_ms(log_key, a - limit + amount, p1, now) end
  end
  out[at + 1], out[at + 2], out[at + 3] = a, b, c
end
local answer = pack('<Bd' .. string.rep('Bddd', count), unpack(out, 1, 2 + 4 * count))

-- 4. Remember the id.
if taking then
  local body = answer .. skipped
  if kind == 1 then
    call('HSET', KEYS[1], id, pack('<BHH', 0, #answer, #skipped) .. body .. ARGV[3])
    call('ZADD', KEYS[2], text(now + ttl), id)
  else
    local record = pack('<BHH', 1, #answer, #skipped) .. body
    if fresh_slot then
      call('HSET', KEYS[3], id, record, '', '')
      call('PEXPIREAT', KEYS[3], math.max(now, slot_end) + memory)
    else
      call('HSET', KEYS[3], id, record)
    end
  end
end
return answer
