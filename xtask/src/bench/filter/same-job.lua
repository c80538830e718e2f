-- What Scoretap does, as far as Lua in Envoy can: path, model, status, clock, cells. The counts stay in this worker's
-- own interpreter, where nobody can read them: Envoy's Lua has no counters.

local counts = {}
local bounds = {1, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000}

local function add(name, amount)
  counts[name] = (counts[name] or 0) + amount
end

local function cell(milliseconds)
  for position, bound in ipairs(bounds) do
    if milliseconds <= bound then return position end
  end
  return #bounds + 1
end

function envoy_on_request(handle)
  local model = handle:headers():get(":path"):match("^/v1/models/([^/:]+):predict$")
  if model == nil then
    add("unmatched", 1)
    return
  end
  local call = handle:streamInfo():dynamicMetadata()
  call:set("scoretap", "model", model)
  call:set("scoretap", "start", handle:timestamp())
end

function envoy_on_response(handle)
  local call = handle:streamInfo():dynamicMetadata():get("scoretap")
  if call == nil then return end
  local status = handle:headers():get(":status")
  local milliseconds = handle:timestamp() - call.start
  add("call." .. call.model .. "." .. status, 1)
  add("cell." .. call.model .. "." .. cell(milliseconds), 1)
  add("sum." .. call.model, milliseconds)
end
