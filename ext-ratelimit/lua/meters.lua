-- Included by the scripts that count. Arithmetic of TOKEN_BUCKET and FIXED_WINDOW states, exact below 2^53.
--
-- A token bucket's state is '<dddd' (level, frac, at, life): whole units, millionths of a unit, when that was true, and
-- when the key expires: late enough that it is full by then, which is what no state means. `rate` is in thousandths of a unit per second, which is the same number in millionths of a unit per millisecond.
-- a - a % b and a / b are exact for integers 0 <= a < 2^53, 0 < b: the distance of a / b to the next integer is
-- larger than its rounding error.
local MAX, MICRO = 9007199254740991, 1000000
-- Longest wait that is told, in ms (2^43).
local FOREVER = 8796093022208
-- Largest number of units whose millionths stay below 2^53.
local UNITS_EXACT = 9007199253

-- (level, frac) after `elapsed` ms. One refill adds at most MAX units.
local function refill(level, frac, elapsed, rate, limit)
  local micro, whole = elapsed * rate + frac, nil
  if micro <= MAX then
    frac = micro % MICRO
    whole = (micro - frac) / MICRO
  else
    -- elapsed * rate by halves: (hi * MICRO + lo) * (rate_whole * MICRO + rate_frac) / MICRO
    local lo, rate_frac = elapsed % MICRO, rate % MICRO
    micro = lo * rate_frac + frac
    frac = micro % MICRO
    whole = elapsed * ((rate - rate_frac) / MICRO) + (elapsed - lo) / MICRO * rate_frac + (micro - frac) / MICRO
    if whole > MAX then whole = MAX end
  end
  level = level + whole
  if level >= limit then return limit, 0 end
  return level, frac
end

-- Milliseconds until `units` more have been refilled.
local function wait_ms(units, frac, rate)
  if units <= 0 then return 0 end
  local ms
  if units <= UNITS_EXACT then
    local micro = units * MICRO - frac
    local rest = micro % rate
    ms = (micro - rest) / rate
    if rest > 0 then ms = ms + 1 end
  else
    if units > MAX then units = MAX end
    -- A guess within one part in 2^51, then exact by the refill itself.
    ms = math.floor(units / rate * MICRO)
    if ms > FOREVER + 16 then return FOREVER end
    local function gained(after)
      return (refill(0, frac, after, rate, 2 * MAX))
    end
    while ms > 0 and gained(ms - 1) >= units do ms = ms - 1 end
    while gained(ms) < units do ms = ms + 1 end
  end
  if ms > FOREVER then return FOREVER end
  return ms
end

-- A fixed window's state is (start, spent, reserved) of the latest window, then of the one before it.
-- Rolls the state so that its latest window starts at `start`, unless it is later already.
local function roll(state, start)
  if start > state[1] then
    state[4], state[5], state[6] = state[1], state[2], state[3]
    state[1], state[2], state[3] = start, 0, 0
  end
end

-- Where the window that starts at `start` is in the state: 1 or 4, made if need be; nil if it is older than both.
local function slot_of(state, start)
  roll(state, start)
  if start < state[1] and start > state[4] then state[4], state[5], state[6] = start, 0, 0 end
  return start == state[1] and 1 or start == state[4] and 4 or nil
end
