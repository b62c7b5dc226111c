#!lua name=leasedkeyq2
--[[
The queue on a server: it decides everything, in one atomic call for each action of the specification
(spec/leasedkeyq.tla), and each action is the function of that name. What the calls and their replies
look like is said at the end of this file, at OPERATIONS.

The source is a function library as it stands (Redis 7, Valkey 7.2 and later). Without its first line
it is a script (EVALSHA), for servers from Redis 6.2 on. So it uses nothing that is not in Lua 5.1, and
looks at `redis`, `cmsgpack` and `struct` within calls only: while a library is loaded they are not there.

Time: whole microseconds; INF is never. A value has a *version*, a grant a *number*, a call that waits
a *ticket*; each rises. Versions and numbers that are part of a member of a sorted set are written
in 14 hexadecimal digits, so that they sort as numbers do.

What is kept. All keys of a queue begin with KEYS[1], `lkq:{NAME}`; S is a session.

  meta        string  schema, id, maxsize; phase: open, shut, closing (Close has begun and goes on with
                      the next call), closed; puts, number, ticket, place: the last that was given;
                      getters, takers, putters, joiners, drainers: how many wait; deferred: how many
                      values are; ringer, alarm: the session that is to call at that moment; soonest:
                      nothing is due before; claim, publish: see Open; drained, joined, cursor: of a
                      close that goes on; sessions: how many live; grants, undelivered, releases,
                      expiries, recalls, discards, timeouts: what has been, as far as it follows from
                      nothing else (Stats)
  keys        hash    key -> state, newest, version, attempts, time, leases, lease, value: `newest`
                      version accepted; version, attempts and time (false: has come) of the waiting
                      value, that is, in the line, delayed or deferred; how many leases are live, and
                      which one; the waiting value, or false
  values      hash    version -> value, of those too long to be moved about: written once, deleted once
  line        zset    key -> place: what came back below zero, what arrived above; it tells the
                      time, too, at which the copy came there
  late        set     keys whose waiting value is delayed
  fly         hash    number -> key, version, attempts, seen, duration, deadline (false: none, or not
                      yet), session, call (for which it is reserved; '' when it is leased), value
  crowd       zset    key, version, number of the copies in flight of keys that have two or more
  due         zset    what falls due -> when: 0 number of a lease, 1 version and key of a delayed or
                      deferred value, 2 session (ends with what it holds), 3 session (leaves with all
                      that it has), 4 call (something is reserved for it and not claimed)
  getters, putters, joiners, drainers
              zset    call -> ticket: calls that wait
  takers      zset    key, ticket, call of the takes that wait
  slots       zset    call -> ticket: puts that have a slot and have not resumed
  waits       zset    call -> end of its wait
  waiting     zset    session -> how many of its calls wait
  session:S   hash    alive: 1 until the session ends; ttl; done: requests up to there have been answered;
                      request -> its reply. It outlives the session by its ttl
  calls:S     hash    request -> kind, ticket, key, duration, deadline, policy, delay, outcome, number
  bound:S     zset    number -> number: copies in flight that end with S: reserved, or leased without end
  leaving     zset    likewise, all that a session has which is leaving
  ending, ripening
              zset    what is still to be given back, or to ripen, of a queue that is closing

A call is named by its session and the request that it began with, `S:request`.

Invariants, at the end of each call (tests/engine/invariants.lua asserts them):

 R1  A key is in `keys` if and only if its state is not ABSENT; its state says whether it is in
     `line`, in `late`, or in flight.
 R2  Each waiting value and copy in flight has a value of its own, and `values` holds exactly those
     that are not with them; no version is above `newest` of its key, nor that above `puts`; a
     deferred value is the newest, and `meta` counts them.
 R3  `fly` holds exactly the copies in flight: `leases` says how many a key has; one is `lease`, more
     are in `crowd`.
 R4  `due` holds exactly: each lease that has a deadline, each waiting value that has a time, under
     their own version and number; each session that has an end; each reserved call that has to be
     claimed.
 R5  No call of a live session waits for a copy in the line, no put for a slot that is free.
 R6  A call waits in the one list of its kind, or it has an outcome; what is reserved for it leads to
     it. `meta` and `waiting` count the calls that wait.
 R7  Items (in the line, delayed, in flight, slots) never exceed maxsize.
 R8  A shut queue has no put that waits, and no call to which nothing can come; a closed one has
     nothing in flight, deferred or delayed, and no call that waits.
 R9  A copy in flight is in `bound` of its session if and only if it ends with that.
 R10 If calls of live sessions wait, a ringer among these knows an alarm that is not later than what falls due.
]]

local SCHEMA = '2'  -- of what is kept
local INF, BUDGET = 1/0, 100
local FEW = 500  -- copies in flight, which are looked through in one call
local SHORT = 256  -- bytes of a value that is kept with its key, or its copy in flight
local FOREVER = 3600000  -- milliseconds, to a session that is over
-- Longer than what the server keeps in lists, which it would search from the beginning for a reply.
local NOTE = 'requests, and what was answered, until that is known to have arrived'
local RETURNED = -2^52  -- the border in the line: END is counted up from there, FRONT down

-- Of the call that is being carried out: what it works on, whose it is and its time, the steps it may
-- still do, whether its own session is there, and up to where the requests of that were said to be done.
local call, base, session, now, left, there, done
-- Of the request in it: its number, the earliest moment that it has set, whether it has found a session
-- gone, and whether its own was there until now.
local request, sooner, dropped, alive
local since  -- when what happens happened: now, or when it was due
local fresh  -- replies to be kept: request, reply, request, reply...
local packed_as, unpacked, format  -- cmsgpack's and string's
local OK = {'ok'}  -- the reply of most operations, which nobody changes
local m = {}  -- meta: one table for all calls, since to make one takes as long as to read it

-- The life of a key, whole: {what an event does, the state it leads to if the time of the waiting
-- value has come or there is none, and the state if it has not}. `put` is any policy not named.
-- "last" means that no other lease on the key is live. "return" is a release, an expiry, a cancelled
-- reservation or a close: they differ in the place in the line.
local TABLE = {
    ABSENT = {
        put = {'ADD', 'AVAILABLE', 'DELAYED'},
    },
    AVAILABLE = {
        put = {'REPLACE', 'AVAILABLE'},
        grant = {'GRANT', 'LEASED'},
        discard = {'DISCARD', 'ABSENT'},
    },
    DELAYED = {
        put = {'REPLACE', 'AVAILABLE', 'DELAYED'},
        ripen = {'RIPEN', 'AVAILABLE'},
        discard = {'DISCARD', 'ABSENT'},
    },
    LEASED = {
        ['put update'] = {'REVISE', 'LEASED'},
        ['put reject'] = {'REFUSE'},
        ['put buffer'] = {'ADD', 'BUFFERED', 'BUFFERED_DELAYED'},
        ['put defer'] = {'DEFER', 'DEFERRED', 'DEFERRED'},
        ack = {'DROP', 'LEASED'},
        ['ack last'] = {'DROP', 'ABSENT'},
        ['return'] = {'RETURN', 'BUFFERED', 'BUFFERED_DELAYED'},
        ['return last'] = {'RETURN', 'AVAILABLE', 'DELAYED'},
    },
    DEFERRED = {
        ['put update'] = {'DEFER', 'DEFERRED', 'DEFERRED'},
        ['put reject'] = {'REFUSE'},
        ['put buffer'] = {'ADD', 'BUFFERED', 'BUFFERED_DELAYED'},
        ['put defer'] = {'DEFER', 'DEFERRED', 'DEFERRED'},
        ack = {'DROP', 'DEFERRED', 'DEFERRED'},
        ['ack last'] = {'PROMOTE', 'AVAILABLE', 'DELAYED'},
        ['return'] = {'ADOPT', 'BUFFERED', 'BUFFERED_DELAYED'},
        ['return last'] = {'ADOPT', 'AVAILABLE', 'DELAYED'},
        ripen = {'RIPEN', 'DEFERRED'},
        discard = {'DISCARD', 'LEASED'},
    },
    BUFFERED = {
        put = {'REPLACE', 'BUFFERED'},
        ['put reject'] = {'REFUSE'},
        grant = {'GRANT', 'LEASED'},
        ack = {'DROP', 'BUFFERED'},
        ['ack last'] = {'DROP', 'AVAILABLE'},
        ['return'] = {'MERGE', 'BUFFERED'},
        ['return last'] = {'MERGE', 'AVAILABLE'},
        discard = {'DISCARD', 'LEASED'},
    },
    BUFFERED_DELAYED = {
        put = {'REPLACE', 'BUFFERED', 'BUFFERED_DELAYED'},
        ['put reject'] = {'REFUSE'},
        ripen = {'RIPEN', 'BUFFERED'},
        ack = {'DROP', nil, 'BUFFERED_DELAYED'},
        ['ack last'] = {'DROP', nil, 'DELAYED'},
        ['return'] = {'MERGE', 'BUFFERED', 'BUFFERED_DELAYED'},
        ['return last'] = {'MERGE', 'AVAILABLE', 'DELAYED'},
        discard = {'DISCARD', 'LEASED'},
    },
}
local LINED = {AVAILABLE = true, BUFFERED = true}
local LATE = {DELAYED = true, BUFFERED_DELAYED = true}

-- The list in which a call waits, by its kind.
local LISTS = {get = 'getters', take = 'takers', put = 'putters', join = 'joiners', drain = 'drainers'}

-- Small things ------------------------------------------------------------------------------------

local function clock(args)
    local time = call('TIME')
    return time[1] * 1000000 + time[2]
end

local function number(text)
    return text == 'inf' and INF or tonumber(text)
end

local function text(n)
    return n == INF and 'inf' or format('%d', n)
end

local function hex(n)
    return format('%014x', n)
end

-- The keys of the queue that was last asked for, by part: to make their names anew takes longer.
local names, names_of

local function name_parts()
    names_of = base
    names = setmetatable({}, {__index = function(made, part)
        made[part] = base .. ':' .. part
        return made[part]
    end})
end

-- A prefix that no other key's members share.
local function prefix(key)
    return format('%08x', #key) .. key
end

local function first(list)
    return call('ZRANGE', names[list], 0, 0)[1]
end

-- What is read and written by member. A command for many members costs little more than one for one:
-- so in a batch they are written at the end, or before a part is looked at as a whole.
local WRITES = {keys = 'HSET', values = 'HSET', fly = 'HSET', line = 'ZADD', due = 'ZADD'}
local REMOVES = {HSET = 'HDEL', ZADD = 'ZREM'}
-- In a batch: part -> member -> what it is to have, or has, as far as that was asked. False: nothing.
local unwritten, known

local function set(part, member, has)
    if unwritten then
        unwritten[part][member] = has
        return
    end
    local write = WRITES[part]
    if not has then
        call(REMOVES[write], names[part], member)
    elseif write == 'ZADD' then
        call('ZADD', names[part], has, member)
    else
        call('HSET', names[part], member, has)
    end
end

local function get(part, member)
    if unwritten then
        local has = unwritten[part][member]
        if has == nil then has = known[part][member] end
        if has ~= nil then return has end
    end
    return call('HGET', names[part], member)
end

local function write(part)
    local write, sets, gone, s, g = WRITES[part], {}, {}, 0, 0
    local first = write == 'ZADD' and 1 or 0  -- the score comes before the member
    for member, has in pairs(unwritten[part]) do
        if has then
            sets[s + 1 + first], sets[s + 2 - first] = member, has
            s = s + 2
        else
            g = g + 1
            gone[g] = member
        end
    end
    if s > 0 then call(write, names[part], unpack(sets)) end
    if g > 0 then call(REMOVES[write], names[part], unpack(gone)) end
end

-- The name of a part, which is as it should be.
local function whole(part)
    local those = unwritten and unwritten[part]
    if those and next(those) ~= nil then
        write(part)
        for member, has in pairs(those) do known[part][member] = has end
        unwritten[part] = {}
    end
    return names[part]
end

-- What falls due, and when. `sooner` is the earliest moment that this request has set.
local function schedule(member, time)
    set('due', member, time)
    if time < sooner then sooner = time end
    if time < m.soonest then m.soonest = time end
end

local function unschedule(member)
    set('due', member, false)
end

-- When something falls due next.
local function soonest()
    local due = call('ZRANGE', whole('due'), 0, 0, 'WITHSCORES')[2]
    local wait = call('ZRANGE', names.waits, 0, 0, 'WITHSCORES')[2]
    return math.min(due and number(due) or INF, wait and number(wait) or INF)
end

-- What the queue holds ----------------------------------------------------------------------------

local as_read, as_kept  -- `m` is what the one before has left: then it need not be unpacked
local fits  -- what is kept is of this version
local NUMBERS = '<' .. 'dddddddddddddddddddddd'  -- of meta: together, since one by one they take longer

local function load_meta()
    as_read = call('GET', names.meta)
    fits = true
    local known = as_read and as_read == as_kept
    as_kept = nil  -- in case that this call fails
    if known then return end
    m.phase = nil
    if not as_read then return end
    local numbers
    m.schema, m.id, m.publish, m.phase, m.ringer, m.drained, m.joined, m.cursor, numbers = unpacked(as_read)
    fits = m.schema == SCHEMA
    if not fits then return end
    m.maxsize, m.claim, m.puts, m.number, m.ticket, m.place, m.getters, m.takers, m.putters, m.joiners,
        m.drainers, m.alarm, m.soonest, m.deferred, m.sessions, m.grants, m.undelivered, m.releases,
        m.expiries, m.recalls, m.discards, m.timeouts = struct.unpack(NUMBERS, numbers)
    m.waiting = m.getters + m.takers + m.putters + m.joiners + m.drainers
end

local function keep_meta()
    local numbers = struct.pack(NUMBERS,
        m.maxsize, m.claim, m.puts, m.number, m.ticket, m.place, m.getters, m.takers, m.putters, m.joiners,
        m.drainers, m.alarm, m.soonest, m.deferred, m.sessions, m.grants, m.undelivered, m.releases,
        m.expiries, m.recalls, m.discards, m.timeouts)
    local packed = packed_as(
        m.schema, m.id, m.publish, m.phase, m.ringer, m.drained, m.joined, m.cursor, numbers)
    if packed ~= as_read then call('SET', names.meta, packed) end
    as_kept = packed
end

local function entry_of(key)
    local packed = get('keys', key)
    local state, newest, version, attempts, time, leases, lease = 'ABSENT', 0, 0, 0, false, 0, ''
    local value = false
    if packed then state, newest, version, attempts, time, leases, lease, value = unpacked(packed) end
    return {
        key = key, state = state, newest = newest, version = version, attempts = attempts,
        time = time, leases = leases, lease = lease, value = value,
        filed = version,  -- under which its time is in `due`
    }
end

local function keep_entry(e)
    set('keys', e.key, e.state ~= 'ABSENT'
        and packed_as(e.state, e.newest, e.version, e.attempts, e.time, e.leases, e.lease, e.value))
end

local function flight_of(n)
    local packed = get('fly', n)
    if not packed then return nil end
    local key, version, attempts, seen, duration, deadline, s, name, value = unpacked(packed)
    return {
        number = n, key = key, version = version, attempts = attempts, seen = seen,
        duration = duration, deadline = deadline, session = s, call = name, value = value,
        bound = not deadline,  -- it is in `bound`
    }
end

local function keep_flight(f)
    set('fly', f.number, packed_as(
        f.key, f.version, f.attempts, f.seen, f.duration, f.deadline, f.session, f.call, f.value))
end

local function call_of(name)
    local s, r = string.match(name, '^(.*):(.*)$')
    local packed = call('HGET', base .. ':calls:' .. s, r)
    if not packed then return nil end
    local kind, ticket, key, duration, deadline, policy, delay, outcome, n = unpacked(packed)
    return {
        name = name, session = s, request = r, kind = kind, ticket = ticket, key = key,
        duration = duration, deadline = deadline, policy = policy, delay = delay,
        outcome = outcome, number = n,
    }
end

local function keep_call(c)
    call('HSET', base .. ':calls:' .. c.session, c.request, packed_as(
        c.kind, c.ticket, c.key, c.duration, c.deadline, c.policy, c.delay, c.outcome, c.number))
end

local function forget_call(c)
    call('HDEL', base .. ':calls:' .. c.session, c.request)
end

-- Of an entry, its waiting value; of a copy in flight, its own.
local function value_of(it)
    return it.value or get('values', it.version)
end

local function keep_value(it, version, value)
    it.version, it.attempts, it.value = version, 0, #value <= SHORT and value
    if not it.value then set('values', version, value) end
end

local function drop_value(it)
    if it.version > 0 and not it.value then set('values', it.version, false) end
end

local function Items()
    return call('ZCARD', whole('line')) + call('HLEN', whole('fly')) + call('ZCARD', names.slots)
        + call('SCARD', names.late)
end

local function HasRoom()
    return m.maxsize == 0 or Items() < m.maxsize
end

-- Nothing is in the line or in flight. (What is deferred is so only beside a copy in flight.)
local function Drained()
    return call('ZCARD', whole('line')) == 0 and call('HLEN', whole('fly')) == 0
end

-- Sessions and messages ---------------------------------------------------------------------------

local function is_alive(s)
    return call('HEXISTS', base .. ':session:' .. s, 'alive') == 1
end

-- A session ends: what it holds goes back with the next work, which is due at once. Its replies stay
-- for as long as it might have lived: what it asks again has been done, and is not to be done again.
local function drop(s, how)
    local theirs = base .. ':session:' .. s
    local ttl = call('HGET', theirs, 'ttl')
    if is_alive(s) then m.sessions = m.sessions - 1 end
    if how == '3' then
        call('UNLINK', theirs)
    elseif ttl then
        call('HDEL', theirs, 'alive')
        call('PEXPIRE', theirs, text(ttl == 'inf' and FOREVER or math.ceil(ttl / 1000)))
    end
    unschedule((how == '2' and '3' or '2') .. s)
    schedule(how .. s, -INF)
    dropped = true
    if m.ringer == s then m.ringer = '' end
    if s == session then there, alive = false, false end
end

-- A session that may be there is taken for dead.
local function expel(s)
    call(m.publish, base .. ':' .. s, 'dropped')
    drop(s, '2')
end

-- Tell a session something. Nobody hears it: the session is gone.
local function tell(s, message)
    if not is_alive(s) then return false end
    if call(m.publish, base .. ':' .. s, message) == 0 then
        drop(s, '2')
        return false
    end
    return true
end

-- Calls that wait ---------------------------------------------------------------------------------

-- The member under which a call waits in the list of its kind.
local function member(c)
    return c.kind == 'take' and prefix(c.key) .. hex(c.ticket) .. c.name or c.name
end

local function unlink(c)
    local list = LISTS[c.kind]
    call('ZREM', names[list], member(c))
    m[list], m.waiting = m[list] - 1, m.waiting - 1
    if c.deadline then call('ZREM', names.waits, c.name) end
    if tonumber(call('ZINCRBY', names.waiting, -1, c.session)) <= 0 then
        call('ZREM', names.waiting, c.session)
        if m.ringer == c.session then m.ringer = '' end
    end
end

-- The wait of a call is over.
local function wake(c, outcome)
    unlink(c)
    c.outcome = outcome
    keep_call(c)
    tell(c.session, 'ready ' .. c.request)
end

-- A copy or a slot is reserved for a call that has been told.
local function reserve(c)
    unlink(c)
    c.outcome = 'reserved'
    keep_call(c)
    if m.claim ~= INF then schedule('4' .. c.name, now + m.claim) end
end

-- A call that can be given something: of those that hear it. The others are passed over for good.
local function hears(c)
    if tell(c.session, 'ready ' .. c.request) then return true end
    unlink(c)
    forget_call(c)
    return false
end

-- The call that has waited longest among those that want a copy of the key.
local function claimant(key)
    while m.getters > 0 or m.takers > 0 do
        local get, take, chosen
        if m.getters > 0 then get = call_of(first('getters')) end
        if m.takers > 0 then
            local from = prefix(key)
            take = call('ZRANGEBYLEX', names.takers, '[' .. from, '(' .. from .. '\255',
                'LIMIT', 0, 1)[1]
            take = take and call_of(string.sub(take, #from + 15))
        end
        if get and take then
            chosen = get.ticket < take.ticket and get or take
        else
            chosen = get or take
        end
        if not chosen or hears(chosen) then return chosen end
    end
end

-- The call joins those that wait.
local function Joins(kind, wait, c)
    if wait <= 0 then return {'timeout'} end
    m.ticket = m.ticket + 1
    c.name, c.session, c.request = session .. ':' .. request, session, request
    c.kind, c.ticket, c.outcome, c.number = kind, m.ticket, 'waiting', ''
    c.key, c.duration = c.key or '', c.duration or INF
    c.policy, c.delay = c.policy or '', c.delay or 0
    c.deadline = wait ~= INF and now + wait
    local list = LISTS[kind]
    call('ZADD', names[list], kind == 'take' and 0 or c.ticket, member(c))
    m[list], m.waiting = m[list] + 1, m.waiting + 1
    call('ZINCRBY', names.waiting, 1, session)
    if c.deadline then
        call('ZADD', names.waits, c.deadline, c.name)
        if c.deadline < sooner then sooner = c.deadline end
    end
    keep_call(c)
    return {'wait', text(c.ticket)}
end

-- Moves of keys and copies ------------------------------------------------------------------------

-- The copies in flight of a key that has more than one, by version.
local function crowded(f)
    return prefix(f.key) .. hex(f.version) .. f.number
end

local function newest_flight(e)
    if e.leases == 1 then return flight_of(e.lease) end
    local from = prefix(e.key)
    local found = call('ZREVRANGEBYLEX', names.crowd, '(' .. from .. '\255', '[' .. from,
        'LIMIT', 0, 1)[1]
    return flight_of(string.sub(found, #from + 15))
end

local function admit(e, f)
    e.leases = e.leases + 1
    if e.leases == 1 then
        e.lease = f.number
        return
    end
    if e.leases == 2 then
        call('ZADD', names.crowd, 0, crowded(flight_of(e.lease)))
        e.lease = ''
    end
    call('ZADD', names.crowd, 0, crowded(f))
end

local function dismiss(e, f)
    e.leases = e.leases - 1
    if e.leases == 0 then
        e.lease = ''
        return
    end
    call('ZREM', names.crowd, crowded(f))
    if e.leases == 1 then
        local last = newest_flight({leases = 2, key = e.key})
        call('ZREM', names.crowd, crowded(last))
        e.lease = last.number
    end
end

local function unset_time(e)
    if e.time then unschedule('1' .. hex(e.filed) .. e.key) end
    e.time = false
end

-- The waiting value has the time now + delay, or the one that was set already if that is earlier.
-- To be called before the key moves: its state tells whether a value waited before.
local function set_time(e, delay)
    local time = delay > 0 and now + delay or -INF
    if e.state ~= 'ABSENT' and e.state ~= 'LEASED' then
        if not e.time then return end  -- its time had come
        time = math.min(time, e.time)
    end
    unset_time(e)
    if time > now then
        e.time, e.filed = time, e.version
        schedule('1' .. hex(e.filed) .. e.key, time)
    end
end

-- The waiting copy, which is out of the line, becomes one in flight.
local function grant(e, duration, s, name)
    e.state = TABLE[e.state].grant[2]
    m.number = math.max(m.number + 1, now)  -- so it rises, even if the server has lost a second
    m.grants = m.grants + 1
    local f = {
        number = hex(m.number), key = e.key, version = e.version, attempts = e.attempts, seen = 0,
        duration = duration, deadline = false, session = s, call = name, value = e.value, bound = false,
    }
    e.version, e.attempts, e.value = 0, 0, false
    admit(e, f)
    return f
end

-- A copy in flight ends with the session that got it, or no longer does.
local function bind(f)
    if not f.bound then call('ZADD', base .. ':bound:' .. f.session, tonumber(f.number, 16), f.number) end
    f.bound = true
end

local function unbind(f)
    if f.bound then call('ZREM', base .. ':bound:' .. f.session, f.number) end
    f.bound = false
end

-- A copy is given to a call, which has it until it resumes.
local function Reserve(e, c)
    m.undelivered = m.undelivered + 1
    local f = grant(e, c.duration, c.session, c.name)
    bind(f)
    keep_flight(f)
    c.number = f.number
    reserve(c)
end

local function start_clock(f, duration)
    if f.deadline then unschedule('0' .. f.number) end
    f.deadline = duration ~= INF and now + duration
    if f.deadline then
        schedule('0' .. f.number, f.deadline)
        unbind(f)
    else
        bind(f)
    end
end

-- The consumer has its copy, with the value as it stands, and the lease starts.
local function Deliver(f)
    f.call, f.seen, f.attempts = '', f.version, f.attempts + 1
    start_clock(f, f.duration)
    keep_flight(f)
    return {'ok', tonumber(f.number, 16), f.key, value_of(f), f.attempts}
end

-- Calls to which nothing can come any more.
local function end_takers(key)
    local from = prefix(key)
    for _, name in ipairs(call('ZRANGEBYLEX', names.takers, '[' .. from, '(' .. from .. '\255')) do
        wake(call_of(string.sub(name, #from + 15)), 'ended')
    end
end

-- A key moves to its next state, and its waiting value to where that has it. A copy that becomes
-- available is offered to the call that has waited longest among those that want it.
local function Offer(e, state, place)
    local was = e.state
    e.state = state
    if LATE[was] and not LATE[state] then
        call('SREM', names.late, e.key)
    elseif LATE[state] and not LATE[was] then
        call('SADD', names.late, e.key)
    end
    if was ~= state then
        if state == 'DEFERRED' then m.deferred = m.deferred + 1 end
        if was == 'DEFERRED' then m.deferred = m.deferred - 1 end
    end
    if LINED[state] and not LINED[was] then
        local c = claimant(e.key)
        if c then
            Reserve(e, c)
        else
            m.place = math.max(m.place + 1, since)
            if place == 'back' or LATE[was] then
                place = m.place
            elseif place == 'end' then
                place = RETURNED + m.place
            else
                place = RETURNED - m.place
            end
            set('line', e.key, place)
        end
    end
    keep_entry(e)
    if state == 'ABSENT' and m.phase == 'shut' and m.takers > 0 then end_takers(e.key) end
end

-- A copy is not in flight any more.
local function land(e, f)
    set('fly', f.number, false)
    if f.deadline then unschedule('0' .. f.number) end
    unbind(f)
    dismiss(e, f)
end

-- A copy in flight comes back, not to be handed out before the delay. It meets what waits of its key.
local function GiveBack(f, place, delay)
    local e = entry_of(f.key)
    local move = TABLE[e.state][e.leases == 1 and 'return last' or 'return']
    land(e, f)
    if e.version < f.version then
        drop_value(e)
        e.version, e.attempts, e.value = f.version, f.attempts, f.value
    else
        drop_value(f)
    end
    if delay > 0 or e.time then set_time(e, delay) end
    Offer(e, e.time and move[3] or move[2], place)
end

local function Ripen(e)
    unset_time(e)
    Offer(e, TABLE[e.state].ripen[2], 'back')
end

-- What a put makes of the state; nil if it needs a slot and none is free.
local function AfterPut(key, value, policy, delay)
    local e = entry_of(key)
    local row = TABLE[e.state]
    local move = row['put ' .. policy] or row.put
    local effect = move[1]
    if effect == 'REFUSE' then return {'flying'} end
    if effect == 'ADD' and not HasRoom() then return nil end
    m.puts = m.puts + 1
    e.newest = m.puts
    if effect == 'REVISE' then
        local f = newest_flight(e)
        drop_value(f)
        if e.leases > 1 then call('ZREM', names.crowd, crowded(f)) end
        keep_value(f, m.puts, value)
        if e.leases > 1 then call('ZADD', names.crowd, 0, crowded(f)) end
        keep_flight(f)
        e.state = move[2]
        keep_entry(e)
    else
        drop_value(e)
        keep_value(e, m.puts, value)
        if delay > 0 or e.time then set_time(e, delay) end
        Offer(e, e.time and move[3] or move[2], 'back')
    end
    return OK
end

-- What every operation does first and last --------------------------------------------------------

-- Collects copies in flight, in the order of their grants: there is no index of them, for it would cost
-- every grant. `m.cursor` is '' when it is done. False if it is not, within this call.
local function find_flights(is_wanted, list)
    while m.cursor ~= '' do
        if left <= 0 then return false end
        local page = call('HSCAN', whole('fly'), m.cursor, 'COUNT', 200)
        for i = 1, #page[2], 2 do
            local n = page[2][i]
            if is_wanted(flight_of(n)) then call('ZADD', names[list], tonumber(n, 16), n) end
        end
        left = left - 10 - #page[2] / 10
        m.cursor = page[1] ~= '0' and page[1] or ''
    end
    return true
end

-- A session ends: its reserved copies, its leases without end (or all of them) go back to the front,
-- the latest granted first, and its calls leave. False if there is more than is done at once.
local function end_session(s, everything)
    local mine = everything and names.leaving or base .. ':bound:' .. s
    if everything and not find_flights(function(f) return f.session == s end, 'leaving') then
        return false
    end
    while true do
        local n = call('ZRANGE', mine, -1, -1)[1]
        if not n then break end
        if left <= 0 then return false end
        left = left - 1
        local f = flight_of(n)
        if f.call ~= '' then
            unschedule('4' .. f.call)
            m.recalls = m.recalls + 1
        elseif everything then
            m.releases = m.releases + 1
        else
            m.expiries = m.expiries + 1
        end
        GiveBack(f, 'head', 0)
        if everything then call('ZREM', mine, n) end
    end
    local calls = base .. ':calls:' .. s
    while call('EXISTS', calls) == 1 do
        if left <= 0 then return false end
        local some = call('HSCAN', calls, 0, 'COUNT', 100)[2]
        for i = 1, #some, 2 do
            left = left - 1
            local c = call_of(s .. ':' .. some[i])
            if c.outcome == 'waiting' then
                unlink(c)
            elseif c.outcome == 'reserved' then
                call('ZREM', names.slots, c.name)
                unschedule('4' .. c.name)
            end
            forget_call(c)
        end
    end
    if everything then m.cursor = '0' end
    return true
end

-- What is due is carried out, in the order of time, leases first. Says whether that is all, and
-- whether there was anything.
local function Reaped()
    if now < m.soonest then return true, false end
    local anything = false
    while true do
        since = now
        local head = call('ZRANGE', whole('due'), 0, 0, 'WITHSCORES')
        local what, when = head[1], head[1] and number(head[2]) or INF
        if when > now then
            m.soonest = when
            return true, anything
        end
        if left <= 0 then return false, anything end
        anything, left = true, left - 1
        local kind, which = string.sub(what, 1, 1), string.sub(what, 2)
        if kind == '0' then
            m.expiries, since = m.expiries + 1, when
            GiveBack(flight_of(which), 'end', 0)
        elseif kind == '1' then
            since = when
            Ripen(entry_of(string.sub(which, 15)))
        elseif kind == '4' then
            unschedule(what)
            expel(string.match(which, '^(.*):'))
        else
            if is_alive(which) then expel(which) end
            if end_session(which, kind == '3') then unschedule(what) end
        end
    end
end

-- No put is accepted any more, and none is carried out.
local function Shut()
    if m.phase ~= 'open' then return end
    m.phase = 'shut'
    while m.putters > 0 do wake(call_of(first('putters')), 'ended') end
    for _, name in ipairs(call('ZRANGE', names.slots, 0, -1)) do
        local c = call_of(name)
        c.outcome = 'ended'
        keep_call(c)
        unschedule('4' .. name)
    end
    call('DEL', names.slots)
    for _, found in ipairs(m.takers > 0 and call('ZRANGE', names.takers, 0, -1) or {}) do
        local length = tonumber(string.sub(found, 1, 8), 16)
        local key, name = string.sub(found, 9, 8 + length), string.sub(found, 23 + length)
        if entry_of(key).state == 'ABSENT' then wake(call_of(name), 'ended') end
    end
end

-- The queue closes. What there is to do may be too much for one call; then the next ones go on with
-- it, before they do anything else.
local function Closed()
    Shut()
    m.drained, m.joined = Drained(), Items() == 0
    m.phase, m.cursor = 'closing', '0'
end

local function close_on()
    while left > 0 do
        left = left - 1
        local kind = m.drainers > 0 and 'drain' or m.joiners > 0 and 'join' or m.getters > 0 and 'get'
            or m.takers > 0 and 'take'
        if kind then
            local found = first(LISTS[kind])
            if kind == 'take' then
                found = string.sub(found, 23 + tonumber(string.sub(found, 1, 8), 16))
            end
            local fine = kind == 'drain' and m.drained or kind == 'join' and m.joined
            wake(call_of(found), fine and 'done' or 'ended')
        elseif m.cursor ~= '' then
            find_flights(function() return true end, 'ending')
        elseif call('EXISTS', names.ending) == 1 then
            local f = flight_of(call('ZPOPMAX', names.ending)[1])
            if f.call ~= '' then
                local c = call_of(f.call)
                c.outcome = 'ended'
                keep_call(c)
                unschedule('4' .. f.call)
            end
            m.recalls = m.recalls + 1
            GiveBack(f, 'head', 0)
        elseif call('SCARD', names.late) > 0 then
            local e = entry_of(call('SPOP', names.late))
            call('ZADD', names.ripening, e.time, hex(e.version) .. e.key)
        elseif call('EXISTS', names.ripening) == 1 then
            Ripen(entry_of(string.sub(call('ZPOPMIN', names.ripening)[1], 15)))
        else
            m.phase = 'closed'
            return
        end
    end
end

-- Free slots are reserved for the puts that wait, the longest waiting first.
local function Admit()
    while m.putters > 0 and HasRoom() do
        local c = call_of(first('putters'))
        if hears(c) then
            call('ZADD', names.slots, c.ticket, c.name)
            reserve(c)
        end
    end
end

-- Nobody goes on waiting for a slot that is free, for what can't come any more, or for an end that is
-- there.
local function Served()
    if m.putters > 0 then Admit() end
    if m.phase == 'shut' and m.getters + m.takers > 0 and Items() == 0 then
        while m.getters > 0 do wake(call_of(first('getters')), 'ended') end
    end
    if m.joiners > 0 and Items() == 0 then
        while m.joiners > 0 do wake(call_of(first('joiners')), 'done') end
    end
    if m.drainers > 0 and Drained() then Closed() end
    if m.phase == 'closing' then close_on() end
end

-- Carries out what is due, or goes on with a close. False if that is more than one call may do.
local function Settled()
    if m.phase == 'closing' then
        close_on()
        if m.phase == 'closing' then return false end
    end
    local whole, anything = Reaped()
    if whole and anything then Served() end
    return whole and m.phase ~= 'closing'
end

local function until_then(time)
    return text(math.max(0, time - now))
end

-- One session of those whose calls wait, the ringer, knows when something falls due next. `answered`:
-- it is told in the reply, if it is the one that asks.
local function ring(answered)
    if m.waiting == 0 then
        m.ringer, m.alarm = '', INF
        return
    end
    repeat
        if m.ringer == '' or (answered and m.ringer == session) then
            for _, heir in ipairs(call('ZREVRANGE', names.waiting, 0, 9)) do
                if m.ringer == '' and is_alive(heir) then m.ringer = heir end
            end
            if m.ringer == '' then return end  -- those that are there are about to end
            m.alarm, sooner = INF, soonest()
        end
        if sooner >= m.alarm then return end
        m.alarm = sooner
    until (answered and m.ringer == session) or tell(m.ringer, 'alarm ' .. until_then(sooner))
end

-- The operations ----------------------------------------------------------------------------------

local function shut_or_closed()
    return {m.phase == 'shut' and 'shut' or 'closed'}
end

local function Put(key, value, policy, delay, wait)
    if m.phase ~= 'open' then return shut_or_closed() end
    delay = number(delay)
    return AfterPut(key, value, policy, delay)
        or Joins('put', number(wait), {key = key, policy = policy, delay = delay})
end

local function lease_at_once(e, duration)
    local f = grant(e, number(duration), session, '')
    keep_entry(e)
    return Deliver(f)
end

local function Get(wait, duration)
    if m.phase == 'closed' then return {'closed'} end
    local key = call('ZPOPMIN', whole('line'))[1]
    if key then return lease_at_once(entry_of(key), duration) end
    if m.phase == 'shut' and Items() == 0 then return {'nothing'} end
    return Joins('get', number(wait), {duration = number(duration)})
end

local function Take(key, wait, duration)
    if m.phase == 'closed' then return {'closed'} end
    local e = entry_of(key)
    if LINED[e.state] then
        set('line', key, false)
        return lease_at_once(e, duration)
    end
    if m.phase == 'shut' and e.state == 'ABSENT' then return {'nothing'} end
    return Joins('take', number(wait), {key = key, duration = number(duration)})
end

-- A call of this session; `name` is the request that it began with.
local function my_call(name)
    return call_of(session .. ':' .. name)
end

-- A call that was given something resumes, or one is told how its wait has ended.
local function Resume(name, value)
    local c = my_call(name)
    if not c then return {'gone'} end
    if c.outcome == 'waiting' then return {'wait', text(c.ticket)} end
    forget_call(c)
    if c.outcome == 'reserved' then
        unschedule('4' .. c.name)
        if c.number ~= '' then
            m.undelivered = m.undelivered - 1
            return Deliver(flight_of(c.number))
        end
        call('ZREM', names.slots, c.name)
        return AfterPut(c.key, value, c.policy, c.delay)
    end
    if c.outcome == 'timed out' then m.timeouts = m.timeouts + 1 end
    if c.kind == 'drain' then return {'ok', c.outcome == 'done' and '1' or '0'} end
    if c.outcome == 'done' then return OK end
    return c.outcome == 'timed out' and {'timeout'} or shut_or_closed()
end

-- A call has waited as long as it would. What was reserved for it in time it keeps.
local function GiveUp(name, value)
    local c = my_call(name)
    if not c or c.outcome ~= 'waiting' then return Resume(name, value) end
    unlink(c)
    forget_call(c)
    m.timeouts = m.timeouts + 1
    if c.kind ~= 'drain' then return {'timeout'} end
    Closed()
    return {'ok', '0'}
end

-- The waits that are over end. A drain closes the queue all the same.
local function TimeOut()
    local closes = false
    while left > 0 do
        local name = call('ZRANGEBYSCORE', names.waits, '-inf', now, 'LIMIT', 0, 1)[1]
        if not name then break end
        local c = call_of(name)
        left, closes = left - 1, closes or c.kind == 'drain'
        wake(c, 'timed out')
    end
    if closes then Closed() end
    return {'ok'}
end

-- A call is cancelled. The first half comes before what is due: from then on it is offered nothing.
local function leave(name)
    local c = my_call(name)
    if c and c.outcome == 'waiting' then
        unlink(c)
        forget_call(c)
    end
end

local function Cancel(name)
    local c = my_call(name)
    if not c then return OK end
    forget_call(c)
    if c.outcome == 'reserved' then
        unschedule('4' .. c.name)
        call('ZREM', names.slots, c.name)
        if c.number ~= '' then
            m.recalls = m.recalls + 1
            GiveBack(flight_of(c.number), 'head', 0)
        end
    end
    return OK
end

-- The live lease with a number on a key; or the reply that there is none.
local function live(n, key)
    if m.phase == 'closed' then return nil, {'closed'} end
    local f = flight_of(hex(tonumber(n)))
    if f and f.key == key and f.call == '' then return f end
    return nil, {'dead', n}
end

local function Ack(n, key)
    local f, refused = live(n, key)
    if not f then return refused end
    local e = entry_of(key)
    local move = TABLE[e.state][e.leases == 1 and 'ack last' or 'ack']
    land(e, f)
    drop_value(f)
    Offer(e, e.time and move[3] or move[2], 'back')
    return OK
end

local function Release(n, key, front, delay)
    local f, refused = live(n, key)
    if not f then return refused end
    m.releases = m.releases + 1
    GiveBack(f, front == '1' and 'head' or 'back', number(delay))
    return OK
end

local function is_superseded(f)
    return entry_of(f.key).newest > f.seen and '1' or '0'
end

local function Extend(n, key, duration)
    local f, refused = live(n, key)
    if not f then return refused end
    start_clock(f, duration == 'same' and f.duration or number(duration))
    keep_flight(f)
    return {'ok', text(f.deadline or INF), is_superseded(f)}
end

local function Refresh(n, key)
    local f, refused = live(n, key)
    if not f then return refused end
    f.seen = f.version
    keep_flight(f)
    return {'ok', value_of(f)}
end

local function Superseded(n, key)
    local f, refused = live(n, key)
    return f and {'ok', is_superseded(f)} or refused
end

local function Deadline(n, key)
    local f, refused = live(n, key)
    return f and {'ok', text(f.deadline or INF)} or refused
end

local function Discard(key)
    if m.phase == 'closed' then return {'closed'} end
    local e = entry_of(key)
    local move = TABLE[e.state].discard
    if not move then return {'ok', '0'} end
    m.discards = m.discards + 1
    set('line', key, false)
    unset_time(e)
    drop_value(e)
    e.version, e.attempts, e.value = 0, 0, false
    Offer(e, move[2], 'back')
    return {'ok', '1'}
end

local function Join(wait)
    if Items() == 0 then return OK end
    if m.phase == 'closed' then return {'closed'} end
    return Joins('join', number(wait), {})
end

local function Shutdown()
    Shut()
    return OK
end

local function Drain(wait)
    if m.phase == 'closed' then return {'ok', Items() == 0 and '1' or '0'} end
    local drained = Drained()
    if not drained and number(wait) > 0 then
        local reply = Joins('drain', number(wait), {})
        Shut()
        return reply
    end
    Shut()
    Served()
    if m.phase == 'shut' then Closed() end
    return {'ok', drained and '1' or '0'}
end

local function Close()
    if m.phase ~= 'closed' then Closed() end
    return OK
end

-- Sessions ----------------------------------------------------------------------------------------

-- A process begins to work with the queue, which is made if there is none. The queue takes over how
-- long something reserved is kept for a call that does not claim it, and with which command to publish.
local function Open(schema, maxsize, ttl, claim, publish)
    if text(m.maxsize) ~= maxsize then return {'refused', 'maxsize', text(m.maxsize)} end
    m.claim, m.publish = number(claim), publish or 'PUBLISH'
    if not is_alive(session) then m.sessions = m.sessions + 1 end
    call('HSET', base .. ':session:' .. session, 'alive', 1, 'ttl', ttl, 'done', 0, 'note', NOTE)
    call('PERSIST', base .. ':session:' .. session)
    if ttl ~= 'inf' then schedule('2' .. session, now + number(ttl)) end
    return {'ok', m.id, text(now)}
end

local function make(maxsize)
    m.schema, m.maxsize, m.phase = SCHEMA, number(maxsize), 'open'
    m.id = redis.sha1hex(session .. text(now))
    m.puts, m.number, m.ticket, m.place = 0, 0, 0, 0
    m.getters, m.takers, m.putters, m.joiners, m.drainers, m.waiting = 0, 0, 0, 0, 0, 0
    m.ringer, m.alarm, m.claim, m.publish = '', INF, INF, 'PUBLISH'
    m.drained, m.joined, m.cursor, m.soonest, m.deferred = false, false, '0', INF, 0
    m.sessions, m.grants, m.undelivered = 0, 0, 0
    m.releases, m.expiries, m.recalls, m.discards, m.timeouts = 0, 0, 0, 0, 0
end

local function Hello(ttl, ...)
    call('HSET', base .. ':session:' .. session, 'ttl', ttl)
    if ttl ~= 'inf' then schedule('2' .. session, now + number(ttl)) end
    local reply = {'ok', text(now), 'inf'}
    for _, name in ipairs({...}) do
        local c = my_call(name)
        reply[#reply + 1] = not c and 'gone' or c.outcome == 'waiting' and 'waits' or 'ready'
    end
    return reply
end

local function Bye()
    drop(session, '3')
    fresh = {}  -- nobody will ask for them
    return OK
end

-- Looking -----------------------------------------------------------------------------------------

local function Peek(key)
    local e = entry_of(key)
    return LINED[e.state] and {'ok', value_of(e)} or {'ok'}
end

local function Contains(key)
    return {'ok', call('ZSCORE', whole('line'), key) and '1' or '0'}
end

local function sized(command, part)
    return function() return {'ok', text(call(command, whole(part)))} end
end

-- A page of the line, from a rank on: its keys, or keys and values.
local function page(size, with_values)
    return function(cursor)
        local from = tonumber(cursor)
        local keys = call('ZRANGE', whole('line'), from, from + size - 1)
        local reply = {'ok', #keys == size and text(from + size) or '0'}
        for _, key in ipairs(keys) do
            reply[#reply + 1] = key
            if with_values then reply[#reply + 1] = Peek(key)[2] end
        end
        return reply
    end
end

local function InflightKeys(cursor)
    local some = call('HSCAN', whole('fly'), cursor, 'COUNT', 500)
    local reply = {'ok', some[1]}
    for i = 2, #some[2], 2 do reply[#reply + 1] = (unpacked(some[2][i])) end
    return reply
end

local function DelayedKeys(cursor)
    local some = call('SSCAN', names.late, cursor, 'COUNT', 500)
    local reply = {'ok', some[1]}
    for _, key in ipairs(some[2]) do reply[#reply + 1] = key end
    return reply
end

-- Some numbers of copies in flight. Every other copy, and any that comes meanwhile, is found by going on.
local function Numbers(cursor)
    local some = call('HSCAN', whole('fly'), cursor, 'COUNT', FEW)
    local reply = {'ok', some[1]}
    for i = 1, #some[2], 2 do reply[#reply + 1] = text(tonumber(some[2][i], 16)) end
    return reply
end

-- The copies in flight, in the order of their grants, at most so many of them: of all if these are few,
-- and otherwise of those with the numbers that are asked for.
local function held(most, asked)
    local numbers, rows = {}, {}
    if call('HLEN', whole('fly')) <= FEW then
        numbers = call('HKEYS', whole('fly'))
        table.sort(numbers)
    else
        for i, n in ipairs(asked) do numbers[i] = hex(tonumber(n)) end
    end
    for _, n in ipairs(numbers) do
        if #rows >= most then break end
        local f = flight_of(n)
        if f then
            local granted = tonumber(n, 16)  -- which is when, too
            rows[#rows + 1] = {
                text(granted), f.key, f.call == '' and text(f.attempts) or '0',
                text(math.max(0, now - granted)), text(f.deadline and f.deadline - now or INF),
            }
        end
    end
    return rows
end

-- When the copy came into the line that has been there longest. A place is counted from that time; each
-- part of the line has its oldest copy at an end of its own.
local function oldest()
    local function place(command, from, to)
        return tonumber(call(command, whole('line'), from, to, 'WITHSCORES', 'LIMIT', 0, 1)[2])
    end
    local border = text(RETURNED)
    local front = place('ZREVRANGEBYSCORE', border, '-inf')
    local returned = place('ZRANGEBYSCORE', '(' .. border, '(0')
    local arrived = place('ZRANGEBYSCORE', '(0', '+inf')
    return math.min(front and RETURNED - front or INF, returned and returned - RETURNED or INF,
        arrived or INF)
end

-- What an operation would have to count on top of what it does anyway is not counted, but follows: an ack
-- is a grant that has ended in no other way, and a value was replaced if it has gone in no other way.
local function Stats(leases, ...)
    local line, fly, late = call('ZCARD', whole('line')), call('HLEN', whole('fly')), call('SCARD', names.late)
    local values, age = line + fly + late + m.deferred, line > 0 and now - oldest()
    local acks = m.grants - fly - m.releases - m.expiries - m.recalls
    return {
        'ok', 'now', text(now), 'phase', m.phase, 'maxsize', text(m.maxsize), 'sessions', text(m.sessions),
        'available', text(line), 'delayed', text(late), 'in_flight', text(fly),
        'deferred', text(m.deferred), 'slots', text(call('ZCARD', names.slots)),
        'waiting_gets', text(m.getters), 'waiting_takes', text(m.takers), 'waiting_puts', text(m.putters),
        'waiting_joins', text(m.joiners), 'waiting_drains', text(m.drainers),
        'puts', text(m.puts), 'replaced', text(m.puts - values - acks - m.discards),
        'deliveries', text(m.grants - m.undelivered), 'acks', text(acks), 'releases', text(m.releases),
        'expiries', text(m.expiries), 'discards', text(m.discards), 'timeouts', text(m.timeouts),
        'oldest_available_age', age and text(math.max(0, age)) or '', 'leases', held(tonumber(leases or 0), {...}),
    }
end

-- The whole state, in the words of the specification. O(n): for tests.
local function Snapshot()
    local returned, arrived, delayed, deferred = {}, {}, {}, {}
    local flight, waiting, slots = {}, {}, {}
    local line = call('ZRANGE', whole('line'), 0, -1, 'WITHSCORES')
    for i = 1, #line, 2 do
        local e = entry_of(line[i])
        local part = tonumber(line[i + 1]) < 0 and returned or arrived
        part[#part + 1] = {e.key, value_of(e), text(e.version), text(e.attempts)}
    end
    for _, key in ipairs(call('HKEYS', whole('keys'))) do
        local e = entry_of(key)
        local part = LATE[e.state] and delayed or e.state == 'DEFERRED' and deferred
        if part then
            part[#part + 1] = {key, value_of(e), text(e.version), text(e.attempts),
                e.time and text(e.time) or '-inf'}
        end
    end
    for _, n in ipairs(call('HKEYS', whole('fly'))) do
        local f = flight_of(n)
        flight[#flight + 1] = {text(tonumber(n, 16)), f.key, value_of(f), text(f.version),
            text(f.attempts), f.call, text(f.deadline or INF), f.session}
    end
    for _, list in pairs(LISTS) do
        for _, found in ipairs(call('ZRANGE', names[list], 0, -1)) do
            if list == 'takers' then
                found = string.sub(found, 23 + tonumber(string.sub(found, 1, 8), 16))
            end
            local c = call_of(found)
            waiting[#waiting + 1] = {text(c.ticket), c.kind, c.key, text(c.deadline or INF), c.name}
        end
    end
    for _, name in ipairs(call('ZRANGE', names.slots, 0, -1)) do
        slots[#slots + 1] = {text(call_of(name).ticket), name}
    end
    return {'ok', m.phase, text(m.puts), returned, arrived, delayed, deferred, flight, waiting, slots}
end

-- The calls ---------------------------------------------------------------------------------------
--
--   FCALL leasedkeyq2 1 lkq:{NAME} SESSION REQUEST DONE OP ARGS...
--   FCALL leasedkeyq2 1 lkq:{NAME} SESSION 0 DONE batch {REQUEST OP NUMBER-OF-ARGS ARGS...}...
--
-- A request is carried out once: its reply is kept, under its number, until the session says that it
-- has arrived (DONE). REQUEST 0 only looks, and is open to anyone. Of a session that is not known, or
-- of a request that was said to be done: `gone`. More is due than one call carries out: `again`.
--
-- A batch is requests, some dozens at most, of a session that is open. They are carried out one after
-- the other, as if each came in a call of its own at the same moment; it is only that what costs the same
-- for many is done once. The reply is a list of theirs, where a plain ok is just that word. When the call
-- has done as much as a call may do, the rest is answered `again`.
local OPERATIONS = {
    open = Open,                  -- SCHEMA MAXSIZE TTL CLAIM [PUBLISH]  -> ok ID NOW | refused WHY WHAT
    put = Put,                    -- KEY VALUE POLICY DELAY WAIT  -> ok | wait | timeout | flying | shut | closed
    get = Get,                    -- WAIT DURATION  -> ok NUMBER KEY VALUE ATTEMPT | wait | timeout | nothing | closed
    take = Take,                  -- KEY WAIT DURATION  -> likewise
    resume = Resume,              -- CALL [VALUE]  -> as the call would have been answered | gone
    give_up = GiveUp,             -- CALL [VALUE]  -> likewise, or timeout
    cancel = Cancel,              -- CALL  -> ok
    ack = Ack,                    -- NUMBER KEY  -> ok | dead NUMBER | closed
    release = Release,            -- NUMBER KEY FRONT DELAY  -> likewise
    extend = Extend,              -- NUMBER KEY DURATION|same  -> ok MOMENT SUPERSEDED | ...
    refresh = Refresh,            -- NUMBER KEY  -> ok VALUE | ...
    superseded = Superseded,      -- NUMBER KEY  -> ok 0|1 | ...
    deadline = Deadline,          -- NUMBER KEY  -> ok MOMENT|inf | ...
    discard = Discard,            -- KEY  -> ok 0|1 | closed
    join = Join,                  -- WAIT  -> ok | wait | timeout | closed
    drain = Drain,                -- WAIT  -> ok 0|1 | wait
    shutdown = Shutdown,          -- -> ok
    close = Close,                -- -> ok
    hello = Hello,                -- TTL CALL...  -> ok NOW ALARM waits|ready|gone...
    bye = Bye,                    -- -> ok
    tick = TimeOut,               -- -> ok ALARM
    peek = Peek,                  -- KEY  -> ok [VALUE]
    contains = Contains,          -- KEY  -> ok 0|1
    qsize = sized('ZCARD', 'line'),
    inflight_size = sized('HLEN', 'fly'),
    delayed_size = sized('SCARD', 'late'),
    available_keys = page(1000, false),  -- CURSOR  -> ok CURSOR KEY...
    available_items = page(200, true),   -- CURSOR  -> ok CURSOR KEY VALUE...
    inflight_keys = InflightKeys,        -- CURSOR  -> ok CURSOR KEY..., a key perhaps more than once
    delayed_keys = DelayedKeys,          -- CURSOR  -> likewise
    numbers = Numbers,                   -- CURSOR  -> ok CURSOR NUMBER..., likewise
    stats = Stats,                -- [LEASES NUMBER...]  -> ok NAME VALUE...; leases: NUMBER KEY ATTEMPT AGE LEFT
    snapshot = Snapshot,          -- -> ok PHASE PUTS RETURNED ARRIVED DELAYED DEFERRED FLIGHT WAITING SLOTS
}

-- Where in the reply the alarm is, if the one that asks is told in it.
local ALARM_AT = {wait = 3, hello = 3, tick = 2}

-- Carries out an operation, between what every one begins and ends with.
local function carry_out(op, args, from, to)
    if op == 'cancel' then leave(args[from]) end
    local whole = now < m.soonest and m.phase ~= 'closing' or Settled()
    local reply
    if not whole then
        reply = {'again'}
    elseif not alive then
        reply = {'gone'}  -- the end of the session itself was due
    else
        reply = OPERATIONS[op](unpack(args, from, to))
        if m.waiting > 0 or m.phase == 'closing' then Served() end
    end
    if m.waiting > 0 or m.ringer ~= '' or dropped or ALARM_AT[op] then
        local alarm = whole and alive and ALARM_AT[reply[1] == 'wait' and 'wait' or op]
        repeat
            if dropped then
                dropped = false
                Settled()
            end
            ring(alarm)
        until not dropped or left <= 0
        if alarm then reply[alarm] = m.ringer == session and until_then(m.alarm) or 'inf' end
    end
    return reply
end

-- Looks the session up, and the replies to these requests that are kept: from the third on.
local function look_up(requests)
    fresh = {}
    if not requests[1] then return requests end
    local found = call('HMGET', base .. ':session:' .. session, 'alive', 'done', unpack(requests))
    there, done = found[1], tonumber(found[2] or 0)
    return found
end

local UNKEPT = {again = true, gone = true, refused = true}
local packed_ok

-- Carries out a request, unless it was: then there is a reply that was kept.
local function answer(kept, op, args, from, to)
    -- What another version keeps is not touched, nor is a client of another version served.
    if not fits then return {'refused', 'schema', tostring(m.schema)} end
    if op == 'open' and args[from] ~= SCHEMA then return {'refused', 'schema', SCHEMA} end
    if request ~= '0' then
        if kept then return unpacked(kept) end
        if op == 'open' then
            if not m.phase then make(args[from + 1]) end
        elseif not there or tonumber(request) <= done then
            return {'gone'}
        end
    end
    if not m.phase then return {'gone'} end
    if left <= 0 then return {'again'} end
    sooner, dropped, alive = INF, false, true
    local reply = carry_out(op, args, from, to)
    if request == '0' then
        left = left - #reply / 10
    elseif not UNKEPT[reply[1]] and op ~= 'bye' then
        local packed, n = reply == OK and packed_ok or packed_as(reply), #fresh
        if reply == OK then
            packed_ok = packed
        else
            left = left - #packed / 10000
        end
        fresh[n + 1], fresh[n + 2] = request, packed
    end
    return reply
end

-- Replies are kept, and those that have arrived go, some at a time.
local function keep_replies(arrived)
    if #fresh == 0 then return end
    local mine = base .. ':session:' .. session
    if arrived - done >= 16 then
        local numbers = {}
        for n = done + 1, math.min(arrived, done + BUDGET) do numbers[#numbers + 1] = n end
        call('HDEL', mine, unpack(numbers))
        fresh[#fresh + 1] = 'done'
        fresh[#fresh + 1] = done + #numbers
    end
    call('HSET', mine, unpack(fresh))
end

-- Where among its arguments an operation has the key, and before it the number of a lease.
local KEY_AT = {put = 1, take = 1, discard = 1, peek = 1, ack = 2, release = 2, extend = 2, refresh = 2}

local function fetch(part, members)
    if #members == 0 then return end
    local found, has = call('HMGET', names[part], unpack(members)), known[part]
    for i = 1, #members do has[members[i]] = found[i] end
end

local function carry_out_all(args)
    local requests, keys, numbers, begins, replies = {}, {}, {}, {}, {}
    local i, last, n = 5, #args, 0
    while i < last do
        local r, at = args[i], KEY_AT[args[i + 1]]
        n = n + 1
        begins[n] = i
        if r ~= '0' then requests[#requests + 1] = r end
        if at then
            keys[#keys + 1] = args[i + 2 + at]
            if at == 2 then numbers[#numbers + 1] = hex(tonumber(args[i + 3])) end
        end
        i = i + 3 + args[i + 2]
    end
    begins[n + 1] = i
    local kept, k = look_up(requests), 2
    fetch('keys', keys)
    fetch('fly', numbers)
    for j = 1, n do
        i = begins[j]
        request = args[i]
        if request ~= '0' then k = k + 1 end
        local reply = answer(kept[k], args[i + 1], args, i + 3, begins[j + 1] - 1)
        replies[j] = reply == OK and 'ok' or reply
    end
    return replies
end

local function run(keys, args)
    call, packed_as, unpacked, format = redis.call, cmsgpack.pack, cmsgpack.unpack, string.format
    base, session, request = keys[1], args[1], args[2]
    now, left = clock(args), BUDGET
    since = now
    known, unwritten = nil, nil
    if base ~= names_of then name_parts() end
    load_meta()
    local reply
    if args[4] == 'batch' then
        unwritten = {keys = {}, values = {}, fly = {}, line = {}, due = {}}
        known = {keys = {}, values = {}, fly = {}, line = {}, due = {}}
        reply = carry_out_all(args)
        for part in pairs(WRITES) do write(part) end
    else
        local kept = look_up(request ~= '0' and {request} or {})
        reply = answer(kept[3], args[4], args, 5, #args)
    end
    keep_replies(tonumber(args[3]))
    if m.phase and fits then keep_meta() end
    return reply
end

if redis.register_function then
    redis.register_function('leasedkeyq2', run)
    -- What frees memory, or must not fail for want of it: also when the server has none left.
    redis.register_function({
        function_name = 'leasedkeyq2_oom', callback = run, flags = {'allow-oom'},
    })
else
    -- A script that has written something, were it nothing, may go on though there is no memory left.
    local changes, puts = ARGV[2] ~= '0', ARGV[4] == 'put'
    local i = ARGV[4] == 'batch' and 5 or #ARGV
    while i < #ARGV do
        changes, puts = changes or ARGV[i] ~= '0', puts or ARGV[i + 1] == 'put'
        i = i + 3 + ARGV[i + 2]
    end
    if changes and not puts then redis.call('DEL', KEYS[1]) end
    return run(KEYS, ARGV)
end
