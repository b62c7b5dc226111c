--[[
Looks at all that a queue keeps on the server (the head of machine.lua says what), and returns the
invariants that do not hold, as a text: empty if all do. KEYS[1] is the queue. It changes nothing, and
shares no code with the machine.
]]
local base, broken = KEYS[1], {}
local call = redis.call
local INF = 1/0

local function named(part) return base .. ':' .. part end
local function hold(rule, truth, what)
    if not truth then broken[#broken + 1] = rule .. ': ' .. tostring(what) end
end
local function hex(n) return string.format('%014x', n) end
local function text(n) return string.format('%.0f', n) end
local function prefix(key) return string.format('%08x', #key) .. key end
local function scored(part)
    local flat, found = call('ZRANGE', named(part), 0, -1, 'WITHSCORES'), {}
    for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] == 'inf' and INF or tonumber(flat[i + 1]) end
    return found
end
local function hashed(part)
    local flat, found = call('HGETALL', named(part)), {}
    for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
    return found
end
-- Two tables hold the same keys and values; `actual` is emptied.
local function same(rule, actual, expected)
    for k, v in pairs(expected) do
        hold(rule, actual[k] == v, k .. ' is ' .. tostring(actual[k]) .. ', not ' .. tostring(v))
        actual[k] = nil
    end
    for k in pairs(actual) do hold(rule, false, k .. ' is too much') end
end

local m = {}
if call('EXISTS', named('meta')) == 0 then return '' end
local numbers
m.schema, m.id, m.publish, m.phase, m.ringer, m.drained, m.joined, m.cursor, numbers =
    cmsgpack.unpack(call('GET', named('meta')))
m.maxsize, m.claim, m.puts, m.number, m.ticket, m.place, m.getters, m.takers, m.putters, m.joiners,
    m.drainers, m.alarm, m.soonest, m.deferred = struct.unpack('<dddddddddddddd', numbers)
if m.phase == 'closing' then return '' end

local LINED = {AVAILABLE = true, BUFFERED = true}
local LATE = {DELAYED = true, BUFFERED_DELAYED = true}
local ALONE = {AVAILABLE = true, DELAYED = true}
local WAITS = {AVAILABLE = true, DELAYED = true, DEFERRED = true, BUFFERED = true, BUFFERED_DELAYED = true}
local LISTS = {get = 'getters', take = 'takers', put = 'putters', join = 'joiners', drain = 'drainers'}

-- Keys and values.
local line, due, values, deferred = scored('line'), scored('due'), {}, 0
-- Of each version, once: where its value is, with its key or copy, or among the long ones.
local function has_value(version, value)
    hold('R2', values[text(version)] == nil, 'version ' .. version .. ' twice')
    values[text(version)] = not value
end
local late, in_line, n_late, crowd, deadlines = {}, 0, 0, {}, {}
for _, key in ipairs(call('SMEMBERS', named('late'))) do late[key] = true end
local state, newest, leases, lease = {}, {}, {}, {}
for key, packed in pairs(hashed('keys')) do
    local version, attempts, time, value
    state[key], newest[key], version, attempts, time, leases[key], lease[key], value =
        cmsgpack.unpack(packed)
    local s = state[key]
    hold('R1', s ~= 'ABSENT', key .. ' is known and absent')
    hold('R1', (line[key] ~= nil) == (LINED[s] or false), key .. ' in the line')
    hold('R1', (late[key] or false) == (LATE[s] or false), key .. ' delayed')
    hold('R3', leases[key] == 1 or lease[key] == '', key .. ' has a lease by name')
    hold('R1', (leases[key] > 0) == not ALONE[s], key .. ' in flight')
    if line[key] then in_line = in_line + 1 end
    if late[key] then n_late = n_late + 1 end
    hold('R2', (version > 0) == (WAITS[s] or false), key .. ' has a waiting value')
    hold('R2', version <= newest[key] and newest[key] <= m.puts, key .. ' has a version to come')
    hold('R2', s ~= 'DEFERRED' or version == newest[key], key .. ' defers an old value')
    if version > 0 then has_value(version, value) end
    hold('R2', version > 0 or not value, key .. ' has a value that does not wait')
    if s == 'DEFERRED' then deferred = deferred + 1 end
    hold('R4', not time or LATE[s] or s == 'DEFERRED', key .. ' has a time')
    hold('R4', time or not LATE[s], key .. ' has no time')
    if time then deadlines['1' .. hex(version) .. key] = time end
end
hold('R1', in_line == call('ZCARD', named('line')), 'a stranger is in the line')
hold('R1', n_late == call('SCARD', named('late')), 'a stranger is delayed')

-- Copies in flight.
local flights, mine, bound, calls, flying = {}, {}, {}, {}, 0
for number, packed in pairs(hashed('fly')) do
    local key, version, attempts, seen, duration, deadline, session, name, value =
        cmsgpack.unpack(packed)
    flying = flying + 1
    hold('R3', state[key], number .. ' of a key that is not known')
    flights[key] = (flights[key] or 0) + 1
    if flights[key] == 1 and leases[key] == 1 then
        hold('R3', lease[key] == number, 'the lease of ' .. key)
    end
    if (leases[key] or 0) > 1 then crowd[prefix(key) .. hex(version) .. number] = 0 end
    has_value(version, value)
    hold('R2', version <= (newest[key] or 0), number .. ' has a version to come')
    hold('R3', tonumber(number, 16) <= m.number, number .. ' is to come')
    if deadline then
        hold('R4', name == '', number .. ' is reserved and runs')
        deadlines['0' .. number] = deadline
    end
    if name ~= '' then calls[name] = number end
    mine[session], bound[session] = mine[session] or {}, bound[session] or {}
    if not deadline then bound[session][number] = tonumber(number, 16) end
end
for key, n in pairs(leases) do hold('R3', n == (flights[key] or 0), key .. ' has leases') end
same('R3', scored('crowd'), crowd)
for session in pairs(mine) do
    same('R9', scored('bound:' .. session), bound[session])
end
local kept = hashed('values')
for version in pairs(kept) do kept[version] = true end
for version, is_kept in pairs(values) do values[version] = is_kept or nil end
same('R2', kept, values)
hold('R2', m.deferred == deferred, m.deferred .. ' are said to be deferred')

-- Calls: those that wait, and those that have something reserved.
local waiting, waits, sessions, slots = {}, {}, {}, scored('slots')
local items = in_line + n_late + flying + call('ZCARD', named('slots'))
for kind, list in pairs(LISTS) do
    local last, count = 0, 0
    for _, found in ipairs(call('ZRANGE', named(list), 0, -1)) do
        local length = kind == 'take' and tonumber(string.sub(found, 1, 8), 16)
        local name = length and string.sub(found, 23 + length) or found
        local session, request = string.match(name, '^(.*):(.*)$')
        local packed = call('HGET', named('calls:' .. session), request)
        hold('R6', packed, name .. ' waits and is not known')
        if packed then
            local k, ticket, key, duration, deadline, policy, delay, outcome, number =
                cmsgpack.unpack(packed)
            hold('R6', k == kind and outcome == 'waiting', name .. ' waits in ' .. list)
            hold('R6', ticket <= m.ticket, name .. ' has a ticket to come')
            if kind == 'take' then
                hold('R6', found == prefix(key) .. hex(ticket) .. name, name .. ' is misplaced')
                hold('R5', not line[key], name .. ' waits in vain')
                hold('R8', m.phase ~= 'shut' or state[key], name .. ' waits for nothing')
            else
                hold('R6', ticket > last, name .. ' is out of order')
                last = ticket
            end
            if deadline then waits[name] = deadline end
        end
        count = count + 1
        sessions[session] = (sessions[session] or 0) + 1
    end
    hold('R6', count == m[list], 'so many ' .. list)
    waiting[kind] = count
end
same('R6', scored('waiting'), sessions)
same('R6', scored('waits'), waits)
hold('R5', waiting.get == 0 or in_line == 0, 'a get waits in vain')
hold('R5', waiting.put == 0 or (m.maxsize > 0 and items >= m.maxsize), 'a put waits in vain')
hold('R7', m.maxsize == 0 or items <= m.maxsize, items .. ' items')
hold('R8', waiting.join == 0 or items > 0, 'a join waits for nothing')
hold('R8', waiting.drain == 0 or in_line + flying > 0, 'a drain waits for nothing')
if m.phase ~= 'open' then
    hold('R8', waiting.put == 0 and next(slots) == nil, 'a put goes on')
    hold('R8', waiting.get == 0 or items > 0, 'a get waits for nothing')
end
if m.phase == 'closed' then
    hold('R8', flying == 0 and n_late == 0 and next(sessions) == nil, 'a closed queue has work')
    for key, s in pairs(state) do hold('R8', s == 'AVAILABLE', key .. ' is ' .. s) end
end
local claimed = {}
for name, number in pairs(calls) do
    local session, request = string.match(name, '^(.*):(.*)$')
    local packed = call('HGET', named('calls:' .. session), request)
    hold('R6', packed, name .. ' has a copy and is not known')
    if packed then
        local of = {cmsgpack.unpack(packed)}
        hold('R6', of[8] == 'reserved' and of[9] == number, name .. ' has a copy')
    end
    claimed['4' .. name] = true
end
for name, ticket in pairs(slots) do
    local session, request = string.match(name, '^(.*):(.*)$')
    local packed = call('HGET', named('calls:' .. session), request)
    hold('R6', packed, name .. ' has a slot and is not known')
    if packed then
        local of = {cmsgpack.unpack(packed)}
        hold('R6', of[1] == 'put' and of[2] == ticket and of[8] == 'reserved', name .. ' has a slot')
    end
    claimed['4' .. name] = true
end

-- What falls due; the ends of sessions are the ringer's business and not the spec's.
local soonest = INF
for member, time in pairs(due) do
    local kind = string.sub(member, 1, 1)
    if time < soonest then soonest = time end
    hold('R4', m.soonest <= time, 'something is due before ' .. m.soonest)
    if kind == '2' then
        local alive = call('HEXISTS', named('session:' .. string.sub(member, 2)), 'alive') == 1
        hold('R4', alive or time == -INF, member .. ' has ended')
    end
    if kind == '2' or kind == '3' then
        due[member] = nil
    elseif kind == '4' then
        hold('R4', claimed[member], member .. ' is to be claimed')
        claimed[member], due[member] = nil, nil
    end
end
hold('R4', m.claim == INF or next(claimed) == nil, 'nobody has to claim what is reserved')
for member, time in pairs(waits) do if time < soonest then soonest = time end end
same('R4', due, deadlines)

local anybody = false
for session in pairs(sessions) do
    anybody = anybody or call('HEXISTS', named('session:' .. session), 'alive') == 1
end
if anybody then
    hold('R10', sessions[m.ringer], m.ringer .. ' rings, and does not wait')
    hold('R10', m.alarm <= soonest, 'the alarm is too late: ' .. m.alarm .. ' > ' .. soonest)
end
return table.concat(broken, '; ')
