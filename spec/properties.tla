----------------------------- MODULE properties -----------------------------
(***************************************************************************)
(* What the queue promises, in numbered properties: of every state, of     *)
(* every step, and of what happens in the end.                             *)
(***************************************************************************)
EXTENDS leasedkeyq

(***************************************************************************)
(* State invariants.                                                       *)
(***************************************************************************)
Versions == Nat \ {0}
Names    == Calls \cup Producers \cup Watchers

Range(seq)  == {seq[i] : i \in DOMAIN seq}
Values      == [version : Versions, tries : 0 .. Most]
IsTime(t)   == t = Never \/ t \in Int
IsSpan(t)   == t = Never \/ t \in Nat
NotLate(t)  == t = Never \/ (t \in Int /\ t >= -Late)
Of(k, seq)  == {i \in DOMAIN seq : seq[i].key = k}

\* 1. Every variable has the shape that its comment says.
TypeOK ==
    /\ \A copy \in Range(returned \o arrived) :
            /\ DOMAIN copy = {"key", "version", "tries"} /\ copy.key \in Keys
            /\ copy.version \in Versions /\ copy.tries \in 0 .. Most
    /\ DOMAIN delayed = Keys /\ DOMAIN deferred = Keys
    /\ \A k \in Keys : \A x \in {delayed[k], deferred[k]} \ {Nothing} :
            /\ DOMAIN x = {"version", "tries", "left"}
            /\ x.version \in Versions /\ x.tries \in 0 .. Most /\ NotLate(x.left)
    /\ \A k \in Keys : IsSpan(deferred[k].left)
    /\ \A copy \in Range(flight) :
            /\ DOMAIN copy = {"call", "key", "version", "tries", "seen", "left"}
            /\ copy.call \in Calls /\ copy.key \in Keys
            /\ copy.version \in Versions /\ copy.tries \in 0 .. Most
            /\ copy.seen \in Nat
            /\ copy.left = Reserved \/ NotLate(copy.left)
    /\ \A w \in Range(waiting) :
            /\ IsSpan(w.left)
            /\ \/ w.call \in Calls /\ w.kind = "get" /\ w.key = AnyKey
               \/ w.call \in Calls /\ w.kind = "take" /\ w.key \in Keys
               \/ w.call \in Producers /\ w.kind = "put" /\ w.key \in Keys
               \/ w.call \in Watchers /\ w.kind \in {"join", "drain"}
    /\ \A w \in Range(slots) : w.call \in Producers /\ w.kind = "put" /\ w.left = Reserved
    /\ ended \in [Calls -> {"none", "acked", "released", "expired"}]
    /\ newest \in [Keys -> Nat]
    /\ puts \in Nat
    /\ phase \in {"open", "shut", "closed"}

\* 2. A key has at most one copy that waits: in the line, or delayed.
OneAvailable ==
    \A k \in Keys : Cardinality(Of(k, Line(Now))) + (IF Delayed(Now, k) THEN 1 ELSE 0) <= 1

\* 3. A value is deferred only while a lease on its key is live and no copy of
\*    it waits.
DeferredOnlyInFlight ==
    \A k \in Keys : Deferred(Now, k) => InFlight(Now, k) /\ ~Stands(Now, k)

\* 4. A deferred value is newer than every copy of its key in flight.
DeferredIsNewest ==
    \A k \in Keys : Deferred(Now, k) =>
        \A i \in FlightsOf(Now, k) : flight[i].version < deferred[k].version

\* 5. No call waits for a copy that is available.
NoneWaitsInVain ==
    \A i \in DOMAIN waiting : \A k \in Keys :
        Wants(waiting[i], k) => ~Available(Now, k)

\* 6. A call is in one place: it waits, or has a slot, or has a copy, or neither.
OnePlacePerCall ==
    LET places == waiting \o slots \o flight
    IN  \A i, j \in DOMAIN places : places[i].call = places[j].call => i = j

\* 7. No value is stored twice, and none was never put.
StoredVersions(k) ==
    {Line(Now)[i].version : i \in Of(k, Line(Now))}
    \cup {flight[i].version : i \in FlightsOf(Now, k)}
    \cup ({delayed[k].version, deferred[k].version} \ {0})
Stored(s) == Len(Line(s)) + Len(s.flight)
                + Cardinality({k \in Keys : Delayed(s, k)})
                + Cardinality({k \in Keys : Deferred(s, k)})
EachValueOnce ==
    LET all == UNION {StoredVersions(k) : k \in Keys}
    IN  /\ Cardinality(all) = Stored(Now)
        /\ \A k \in Keys : \A v \in StoredVersions(k) : v <= newest[k] /\ newest[k] <= puts

\* 8. A closed queue has nothing in flight, delayed or deferred, and nobody waits
\*    for it.
ClosedIsQuiet == phase = "closed" =>
    /\ flight = <<>> /\ waiting = <<>> /\ slots = <<>>
    /\ \A k \in Keys : ~Delayed(Now, k) /\ ~Deferred(Now, k)

\* 9. A call that waits is one that would: it has not a timeout of zero.
OnlyPatientCallsWait == \A i \in DOMAIN waiting : WaitTime[waiting[i].call] # 0

\* 10. Theorem: what is due depends on time alone.  Over any three ticks, carrying it
\*     out at every tick or all at once at the last leaves the same, be it leases
\*     that end or delayed values that ripen.
ExpiryByTimeAlone ==
    LET Later(s) == Then(Reaped(Aged(s)), Served)
        punctual == Later(Later(Later(Settled)))
    IN  /\ Later(Aged(Aged(Now))) = punctual
        /\ Later(Aged(Later(Now))) = punctual
        /\ Later(Later(Aged(Now))) = punctual
        /\ Then(Reaped(Settled), Served) = Settled

\* 11. Theorem: without "buffer" at most one lease on a key is live.
OneLeasePerKey ==
    "buffer" \notin Policies =>
        \A k \in Keys : Cardinality(FlightsOf(Now, k)) <= 1

\* 12. A bounded queue never holds more items than its bound.
ItemsAreBounded == MaxSize > 0 =>
    Len(returned \o arrived) + Len(flight) + Len(slots)
        + Cardinality({k \in Keys : delayed[k] # Nothing}) <= MaxSize

\* 13. A put waits only for a slot of a queue that is full, and nobody has one, or
\*     waits for one, when no put is accepted any more.
PutsWaitForASlot ==
    /\ \A i \in DOMAIN waiting : IsPut(waiting[i]) => MaxSize > 0 /\ Items(Now) >= MaxSize
    /\ phase # "open" => slots = <<>> /\ \A i \in DOMAIN waiting : ~IsPut(waiting[i])

\* 14. After shutdown nobody waits for what can't come: a get or take only while
\*     something of what it wants is in the queue, a join while anything is, a drain
\*     while something is in the line or in flight.
NobodyWaitsForNothing ==
    \A w \in Range(waiting) :
        /\ phase = "shut" /\ IsGet(w) => \E k \in Keys : Wants(w, k) /\ Known(Now, k)
        /\ IsJoin(w) => Items(Now) > 0
        /\ IsDrain(w) => phase = "shut" /\ ~(Line(Now) = <<>> /\ flight = <<>>)

\* 15. A call that was given something can resume, and one that waits or was given
\*     something can be cancelled.
NobodyIsStuck ==
    \A c \in Names :
        LET given == IsReserved(Now, c) \/ HasSlot(Now, c)
        IN  /\ given => ENABLED Resume(c)
            /\ given \/ IsWaiting(Now, c) => ENABLED Cancel(c)

-----------------------------------------------------------------------------
(***************************************************************************)
(* Order: what a step may and may not do.  States alone can't show order,  *)
(* so these properties compare the state that the step works on (Before    *)
(* it, when what is due is carried out) with the one that it leaves.       *)
(***************************************************************************)
Op        == step'.did[1]
Did(op, x) == Op = op /\ step'.did[2] = x
Arg(n)    == step'.did[n]

Began == IF Op = "tick" THEN Now
         ELSE LET Stays(w) == ~Did("cancel", w.call)
              IN  Served(Reaped([Now EXCEPT !.waiting = SelectSeq(@, Stays)]))
After == [returned |-> returned', arrived |-> arrived', delayed |-> delayed',
          deferred |-> deferred', flight |-> flight', waiting |-> waiting',
          slots |-> slots', ended |-> ended', newest |-> newest', puts |-> puts',
          phase |-> phase', told |-> step'.told]

KeysOf(seq)   == {seq[i].key : i \in DOMAIN seq}
Place(seq, k) == CHOOSE i \in DOMAIN seq : seq[i].key = k
LastKey(seq)  == seq[Len(seq)].key
\* The keys that a step brings into the line.
Entered(before) == KeysOf(Line(After)) \ KeysOf(Line(before))

Closes == phase # "closed" /\ phase' = "closed"

\* The put that is carried out, at once, or by a call that waited for a slot: a set of
\* one, or none.
Carried ==
    CASE Op = "put" -> {[key |-> Arg(2), policy |-> Arg(3), delay |-> Arg(4)]}
      [] Op = "resume" /\ HasSlot(Now, Arg(2)) /\ <<Arg(2), "None">> \in step'.told ->
            {[key |-> put.key, policy |-> put.policy, delay |-> put.delay] :
                put \in {slots[Position(slots, Arg(2))]}}
      [] OTHER -> {}

\* 16. A call that raises an error does not happen, and only a call that was given
\*     something resumes.
ErrorsRefuse == [][
    /\ Op = "put"  => PutError(Arg(2), Arg(3)) = "ok"
    /\ Op = "put_waits" => PutError(Arg(3), Arg(4)) = "TimeoutError"
    /\ Op = "get"  => GetError(Arg(2)) = "ok"
    /\ Op = "take" => TakeError(Arg(2), Arg(3)) = "ok"
    /\ Op \in {"ack", "release", "extend", "refresh"} => LeaseError(Arg(2)) = "ok"
    /\ Op = "discard" => DiscardError(Arg(2)) = "ok"
    /\ Op = "join"    => JoinError(Arg(2)) = "ok"
    /\ Op = "resume"  => IsReserved(Now, Arg(2)) \/ HasSlot(Now, Arg(2))
    ]_vars

\* 17. Copies that stay in the line stay in their order, and in their part.
LineKeepsOrder == [][
    LET before == Line(Now)  after == Line(After)
        both   == KeysOf(before) \cap KeysOf(after)
    IN  \A k \in both :
            /\ \A m \in both : Place(before, k) < Place(before, m)
                                  => Place(after, k) < Place(after, m)
            /\ k \in KeysOf(returned) <=> k \in KeysOf(returned')
    ]_vars

\* 18. First in, first out: get leases the head of the line.
Lent(c, k, copy) ==
    [call |-> c, key |-> k, version |-> copy.version, tries |-> More(copy.tries),
     seen |-> copy.version, left |-> LeaseTime[c]]
HeadFirst == [][
    \A before \in {Began} :
    \A c \in Calls : Did("get", c) /\ Line(before) # <<>> =>
        LET head == Head(Line(before))
        IN  /\ Line(After) = Tail(Line(before))
            /\ flight' = Append(before.flight, Lent(c, head.key, head))
    ]_vars

\* 19. A take leases the copy of its key and moves no other.
TakeIsExact == [][
    \A before \in {Began} :
    \A c \in Calls, k \in Keys : Did("take", c) /\ Arg(3) = k /\ Available(before, k) =>
        /\ KeysOf(Line(After)) = KeysOf(Line(before)) \ {k}
        /\ flight' = Append(before.flight,
                            Lent(c, k, Line(before)[Place(Line(before), k)]))
    ]_vars

\* 20. A put, a value set free by an ack, a release to the back, and whatever was
\*     delayed, enter the line at its very end.
BackIsLast == [][
    \A before \in {Began} :
    LET toTheBack == \/ Carried # {} \/ Op = "ack" \/ (Op = "release" /\ Arg(3) = "back")
                     \/ \E k \in Entered(before) : Delayed(before, k)
    IN  toTheBack /\ ~Closes
            => Entered(before) = {} \/ (arrived' # <<>> /\ Entered(before) = {LastKey(arrived')})
    ]_vars

\* 21. A release to the front and the copy of a cancelled call enter at the
\*     very front.
FrontIsFirst == [][
    \A before \in {Began} :
    (Op = "cancel" \/ (Op = "release" /\ Arg(3) = "front"))
        => \/ {k \in Entered(before) : ~Delayed(before, k)} = {}
           \/ returned' # <<>> /\ Entered(before) = {returned'[1].key}
    ]_vars

\* 22. What is due enters in the order of time: copies that expire at the end of the
\*     first part, in the order of their deadlines, and of their granting where these
\*     are equal; delayed copies at the end of the line, in the order of their times,
\*     and of their versions where these are equal, after the leases of that time.
ExpiredInOrder == [][
    Op = "reap" =>
        LET new  == SubSeq(returned', Len(returned) + 1, Len(returned'))
            ripe == SubSeq(arrived', Len(arrived) + 1, Len(arrived'))
            due(k) == {i \in FlightsOf(Now, k) : IsDue(flight[i].left)}
            sooner(i, j) == \/ flight[i].left < flight[j].left
                            \/ flight[i].left = flight[j].left /\ i < j
            \* Where a delayed copy and an ending lease meet, the first to come counts.
            Ends(k) == {<<flight[i].left, 0, i>> : i \in due(k)}
            Comes(k) == Ends(k) \cup IF IsDue(delayed[k].left)
                        THEN {<<delayed[k].left, 1, delayed[k].version>>} ELSE {}
            Earlier(x, y) == \/ x[1] < y[1]
                             \/ x[1] = y[1] /\ x[2] < y[2]
                             \/ x[1] = y[1] /\ x[2] = y[2] /\ x[3] < y[3]
        IN  /\ KeysOf(Line(After)) \ KeysOf(Line(Now)) = KeysOf(new) \cup KeysOf(ripe)
            \* (A delayed copy may have come before, and have been given to a call.)
            /\ \A a \in DOMAIN new : LET k == new[a].key IN \E i \in due(k) :
                    Delayed(Now, k) => Sooner(delayed[k].left, flight[i].left - 1) = delayed[k].left
            /\ \A a, b \in DOMAIN new : a < b =>
                \E i \in due(new[a].key) : \A j \in due(new[b].key) : sooner(i, j)
            /\ \A a \in DOMAIN ripe : Delayed(Now, ripe[a].key)
            /\ \A a, b \in DOMAIN ripe : a < b =>
                \E x \in Comes(ripe[a].key) : \A y \in Comes(ripe[b].key) : Earlier(x, y)
            /\ \A k \in Keys : due(k) # {} => ~Delayed(After, k)
    ]_vars

\* 23. On close the copies in flight come back in front of all others, in the
\*     order in which they were granted, and the delayed ones behind all others, in
\*     the order of their times.
ClosedInOrder == [][
    \A before \in {Began} :
    Closes =>
        LET new     == SubSeq(returned', 1, Len(returned') - Len(before.returned))
            late    == SubSeq(arrived', Len(before.arrived) + 1, Len(arrived'))
            last(k) == CHOOSE i \in FlightsOf(before, k) :
                            \A j \in FlightsOf(before, k) : j <= i
            rest    == {k \in Keys : Delayed(before, k) /\ ~InFlight(before, k)}
        IN  \/ Op \in {"ack", "release", "discard"}
            \/ /\ Entered(before) = KeysOf(new) \cup KeysOf(late)
               /\ KeysOf(late) = {k \in Keys : Delayed(before, k)}
               /\ \A a, b \in DOMAIN new : a < b => last(new[a].key) < last(new[b].key)
               /\ \A a, b \in DOMAIN late : a < b /\ late[a].key \in rest =>
                    /\ late[b].key \in rest
                    /\ Before(before.delayed[late[a].key], before.delayed[late[b].key])
    ]_vars

\* 24. Calls stay in order: a copy given out later stands later in `flight', a
\*     call that came later stands later in `waiting', a put that was given its slot
\*     later stands later in `slots'.
InOrder(before, after) ==
    \A i, j \in DOMAIN after : i < j =>
        LET a == Position(before, after[i].call)
            b == Position(before, after[j].call)
        IN  b > 0 => a > 0 /\ a < b
CallsKeepOrder == [][
    \A before \in {Began} :
        /\ InOrder(flight, before.flight)   /\ InOrder(before.flight, flight')
        /\ InOrder(waiting, before.waiting) /\ InOrder(before.waiting, waiting')
        /\ InOrder(slots, slots')
    ]_vars

\* 25. No barging: nobody is given a copy that a call which still waits has
\*     waited for longer; and a call that waits for one key is given no other.
NoBarging == [][
    \A i \in DOMAIN waiting : \A c \in Calls : \A k \in Keys :
        LET got == /\ \E n \in FlightsOf(After, k) : flight'[n].call = c
                   /\ \A n \in FlightsOf(Now, k) : flight[n].call # c
            wanted == Wants(waiting[i], k)
        IN  /\ got /\ wanted /\ IsWaiting(After, waiting[i].call)
                => Position(waiting, c) \in 1 .. i - 1
            /\ got /\ waiting[i].call = c => wanted
    ]_vars

\* 26. Puts are served in the order of arrival: none is given a slot, and none adds an
\*     item, while one that came earlier goes on waiting.
PutsInOrder == [][
    \A before \in {Began} :
    \A i \in DOMAIN waiting :
        IsPut(waiting[i]) /\ IsWaiting(After, waiting[i].call) =>
            /\ \A j \in DOMAIN slots' :
                HasSlot(Now, slots'[j].call) \/ Position(waiting, slots'[j].call) \in 1 .. i - 1
            /\ Op = "put" => Items(After) <= Items(before)
    ]_vars

\* 27. A put begins to wait only if it adds an item (its key is absent, or it puts a
\*     copy beside those in flight) to a queue that is full.
WaitsOnlyForRoom == [][
    \A before \in {Began} :
    Op = "put_waits" =>
        /\ \/ KeyState(before, Arg(3)) = "ABSENT"
           \/ KeyState(before, Arg(3)) \in {"LEASED", "DEFERRED"} /\ Arg(4) = "buffer"
        /\ Items(before) = MaxSize
    ]_vars

\* 28. A put takes a key from one of its states to another by this table.  (A copy
\*     that a waiting call is given at once is LEASED, not available.)
PutsByTheTable == [][
    \A before \in {Began} :
    \A put \in Carried :
        LET k    == put.key   p == put.policy
            from == KeyState(before, k)  to == KeyState(After, k)
            x    == before.delayed[k]    y  == before.deferred[k]
            \* The earliest of the times has come.
            comes == IsDue(Sooner(put.delay, Sooner(x.left, y.left)))
            new  == IF comes THEN {"AVAILABLE", "LEASED"} ELSE {"DELAYED"}
            beside == IF comes THEN {"BUFFERED", "LEASED"} ELSE {"BUFFERED_DELAYED"}
            \* The newest of the values in flight is replaced.
            revised == \E i \in FlightsOf(before, k) :
                /\ flight'[i].version = puts'
                /\ \A j \in FlightsOf(before, k) :
                        before.flight[j].version <= before.flight[i].version
        IN  CASE from \in {"ABSENT", "DELAYED"} -> to \in new
              [] from = "AVAILABLE" -> to = "AVAILABLE"
              [] from = "BUFFERED"  -> p # "reject" /\ to = "BUFFERED"
              [] from = "BUFFERED_DELAYED" -> p # "reject" /\ to \in beside
              [] from = "LEASED"    -> \/ p = "update" /\ to = "LEASED" /\ revised
                                       \/ p = "defer"  /\ to = "DEFERRED"
                                       \/ p = "buffer" /\ to \in beside
              [] from = "DEFERRED"  -> \/ p \in {"update", "defer"} /\ to = "DEFERRED"
                                       \/ p = "buffer" /\ to \in beside
    ]_vars

\* 29. Nothing is merged backwards: a value is only ever replaced by a newer
\*     one, wherever it is.
NeverOlder(s, t) ==
    /\ \A k \in Keys :
        /\ Available(s, k) /\ Available(t, k)
            => AvailableVersion(t, k) >= AvailableVersion(s, k)
        /\ Delayed(s, k) /\ Delayed(t, k)
            => t.delayed[k].version >= s.delayed[k].version
        /\ Delayed(s, k) /\ Available(t, k)
            => \/ AvailableVersion(t, k) >= s.delayed[k].version
               \/ \E i \in FlightsOf(t, k) : t.flight[i].version >= s.delayed[k].version
        /\ Deferred(s, k) /\ Deferred(t, k)
            => t.deferred[k].version >= s.deferred[k].version
    /\ \A i \in DOMAIN s.flight :
        LET j == Position(t.flight, s.flight[i].call)
        IN  j > 0 => t.flight[j].version >= s.flight[i].version
NothingBackwards == [][
    \A before \in {Began} : NeverOlder(Now, before) /\ NeverOlder(before, After)
    ]_vars

\* 30. Nothing is lost: an ack removes the value of its own copy, a discard what waits
\*     of its key, and no other step loses the newest value of a key.
Newest(versions) == IF versions = {} THEN 0
                    ELSE CHOOSE v \in versions : \A w \in versions : w <= v
NothingLost == [][
    \A before \in {Began} :
    \A k \in Keys :
        Newest(StoredVersions(k)') < Newest(StoredVersions(k)) =>
            \/ Did("discard", k)
            \/ \E i \in FlightsOf(before, k) :
                /\ Did("ack", before.flight[i].call)
                /\ Newest(StoredVersions(k)')
                        >= Newest(StoredVersions(k) \ {before.flight[i].version})
    ]_vars

\* 31. An accepted put stores its value, as the newest of its key, and nothing
\*     else makes a version; a put that waits has not happened.
PutIsStored == [][
    /\ \A put \in Carried :
            /\ puts' = puts + 1 /\ puts' \in StoredVersions(put.key)'
            /\ newest' = [newest EXCEPT ![put.key] = puts']
    /\ puts' # puts \/ newest' # newest => Carried # {}
    ]_vars

\* 32. An ack, a release and an expiry end a lease, and no other operation does
\*     until the queue closes.  An ack sets a deferred value free if no
\*     other lease on its key is live, and not before.
LeasesEndOnlySo == [][
    \A before \in {Began} :
    /\ Op \in {"ack", "release"} => ~HasLease(After, Arg(2))
    /\ \A c \in Calls, k \in Keys :
        Did("ack", c) /\ (\E i \in FlightsOf(before, k) : before.flight[i].call # c)
            => deferred'[k] = before.deferred[k]
    /\ \A i \in DOMAIN flight :
        LET c == flight[i].call
            ranOut == flight[i].left # Never /\ flight[i].left <= 0
        IN  flight[i].left # Reserved /\ ~HasLease(After, c) =>
                \/ Did("ack", c) /\ ended'[c] = "acked"
                \/ Did("release", c) /\ ended'[c] = "released"
                \/ ranOut /\ ended'[c] = "expired"
                \/ Closes /\ ~ranOut
    ]_vars

\* 33. A lease's clock is started by the call that gets it or by extend, with the
\*     time asked for, and otherwise moved by the passing of time alone.  (Whether it
\*     may run out is the matter of 35.)
ClockRunsEvenly == [][
    /\ Op = "extend" => flight'[Position(flight', Arg(2))].left =
                            IF Arg(3) = Same THEN LeaseTime[Arg(2)] ELSE Arg(3)
    /\ \A before \in {Began} :
       \A j \in {n \in DOMAIN flight' : Op = "tick" \/ ~IsDue(flight'[n].left)} :
        LET c   == flight'[j].call
            i   == Position(before.flight, c)
            now == flight'[j].left
            was == before.flight[i].left
        IN  IF i = 0 THEN now \in {Reserved, LeaseTime[c]}
            ELSE \/ now = was
                 \/ now = Less(was) /\ Op = "tick"
                 \/ now = LeaseTime[c] /\ was = Reserved /\ Did("resume", c)
                 \/ Did("extend", c)
    ]_vars

\* 34. Time passes for all alike: in a tick the clock of no lease and of no delay
\*     stands still, nor that of a deferred value or a call that has time left.
TimePasses == [][
    Op = "tick" =>
            /\ Len(flight') = Len(flight) /\ Len(waiting') = Len(waiting)
            /\ \A i \in DOMAIN flight : flight[i].left \notin {Never, Reserved} =>
                    flight'[i].left = flight[i].left - 1
            /\ \A k \in Keys : delayed[k].left # Never =>
                    delayed'[k].left = delayed[k].left - 1
            /\ \A k \in Keys : deferred[k].left \notin {Never, 0} =>
                    deferred'[k].left = deferred[k].left - 1
            /\ \A i \in DOMAIN waiting : waiting[i].left \notin {Never, 0} =>
                    waiting'[i].left = waiting[i].left - 1
    ]_vars

\* 35. What is due is over for everyone: after any operation no lease is left that has
\*     run out, and no value is delayed whose time has come.
NoneIsDueAfter == [][
    \/ Op = "tick"
    \/      /\ \A i \in DOMAIN flight' :
                flight'[i].left \in {Never, Reserved} \/ flight'[i].left > 0
            /\ \A k \in Keys : delayed'[k].left = Never \/ delayed'[k].left > 0
    ]_vars

\* 36. A queue goes from open to shut, and to closed, for good: then nothing moves any
\*     more.  It is shut by shutdown and drain, and closed by close and at the end of a
\*     drain.  Once it is shut no put happens.
ClosedForGood == [][
    /\ Op = "close" => phase' = "closed"
    /\ Op \in {"shutdown", "drain"} => phase' # "open"
    /\ phase' # phase => \/ Op \in {"close", "shutdown", "drain"}
                         \/ \E tells \in step'.told : tells[2] \in {"True", "False"}
    /\ phase # "open" => phase' # "open" /\ puts' = puts
    /\ phase = "closed" => UNCHANGED vars
    ]_vars

\* 37. The earliest time wins, and no other counts: what waits of a key (in the line,
\*     delayed or deferred) after a step has the earlier of the time that it had, and
\*     the time of what the step brought.  So no delay postpones what is due sooner.
Waits(s, k) == Stands(s, k) \/ Deferred(s, k)
DueIn(s, k) == CASE Available(s, k) -> 0
                 [] Delayed(s, k)   -> s.delayed[k].left
                 [] Deferred(s, k)  -> s.deferred[k].left
                 [] OTHER           -> Never
EarliestTimeWins == [][
    \A before \in {Began} :
        Op # "tick" /\ phase' # "closed" => \A k \in Keys : Waits(After, k) =>
            LET comesBack == /\ Op \in {"release", "cancel"}
                             /\ \E i \in FlightsOf(before, k) : before.flight[i].call = Arg(2)
                brought == {put.delay : put \in {p \in Carried : p.key = k}}
                           \cup (IF ~comesBack THEN {}
                                 ELSE IF Op = "release" THEN {Arg(4)} ELSE {0})
            IN  IF brought = {} THEN DueIn(After, k) = DueIn(before, k)
                ELSE \A d \in brought : DueIn(After, k) = Sooner(d, DueIn(before, k))
    ]_vars

\* 38. Attempts count the deliveries of a value, and nothing else: a value that is
\*     handed out has one more, a new one has none, and no other changes its count.
Tries(s) == {<<copy.version, copy.tries>> : copy \in Range(Line(s)) \cup Range(s.flight)}
            \cup {<<x.version, x.tries>> : x \in ({s.delayed[k] : k \in Keys}
                                         \cup {s.deferred[k] : k \in Keys}) \ {Nothing}}
AttemptsCountDeliveries == [][
    LET before == Tries(Now)
        handed == {flight'[i].version : i \in {n \in DOMAIN flight' :
                        Op \in {"get", "take", "resume"} /\ Arg(2) = flight'[n].call}}
    IN  \A after \in Tries(After) :
            LET was == {x \in before : x[1] = after[1]}
            IN  IF was = {} THEN after[2] = 0
                ELSE \E x \in was : after[2] = IF after[1] \in handed
                                              THEN More(x[2]) ELSE x[2]
    ]_vars

\* 39. A lease is superseded from the moment when a newer value of its key is put than
\*     the one that was seen through it, at delivery or by refresh; and refresh looks,
\*     and does nothing else.
SupersededByPuts == [][
    \A before \in {Began} :
    /\ \A i \in DOMAIN flight' : flight'[i].left # Reserved =>
        LET c == flight'[i].call
            j == Position(before.flight, c)
        IN  IF j > 0 /\ HasLease(before, c) /\ ~Did("refresh", c)
            THEN Superseded(After, c) <=> (Superseded(before, c) \/ \E put \in Carried : put.key = flight'[i].key)
            ELSE Superseded(After, c) <=> newest'[flight'[i].key] > flight'[i].version
    /\ Op = "refresh" => LET i == Position(flight', Arg(2)) IN
        After = [before EXCEPT !.flight[i].seen = before.flight[i].version]
    ]_vars

\* 40. A discard takes out what waits of its key, wherever it waits, and nothing else:
\*     nothing in flight and nothing of another key.
DiscardsWhatWaits == [][
    \A before \in {Began} :
    \A k \in Keys : Did("discard", k) =>
        /\ ~Waits(After, k) /\ Waits(before, k)
        /\ flight' = before.flight \/ Closes
        /\ \A m \in Keys \ {k} :
            /\ Available(After, m) <=> Available(before, m) \/ (Closes /\ Delayed(before, m))
            /\ delayed'[m] = before.delayed[m] \/ Closes
            /\ deferred'[m] = before.deferred[m]
    ]_vars

\* 41. Whoever waits, or was given something, is told once when it is over, and nobody
\*     else; with the reason: its time is up, or the queue is shut or closed.  A get or
\*     take ends with a shut queue only when nothing can come to it any more; what is
\*     given to a put or a get is taken from it only at the end.
EndsAreTold == [][
    \A before \in {Began} :
    LET was(c)  == IsWaiting(Now, c) \/ HasSlot(Now, c) \/ IsReserved(Now, c)
        is(c)   == IsWaiting(After, c) \/ HasSlot(After, c) \/ Position(flight', c) > 0
        what(c) == {w \in {x[2] : x \in step'.told} : <<c, w>> \in step'.told}
    IN  \A c \in Names :
        LET i == Position(waiting, c)
            isUp == Op = "time_out" /\ IsWaiting(before, c) /\ waiting[i].left = 0
        IN  /\ Cardinality(what(c)) <= 1
            /\ was(c) /\ ~is(c) /\ ~Did("cancel", c) => what(c) # {}
            /\ what(c) # {} => ~is(c) /\ (was(c) \/ Did("drain", c))
            /\ i > 0 => (what(c) = {"TimeoutError"} <=> isUp /\ ~IsDrain(waiting[i]))
            /\ what(c) = {"TimeoutError"} => isUp
            /\ what(c) = {"QueueClosedError"} =>
                /\ phase' # "open"
                /\ c \in Calls /\ phase' = "shut" =>
                    i > 0 /\ \A k \in Keys : Wants(waiting[i], k) => ~Known(After, k)
                /\ c \in Watchers => Closes /\ Items(After) > 0
            /\ what(c) \cap {"None", "KeyAlreadyInFlightError"} # {} =>
                \/ c \in Producers /\ Did("resume", c)
                \/ c \in Watchers /\ Items(After) = 0 /\ i > 0 /\ IsJoin(waiting[i])
            /\ c \in Producers /\ Did("resume", c) => what(c) =
                LET put == slots[Position(slots, c)]
                IN  IF put.policy = "reject" /\ InFlight(before, put.key)
                    THEN {"KeyAlreadyInFlightError"} ELSE {"None"}
    ]_vars

\* 42. A drain that succeeds ends with nothing in the line or in flight but what was
\*     delayed, and closes the queue in that very step; one that fails closes it too.
DrainsEnd == [][
    \A before \in {Began} :
    \A c \in Watchers :
        /\ <<c, "True">> \in step'.told =>
            /\ Closes /\ returned' = <<>> /\ Op \notin {"close", "time_out"}
            /\ \A k \in KeysOf(arrived') :
                \/ Delayed(before, k)
                \/ Op = "release" /\ Arg(4) # 0
                \/ Op = "ack" /\ before.deferred[k].left # 0
        /\ <<c, "False">> \in step'.told =>
            /\ Closes
            /\ \/ Op \in {"close", "time_out"}
               \/ Op = "drain" /\ WaitTime[Arg(2)] = 0
            /\ Line(before) # <<>> \/ before.flight # <<>>
    ]_vars

-----------------------------------------------------------------------------
(***************************************************************************)
(* Liveness: what happens in the end.                                      *)
(***************************************************************************)
\* 43. A lease with a timeout ends: unless it is ended before, or extended for
\*     ever, its time runs out; and then it is ended.
HasTime(c) == \E i \in DOMAIN flight : flight[i].call = c /\ ~IsDue(flight[i].left)
                                       /\ flight[i].left \notin {Never, Reserved}
HasRunOut(c) == \E i \in DOMAIN flight : flight[i].call = c /\ IsDue(flight[i].left)
TimedLeasesEnd == \A c \in Calls :
    /\ <>[][\A t \in ExtendTimes : ~Extend(c, t)]_vars => (HasTime(c) ~> ~HasTime(c))
    /\ HasRunOut(c) ~> ~HasRunOut(c)

\* 44. A call that was given a copy has its lease, and a put that was given a slot is
\*     carried out, unless it leaves.
ReservationsEnd ==
    /\ \A c \in Calls : IsReserved(Now, c) ~> ~IsReserved(Now, c)
    /\ \A c \in Producers : HasSlot(Now, c) ~> ~HasSlot(Now, c)

\* 45. A call that waits with a timeout does not wait for ever.
WaitsEnd == \A c \in Names : WaitTime[c] # Never =>
                (IsWaiting(Now, c) ~> ~IsWaiting(Now, c))

\* 46. A get that waits is served, or leaves, if copies go on being given to
\*     waiting calls.
WaitsForAny(c) == \E i \in DOMAIN waiting :
                    waiting[i].call = c /\ waiting[i].kind = "get"
GivesToWaiting == \E i \in DOMAIN waiting : Position(flight', waiting[i].call) > 0
WaitersAreServed == \A c \in Calls :
    []<><<GivesToWaiting>>_vars => (WaitsForAny(c) ~> ~WaitsForAny(c))

\* 47. A copy that waits is delivered, if gets keep coming and copies don't come
\*     back ahead of it for ever.
NothingComesBack == Len(Settled.returned) <= Len(returned)
                        /\ Len(returned') <= Len(returned)
CopiesAreDelivered == \A k \in Keys :
    []<><<\E c \in Calls : Get(c)>>_vars /\ <>[][NothingComesBack]_vars
        => (Available(Now, k) ~> ~Available(Now, k))

\* 48. Close wakes everyone.
CloseWakesAll == phase = "closed" ~> (waiting = <<>> /\ flight = <<>>)

\* 49. A delayed value that has a time is not delayed for ever, however often its key
\*     is put again: where something of a key always is, it goes on being handed out.
\*     (By 34, 35 and 37 a value is in the line at its first time at the latest.)
DelayedValuesRipen == \A k \in Keys :
    <>[](Delayed(Now, k) /\ delayed[k].left # Never) =>
        []<><<\E i \in DOMAIN flight' : /\ flight'[i].key = k /\ flight'[i].left = Reserved
                                        /\ ~IsReserved(Now, flight'[i].call)>>_vars

\* 50. A put that waits is served, or leaves, if slots go on being given.
PutsAreServed == \A c \in Producers :
    []<><<\E i \in DOMAIN waiting : Position(slots', waiting[i].call) > 0>>_vars
        => (IsWaiting(Now, c) ~> ~IsWaiting(Now, c))
=============================================================================
