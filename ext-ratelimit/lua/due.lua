#!lua flags=no-writes
-- Finds reservations whose time is over. Looks only: `expire` decides again.
--
-- KEYS  1 held      hash: reservation id -> record of an open reservation
--       2 open      zset: reservation id by expiry (Unix ms)
-- ARGV  1 most to find
-- Reply ids and records in turn; an id without a record has ''.
-- Atomic: one view of both.

-- include: clock.lua

local ids = redis.call('ZRANGE', KEYS[2], '-inf', now_ms(), 'BYSCORE', 'LIMIT', 0, ARGV[1])
if #ids == 0 then return ids end
local records = redis.call('HMGET', KEYS[1], unpack(ids))
local reply = {}
for i = 1, #ids do
  reply[2 * i - 1], reply[2 * i] = ids[i], records[i] or ''
end
return reply
