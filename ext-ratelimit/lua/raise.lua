#!lua
-- Raises what fixed windows have spent to what is known from elsewhere, and vouches for the workspace's buckets.
--
-- KEYS  1 mark      until when its buckets were known to be whole: '<d' (Unix ms)
--       2..         buckets
-- ARGV  1 1 to set the mark
--       2.. per bucket '<ddd': start of the window, spent, when a state made anew may go (Unix ms)
-- Reply '<d' per bucket: by how much it was raised; 0 also for a window older than the two that are kept.
-- Atomic: everything. Nothing is ever lowered.

-- include: clock.lua
-- include: meters.lua

local call, pack, unpack_s = redis.call, struct.pack, struct.unpack
local reply = ''
for i = 2, #KEYS do
  local start, spent, life = unpack_s('<ddd', ARGV[i])
  local state = call('GET', KEYS[i])
  local window = state and { unpack_s('<dddddd', state) } or { start, 0, 0, -1, 0, 0 }
  local is_new = not state or start > window[1]
  local at = slot_of(window, start)
  local more = at and math.max(spent - window[at + 1], 0) or 0
  if more > 0 then
    window[at + 1] = spent
    local packed = pack('<dddddd', unpack(window))
    if not is_new then
      call('SET', KEYS[i], packed, 'KEEPTTL')
    elseif life >= MAX then
      call('SET', KEYS[i], packed)
    else
      call('SET', KEYS[i], packed, 'PXAT', life)
    end
  end
  reply = reply .. pack('<d', more)
end
if ARGV[1] == '1' then call('SET', KEYS[1], pack('<d', now_ms())) end
return reply
