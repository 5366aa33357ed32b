#!lua
-- Moves the expiry of open reservations.
--
-- KEYS  1 open      zset: reservation id by expiry (Unix ms)
-- ARGV  1 new time to live from now, ms
--       2.. reservation ids, 16 bytes
-- Reply one byte per id: 1 renewed, 0 no open reservation of that id.
-- Atomic: everything. A reservation that is due but not yet charged lives on.

-- include: clock.lua

local expiry = now_ms() + ARGV[1]
local found = {}
for i = 2, #ARGV do
  local open = redis.call('ZSCORE', KEYS[1], ARGV[i])
  found[i - 1] = open and 1 or 0
  if open then redis.call('ZADD', KEYS[1], 'XX', expiry, ARGV[i]) end
end
return string.char(unpack(found))
