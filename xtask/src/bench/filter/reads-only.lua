-- The least that a Lua filter has to ask for: path, clock and status. It records nothing.

function envoy_on_request(handle)
  local path = handle:headers():get(":path")
  local start = handle:timestamp()
end

function envoy_on_response(handle)
  local status = handle:headers():get(":status")
  local stop = handle:timestamp()
end
