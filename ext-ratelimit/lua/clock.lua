-- Included by every script that needs the time. Unix milliseconds by the server's clock: one clock for all callers.
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + (time[2] - time[2] % 1000) / 1000
end
