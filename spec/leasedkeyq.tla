----------------------------- MODULE leasedkeyq -----------------------------
(***************************************************************************)
(* The definition of correct for leasedkeyq: an in-memory queue of keyed   *)
(* values, each worked on under a lease.                                   *)
(*                                                                         *)
(* How to read it.  The VARIABLES are what the queue holds.  Each action   *)
(* is one operation of the API or one event from outside, and happens      *)
(* whole or not at all.  What all this is good for is said in the numbered *)
(* properties of properties.tla.  The modules MC*.tla bound the            *)
(* specification and let TLC check every property in every state.          *)
(*                                                                         *)
(* Six pictures to keep in mind:                                           *)
(*                                                                         *)
(*   the line    the copies that may be handed out, front first.  Its      *)
(*               first part (`returned') holds copies that came back, the  *)
(*               rest (`arrived') those put, released to the back, or      *)
(*               ripened.                                                  *)
(*   delayed     a copy whose time has not come: then it joins the line.   *)
(*   in flight   the copies that are out: reserved for a waiting call      *)
(*               that has not resumed, or under a live lease.              *)
(*   deferred    a value held back until no lease on its key is live.      *)
(*   waiting     the calls that wait, oldest first.                        *)
(*   slots       places in a bounded queue, kept for puts that waited.     *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS
    Keys,        \* The keys.
    Policies,    \* The policies that producers use: a subset of AllPolicies.
    Calls,       \* Names for calls of get and take.  The lease that a call
                 \* gets bears the name of the call, and the name is free
                 \* again when call and lease are over.
    Producers,   \* Names for calls of put that wait for a slot,
    Watchers,    \* and for calls of join and drain.
    LeaseTime,   \* LeaseTime[c]: the ticks that the lease of c runs, or Never.
    WaitTime,    \* WaitTime[c]: the ticks that c is ready to wait, or Never.
    ExtendTimes, \* The timeouts that extend is called with: ticks, Never, or
                 \* Same for the duration that the lease was granted with.
    Delays,      \* The delays that put and release are called with: ticks, or
                 \* Never for a value that waits until it is put sooner.
    MaxSize,     \* The bound on the number of items; 0 if there is none.
    Uses,        \* Which of "refresh", "discard", "shutdown" are called.
    Most,        \* Deliveries of a value are counted up to this many.
    Late,        \* The queue may be late by so many ticks in noticing that a
                 \* time has come (the loop was busy).  0: it never is.
    AnyKey,      \* What a get waits for, where a take waits for a key.
    Never, Same, \* See above.
    Reserved     \* Stands for the time left of a lease that has not started.

VARIABLES
    returned,    \* First part of the line: a sequence of [key, version, tries].
                 \* `tries' is how often the value was handed out.
    arrived,     \* The rest of the line, likewise.
    delayed,     \* delayed[k]: the delayed value of k, [version, tries, left], or
                 \* Nothing.  `left' is the time until it may be handed out.
    deferred,    \* deferred[k]: the value of k held back, likewise.
    flight,      \* The copies in flight, in the order in which they were given
                 \* out: a sequence of [call, key, version, tries, seen, left].
                 \* `left' is the time that the lease has left: ticks (at 0 and
                 \* below it is due), Never, or Reserved.  `seen' is the version
                 \* that was last seen through the lease.
    waiting,     \* The calls that wait: a sequence of [call, kind, key, left],
                 \* and of a put [.., policy, delay]; `kind' is "get", "take",
                 \* "put", "join" or "drain", `left' the time it will still wait.
    slots,       \* The puts that have a slot and have not resumed: likewise, but
                 \* their `left' is Reserved.
    ended,       \* ended[c]: how the last lease of c ended: "acked",
                 \* "released", "expired", or "none" if it had none yet.
    newest,      \* newest[k]: the version of the newest value put for k.
    puts,        \* How many puts were accepted: the version of the newest value.
    phase,       \* "open", "shut" (after shutdown), or "closed".
    step         \* The last step, [did, told]: the operation with its arguments,
                 \* and what the calls were told that are over with it: a set
                 \* of pairs of a call and a result or an error.  Nothing that
                 \* follows depends on it.

vars == <<returned, arrived, delayed, deferred, flight, waiting, slots, ended,
          newest, puts, phase>>

AllPolicies == {"update", "reject", "buffer", "defer"}

ASSUME /\ Policies \subseteq AllPolicies
       /\ Uses \subseteq {"refresh", "discard", "shutdown"}
       /\ Late \in Nat /\ MaxSize \in Nat /\ Most \in Nat
       /\ \A d \in Delays : d = Never \/ d \in Nat
       /\ \A c \in Calls : LeaseTime[c] = Never \/ LeaseTime[c] \in Nat \ {0}
       /\ \A c \in Calls \cup Producers \cup Watchers :
            WaitTime[c] = Never \/ WaitTime[c] \in Nat

-----------------------------------------------------------------------------
(***************************************************************************)
(* Looking at the queue.  `s' is always a record of all that the           *)
(* operations change (see Now, below).                                     *)
(***************************************************************************)
\* No value, which is older than any and never comes.
Nothing == [version |-> 0, tries |-> 0, left |-> Never]

\* F(x).  (The set has one element; it has TLC compute x once.)
Then(x, F(_)) == CHOOSE y \in {F(z) : z \in {x}} : TRUE

First(set) == CHOOSE i \in set : \A j \in set : i <= j

Without(seq, i) == SubSeq(seq, 1, i - 1) \o SubSeq(seq, i + 1, Len(seq))

\* The whole line, front first.
Line(s) == s.returned \o s.arrived

\* The positions in flight of the copies of k.
FlightsOf(s, k) == {i \in DOMAIN s.flight : s.flight[i].key = k}

InFlight(s, k)  == FlightsOf(s, k) # {}
Available(s, k) == \E i \in DOMAIN Line(s) : Line(s)[i].key = k
Delayed(s, k)   == s.delayed[k] # Nothing
Deferred(s, k)  == s.deferred[k] # Nothing

\* The key has a copy that waits, or something at all.
Stands(s, k) == Available(s, k) \/ Delayed(s, k)
Known(s, k)  == Stands(s, k) \/ InFlight(s, k)

\* A call wants a key: any get, or a take of that key.
Wants(w, k) == w.kind = "get" \/ (w.kind = "take" /\ w.key = k)

\* The position of a call in a sequence; 0 if it is not there.
Position(seq, c) ==
    IF \E i \in DOMAIN seq : seq[i].call = c
    THEN CHOOSE i \in DOMAIN seq : seq[i].call = c ELSE 0

IsWaiting(s, c)  == Position(s.waiting, c) > 0
IsReserved(s, c) == \E i \in DOMAIN s.flight :
                        s.flight[i].call = c /\ s.flight[i].left = Reserved
HasSlot(s, c)    == Position(s.slots, c) > 0
HasLease(s, c)   == \E i \in DOMAIN s.flight :
                        s.flight[i].call = c /\ s.flight[i].left # Reserved

\* A call's name is free: neither call nor lease is under way.
Idle(s, c) == Position(s.waiting \o s.slots, c) = 0 /\ Position(s.flight, c) = 0

\* The time has come.  A lease is live strictly before its deadline.
IsDue(left) == left \notin {Never, Reserved} /\ left <= 0

\* What counts against the bound: copies that wait or are in flight, and slots
\* that are reserved.
Items(s) == Len(s.returned) + Len(s.arrived) + Len(s.flight) + Len(s.slots)
                + Cardinality({k \in Keys : Delayed(s, k)})
HasRoom(s) == MaxSize = 0 \/ Items(s) < MaxSize

\* Nothing is in the line, deferred or in flight.  (What is deferred is so only
\* beside a copy in flight.)
Drained(s) == Line(s) = <<>> /\ s.flight = <<>>

\* A newer value of the key than the one last seen through the lease was put.
Superseded(s, l) == LET i == Position(s.flight, l)
                    IN  s.newest[s.flight[i].key] > s.flight[i].seen

\* The seven states of a key, from what it has.
KeyState(s, k) ==
    CASE Available(s, k) /\ InFlight(s, k)  -> "BUFFERED"
      [] Available(s, k) /\ ~InFlight(s, k) -> "AVAILABLE"
      [] Delayed(s, k) /\ InFlight(s, k)    -> "BUFFERED_DELAYED"
      [] Delayed(s, k) /\ ~InFlight(s, k)   -> "DELAYED"
      [] Deferred(s, k)                     -> "DEFERRED"
      [] ~Stands(s, k) /\ ~Deferred(s, k) /\ InFlight(s, k) -> "LEASED"
      [] OTHER                              -> "ABSENT"

-----------------------------------------------------------------------------
(***************************************************************************)
(* The moves that the operations are made of.  Each takes a state and      *)
(* returns the next one.  A value with its time is [version, tries, left]. *)
(***************************************************************************)
Sooner(t, u) == CASE t = Never -> u
                  [] u = Never -> t
                  [] OTHER     -> IF t < u THEN t ELSE u

\* Two values of a key meet: the newest value wins, and the earliest time wins.
Meet(x, y) == [version |-> IF x.version > y.version THEN x.version ELSE y.version,
               tries   |-> IF x.version > y.version THEN x.tries ELSE y.tries,
               left    |-> Sooner(x.left, y.left)]

\* The available copy of k takes the value x if that is newer; its place stays.
Revalue(seq, k, x) ==
    [i \in DOMAIN seq |->
        IF seq[i].key = k /\ seq[i].version < x.version
        THEN [key |-> k, version |-> x.version, tries |-> x.tries] ELSE seq[i]]
SetAvailable(s, k, x) == [s EXCEPT !.returned = Revalue(@, k, x),
                                   !.arrived  = Revalue(@, k, x)]

\* The value is handed out once more.
More(tries) == IF tries < Most THEN tries + 1 ELSE tries

\* A copy of k is given to the call c, which has it until it resumes.
Reserve(s, c, k, x) ==
    [s EXCEPT !.flight = Append(@, [call |-> c, key |-> k, version |-> x.version,
                            tries |-> x.tries, seen |-> 0, left |-> Reserved])]

\* The call c has its copy, with the value as it stands, and the lease starts.
Deliver(s, c) ==
    LET i == Position(s.flight, c)
    IN  [s EXCEPT !.flight[i].left = LeaseTime[c],
                  !.flight[i].tries = More(@),
                  !.flight[i].seen = s.flight[i].version]

\* A copy becomes available.  It is offered to the call that has waited longest
\* among those that want it; if there is none, it takes its place in the line:
\* "head": front of the first part, "end": end of the first part, "back": back
\* of the line.
Offer(s, k, x, place) ==
    LET takers == {i \in DOMAIN s.waiting : Wants(s.waiting[i], k)}
        copy   == [key |-> k, version |-> x.version, tries |-> x.tries]
    IN  IF takers # {}
        THEN LET i == First(takers)
             IN  Reserve([s EXCEPT !.waiting = Without(@, i)],
                         s.waiting[i].call, k, x)
        ELSE CASE place = "head" -> [s EXCEPT !.returned = <<copy>> \o @]
               [] place = "end"  -> [s EXCEPT !.returned = Append(@, copy)]
               [] place = "back" -> [s EXCEPT !.arrived  = Append(@, copy)]

\* A copy becomes available, or is delayed if its time has not come.
Await(s, k, x, place) == IF IsDue(x.left) THEN Offer(s, k, x, place)
                                          ELSE [s EXCEPT !.delayed[k] = x]

\* The delayed copy of k becomes available.
Ripen(s, k) == Offer([s EXCEPT !.delayed[k] = Nothing], k, s.delayed[k], "back")

\* A value of k comes in, and meets what is deferred, and what waits.  A copy in
\* the line stays where it is; one that was delayed joins the back of the line
\* if its time thereby has come.
Enter(s, k, value, place) ==
    LET Into(r, x) ==
            CASE Available(r, k) -> SetAvailable(r, k, x)
              [] Delayed(r, k)   -> Await([r EXCEPT !.delayed[k] = Nothing], k,
                                          Meet(x, r.delayed[k]), "back")
              [] OTHER           -> Await(r, k, x, place)
        Whole(z) == LET F(x) == Into([z EXCEPT !.deferred[k] = Nothing], x)
                    IN  Then(Meet(value, z.deferred[k]), F)
    IN  Then(s, Whole)

\* The i-th copy in flight comes back, not to be handed out before the delay.
GiveBack(s, i, place, delay) ==
    LET copy == s.flight[i]
    IN  Enter([s EXCEPT !.flight = Without(@, i)], copy.key,
              [version |-> copy.version, tries |-> copy.tries, left |-> delay],
              place)

\* Of two delayed values the one whose time comes first, and of those with the
\* same time the one that was put first.
Before(x, y) == \/ x.left # y.left /\ Sooner(x.left, y.left) = x.left
                \/ x.left = y.left /\ x.version <= y.version
Soonest(s, ks) == CHOOSE k \in ks :
                    \A m \in ks : Before(s.delayed[k], s.delayed[m])

\* What is due is carried out in the order of time: leases end, earliest deadline
\* first, and in the order of their granting where deadlines are equal; delayed
\* copies ripen, likewise, after the leases that end at the same time.
RECURSIVE Reaped(_)
Reaped(s) ==
    LET due  == {i \in DOMAIN s.flight : IsDue(s.flight[i].left)}
        ripe == {k \in Keys : IsDue(s.delayed[k].left)}
        i == CHOOSE i \in due : \A j \in due :
                \/ s.flight[i].left < s.flight[j].left
                \/ s.flight[i].left = s.flight[j].left /\ i <= j
        k == Soonest(s, ripe)
        leaseIsNext == due # {} /\ (ripe = {}
                                    \/ s.flight[i].left <= s.delayed[k].left)
    IN  IF due = {} /\ ripe = {} THEN s
        ELSE Then(IF leaseIsNext
                  THEN [GiveBack(s, i, "end", 0)
                            EXCEPT !.ended[s.flight[i].call] = "expired"]
                  ELSE Ripen(s, k), Reaped)

\* All copies in flight go back to the front, the latest granted first.
RECURSIVE GiveAllBack(_)
GiveAllBack(s) == IF s.flight = <<>> THEN s
                  ELSE Then(GiveBack(s, Len(s.flight), "head", 0), GiveAllBack)

\* All delayed copies join the line, in the order of their times.
RECURSIVE RipenAll(_)
RipenAll(s) == LET late == {k \in Keys : Delayed(s, k)}
               IN  IF late = {} THEN s
                   ELSE Then(Ripen(s, Soonest(s, late)), RipenAll)

\* The waiting calls that go are told why.
Dismiss(s, Goes(_), why) ==
    LET Stays(w) == ~Goes(w)
        gone == {i \in DOMAIN s.waiting : Goes(s.waiting[i])}
    IN  IF gone = {} THEN s
        ELSE [s EXCEPT !.waiting = SelectSeq(@, Stays),
                       !.told = @ \cup {<<s.waiting[i].call, why>> : i \in gone}]
IsGet(w)   == w.kind \in {"get", "take"}
IsPut(w)   == w.kind = "put"
IsJoin(w)  == w.kind = "join"
IsDrain(w) == w.kind = "drain"

\* A join is over when nothing is left.
EndJoins(s) == IF Items(s) = 0 THEN Dismiss(s, IsJoin, "None") ELSE s

\* No put is accepted any more, and none is carried out.
Shut(s) ==
    LET given == {<<s.slots[i].call, "QueueClosedError">> : i \in DOMAIN s.slots}
    IN  [Dismiss(s, IsPut, "QueueClosedError")
            EXCEPT !.phase = "shut", !.slots = <<>>, !.told = @ \cup given]

\* The queue is closed: every call that waits is told, those with a reserved copy
\* too; copies in flight go back to the front, delayed ones to the back.
Closed(s) ==
    LET Anyone(w)    == TRUE
        EndDrains(r) == Dismiss(r, IsDrain, "False")
        EndAll(r)    == Dismiss(r, Anyone, "QueueClosedError")
        CloseIt(r)   == [r EXCEPT !.phase = "closed", !.told = @ \cup
            {<<r.flight[i].call, "QueueClosedError">> :
                i \in {n \in DOMAIN r.flight : r.flight[n].left = Reserved}}]
        ends == Then(Then(Then(Then(s, Shut), EndDrains), EndJoins), EndAll)
    IN  Then(Then(Then(ends, CloseIt), GiveAllBack), RipenAll)

\* Free slots are reserved for the puts that wait, the longest waiting first.
RECURSIVE Admit(_)
Admit(s) ==
    LET putters == {i \in DOMAIN s.waiting : IsPut(s.waiting[i])}
        i == First(putters)
    IN  IF putters = {} \/ ~HasRoom(s) THEN s
        ELSE Then([s EXCEPT !.waiting = Without(@, i), !.slots =
                        Append(@, [s.waiting[i] EXCEPT !.left = Reserved])], Admit)

\* What every operation does last: nobody goes on waiting for a slot that is free,
\* for what can't come any more, or for an end that is there.
Served(s) ==
    LET EndHopeless(r) ==
            LET Hopeless(w) == IsGet(w) /\ \A k \in Keys : Wants(w, k) => ~Known(r, k)
            IN  IF r.phase = "shut" THEN Dismiss(r, Hopeless, "QueueClosedError") ELSE r
        EndDrains(r) ==
            IF Drained(r) /\ \E i \in DOMAIN r.waiting : IsDrain(r.waiting[i])
            THEN Closed(Dismiss(r, IsDrain, "True")) ELSE r
    IN  Then(Then(Then(Then(s, Admit), EndHopeless), EndJoins), EndDrains)

\* One tick passes.
Less(left)   == IF left \in {Never, Reserved} THEN left ELSE left - 1
ToZero(left) == IF left = 0 THEN 0 ELSE Less(left)
Aged(s) == [s EXCEPT
    !.flight   = [i \in DOMAIN @ |-> [@[i] EXCEPT !.left = Less(@)]],
    !.delayed  = [k \in Keys |-> [@[k] EXCEPT !.left = Less(@)]],
    !.deferred = [k \in Keys |-> [@[k] EXCEPT !.left = ToZero(@)]],
    !.waiting  = [i \in DOMAIN @ |-> [@[i] EXCEPT !.left = ToZero(@)]]]

-----------------------------------------------------------------------------
(***************************************************************************)
(* The operations.                                                         *)
(***************************************************************************)
Now == [returned |-> returned, arrived |-> arrived, delayed |-> delayed,
        deferred |-> deferred, flight |-> flight, waiting |-> waiting,
        slots |-> slots, ended |-> ended, newest |-> newest, puts |-> puts,
        phase |-> phase, told |-> {}]

Note(did, told) == [did |-> did, told |-> told]

\* The queue goes on in the state z, when those are served who can be.  (Here and
\* below, `\E s \in {z}' only says that s is z; it has TLC compute z once.)
Become(did, z) == \E s \in {Served(z)} :
    /\ returned' = s.returned
    /\ arrived'  = s.arrived
    /\ delayed'  = s.delayed
    /\ deferred' = s.deferred
    /\ flight'   = s.flight
    /\ waiting'  = s.waiting
    /\ slots'    = s.slots
    /\ ended'    = s.ended
    /\ newest'   = s.newest
    /\ puts'     = s.puts
    /\ phase'    = s.phase
    /\ step'     = Note(did, s.told)

\* Every operation begins by carrying out what is due, so it works on the settled
\* state.
Settled == Then(Reaped(Now), Served)

\* A put of k adds an item: it is for want of one, or beside those in flight.
AddsItem(s, k, policy) == ~Stands(s, k) /\ (InFlight(s, k) => policy = "buffer")

\* The version that the next value gets.
Fresh(s) == s.puts + 1

\* What a put makes of the state: the table of policies.
AfterPut(s, k, policy, delay) ==
    LET v == Fresh(s)
        x == [version |-> v, tries |-> 0, left |-> delay]
        r == [s EXCEPT !.puts = v, !.newest[k] = v]
    IN  CASE Stands(s, k) \/ AddsItem(s, k, policy) ->
                Enter(r, k, x, "back")
          [] ~Stands(s, k) /\ InFlight(s, k) /\ policy = "defer" ->
                [r EXCEPT !.deferred[k] = Meet(x, @)]
          [] ~Stands(s, k) /\ InFlight(s, k) /\ policy = "update" ->
                IF Deferred(s, k)
                THEN [r EXCEPT !.deferred[k] = Meet(x, @)]
                ELSE LET i == CHOOSE i \in FlightsOf(s, k) :
                                \A j \in FlightsOf(s, k) :
                                    s.flight[j].version <= s.flight[i].version
                     IN  [r EXCEPT !.flight[i].version = v,
                                   !.flight[i].tries = 0]

\* With "reject" a put is turned away while a lease on its key is live.
Rejects(s, k, policy) == policy = "reject" /\ InFlight(s, k)

\* A producer puts a new value for k.
Put(k, policy, delay) ==
    \E s \in {Settled} :
        /\ phase = "open" /\ ~Rejects(s, k, policy)
        /\ AddsItem(s, k, policy) => HasRoom(s)
        /\ Become(<<"put", k, policy, delay>>, AfterPut(s, k, policy, delay))

\* The call c joins the calls that wait, unless it would not wait at all.
Joins(did, s, call) == /\ WaitTime[call.call] # 0
                       /\ Become(did, [s EXCEPT !.waiting = Append(@, call)])

\* A put that adds an item to a full queue waits for a slot.
PutWaits(c, k, policy, delay) ==
    \E s \in {Settled} :
        /\ phase = "open" /\ Idle(s, c) /\ ~Rejects(s, k, policy)
        /\ AddsItem(s, k, policy) /\ ~HasRoom(s)
        /\ Joins(<<"put_waits", c, k, policy, delay>>, s,
                 [call |-> c, kind |-> "put", key |-> k, left |-> WaitTime[c],
                  policy |-> policy, delay |-> delay])

\* The call c leases the i-th copy of the line at once.
Lease(s, c, i) ==
    LET copy == Line(s)[i]
        n    == Len(s.returned)
        r    == IF i <= n THEN [s EXCEPT !.returned = Without(@, i)]
                          ELSE [s EXCEPT !.arrived = Without(@, i - n)]
    IN  Deliver(Reserve(r, c, copy.key, copy), c)

\* Something may still come to a call that wants one of the keys.
MayCome(s, keys) == ~(phase = "shut" /\ \A k \in keys : ~Known(s, k))

\* A consumer calls get: it leases the copy at the front, or waits for any.
Get(c) ==
    \E s \in {Settled} :
        /\ phase # "closed" /\ Idle(s, c) /\ MayCome(s, Keys)
        /\ IF Line(s) # <<>> THEN Become(<<"get", c>>, Lease(s, c, 1))
           ELSE Joins(<<"get", c>>, s, [call |-> c, kind |-> "get", key |-> AnyKey,
                                        left |-> WaitTime[c]])

\* A consumer calls take: it leases the available copy of k, wherever that
\* stands, or waits for one.
Take(c, k) ==
    \E s \in {Settled} :
        /\ phase # "closed" /\ Idle(s, c) /\ MayCome(s, {k})
        /\ IF Available(s, k)
           THEN Become(<<"take", c, k>>, Lease(s, c,
                            CHOOSE i \in DOMAIN Line(s) : Line(s)[i].key = k))
           ELSE Joins(<<"take", c, k>>, s, [call |-> c, kind |-> "take", key |-> k,
                                            left |-> WaitTime[c]])

\* The state without the call c, whatever it waits for.
Left(s, c) == LET IsOther(w) == w.call # c
              IN  [s EXCEPT !.waiting = SelectSeq(@, IsOther),
                            !.slots = SelectSeq(@, IsOther)]

\* A call that was given something resumes.  A get or take: only now does its lease
\* start.  A put: it is carried out now, by the state that its key is in.
Resume(c) ==
    \E s \in {Settled} :
        \/ IsReserved(Now, c) /\ Become(<<"resume", c>>, Deliver(s, c))
        \/ /\ HasSlot(Now, c)
           /\ LET put == slots[Position(slots, c)]
                  r   == Left(s, c)
                  Tells(z, what) == [z EXCEPT !.told = @ \cup {<<c, what>>}]
              IN  Become(<<"resume", c>>,
                         IF Rejects(s, put.key, put.policy)
                         THEN Tells(r, "KeyAlreadyInFlightError")
                         ELSE Tells(AfterPut(r, put.key, put.policy, put.delay),
                                    "None"))

\* A call is cancelled.  From that moment it is offered nothing, so what is due is
\* carried out without it.  What was reserved for it is offered on: a copy goes back
\* to the front first, as if the call had never been there.
Cancel(c) ==
    \E s \in {Reaped(Left(Now, c))} :
        \/ (IsWaiting(Now, c) \/ HasSlot(Now, c)) /\ Become(<<"cancel", c>>, s)
        \/ IsReserved(Now, c) /\ Become(<<"cancel", c>>,
                                  GiveBack(s, Position(s.flight, c), "head", 0))

\* The timer of the waits fires: the calls that have waited as long as they would
\* leave.  A call that was given something in time keeps it.  A drain closes the
\* queue all the same.
TimeOut ==
    \E s \in {Settled} :
    LET IsOver(w)   == w.left = 0 /\ ~IsDrain(w)
        over        == {w \in {s.waiting[i] : i \in DOMAIN s.waiting} : w.left = 0}
        r           == Dismiss(s, IsOver, "TimeoutError")
    IN  /\ over # {}
        /\ Become(<<"time_out">>,
                  IF \E w \in over : IsDrain(w) THEN Closed(r) ELSE r)

\* The work is done: the copy is gone for good.  With the last lease on the key
\* goes the reason to hold a deferred value back: it becomes available, or is delayed
\* if its time has not come.
Ack(l) ==
    \E s \in {Settled} :
    LET i == Position(s.flight, l)
        k == s.flight[i].key
        r == [s EXCEPT !.flight = Without(@, i), !.ended[l] = "acked"]
    IN  /\ phase # "closed" /\ HasLease(s, l)
        /\ Become(<<"ack", l>>,
                  IF Deferred(s, k) /\ ~InFlight(r, k)
                  THEN Await([r EXCEPT !.deferred[k] = Nothing], k, s.deferred[k],
                             "back")
                  ELSE r)

\* The work is given up: the copy goes back, to the front, or to the back, there
\* perhaps after a delay.
Release(l, front, delay) ==
    \E s \in {Settled} :
        /\ phase # "closed" /\ HasLease(s, l)
        /\ front => delay = 0
        /\ Become(<<"release", l, IF front THEN "front" ELSE "back", delay>>,
                  [GiveBack(s, Position(s.flight, l),
                            IF front THEN "head" ELSE "back", delay)
                        EXCEPT !.ended[l] = "released"])

\* The lease's clock starts again.
Extend(l, t) ==
    \E s \in {Settled} :
    LET left == IF t = Same THEN LeaseTime[l] ELSE t
    IN  /\ phase # "closed" /\ HasLease(s, l)
        /\ Become(<<"extend", l, t>>,
                  [s EXCEPT !.flight[Position(s.flight, l)].left = left])

\* The consumer looks at the value of its copy as it stands.
Refresh(l) ==
    \E s \in {Settled} :
    LET i == Position(s.flight, l)
    IN  /\ phase # "closed" /\ HasLease(s, l)
        /\ Become(<<"refresh", l>>, [s EXCEPT !.flight[i].seen = s.flight[i].version])

\* What waits of k is taken out, wherever it waits.  What is in flight stays.
Discard(k) ==
    \E s \in {Settled} :
    LET IsOther(copy) == copy.key # k
    IN  /\ phase # "closed" /\ (Stands(s, k) \/ Deferred(s, k))
        /\ Become(<<"discard", k>>,
                  [s EXCEPT !.returned = SelectSeq(@, IsOther),
                            !.arrived  = SelectSeq(@, IsOther),
                            !.delayed[k] = Nothing, !.deferred[k] = Nothing])

\* Someone waits until nothing is left.
Join(c) ==
    \E s \in {Settled} :
        /\ phase # "closed" /\ Idle(s, c) /\ Items(s) > 0
        /\ Joins(<<"join", c>>, s, [call |-> c, kind |-> "join", key |-> AnyKey,
                                     left |-> WaitTime[c]])

\* The end begins: puts are turned away, those that wait included.
Shutdown ==
    \E s \in {Settled} :
        /\ phase = "open"
        /\ Become(<<"shutdown">>, Shut(s))

\* Shutdown; then, when nothing is in the line, deferred or in flight, or the time is
\* up, close.
Drain(c) ==
    \E s \in {Settled} :
        /\ phase # "closed" /\ Idle(s, c)
        /\ \E r \in {Shut(s)} :
            IF WaitTime[c] = 0 /\ ~Drained(r)
            THEN Become(<<"drain", c>>, [Closed(Served(r))
                                            EXCEPT !.told = @ \cup {<<c, "False">>}])
            ELSE Become(<<"drain", c>>, [r EXCEPT !.waiting =
                    Append(@, [call |-> c, kind |-> "drain", key |-> AnyKey,
                               left |-> WaitTime[c]])])

\* The queue closes.
Close == \E s \in {Settled} : phase # "closed" /\ Become(<<"close">>, Closed(s))

\* The timer fires, or someone looks at the queue: what is due is carried out.
Reap == /\ <<{i \in DOMAIN flight : IsDue(flight[i].left)},
             {k \in Keys : IsDue(delayed[k].left)}>> # <<{}, {}>>
        /\ Become(<<"reap">>, Settled)

\* Time passes.
Tick == /\ \A i \in DOMAIN flight : IsDue(flight[i].left) => flight[i].left > -Late
        /\ \A k \in Keys : IsDue(delayed[k].left) => delayed[k].left > -Late
        /\ Become(<<"tick">>, Aged(Now))

Init == /\ returned = <<>> /\ arrived = <<>> /\ flight = <<>>
        /\ waiting = <<>> /\ slots = <<>>
        /\ delayed = [k \in Keys |-> Nothing]
        /\ deferred = [k \in Keys |-> Nothing]
        /\ ended = [c \in Calls |-> "none"]
        /\ newest = [k \in Keys |-> 0]
        /\ puts = 0
        /\ phase = "open"
        /\ step = Note(<<"start">>, {})

Next == \/ \E k \in Keys, p \in Policies, d \in Delays :
                Put(k, p, d) \/ \E c \in Producers : PutWaits(c, k, p, d)
        \/ \E c \in Calls : Get(c) \/ \E k \in Keys : Take(c, k)
        \/ \E c \in Calls \cup Producers : Resume(c)
        \/ \E c \in Calls \cup Producers \cup Watchers : Cancel(c)
        \/ \E l \in Calls : \/ Ack(l)
                            \/ \E front \in BOOLEAN, d \in Delays : Release(l, front, d)
                            \/ \E t \in ExtendTimes : Extend(l, t)
                            \/ "refresh" \in Uses /\ Refresh(l)
        \/ "discard" \in Uses /\ \E k \in Keys : Discard(k)
        \/ "shutdown" \in Uses /\ Shutdown
        \/ \E c \in Watchers : Join(c) \/ ("shutdown" \in Uses /\ Drain(c))
        \/ TimeOut \/ Reap \/ Close \/ Tick

\* What is asked of the world: time passes, the timer fires, a call that was
\* woken runs, a wait that is over is ended.  Nothing is asked of the users.
Fairness == /\ WF_vars(Tick)
            /\ WF_vars(Reap)
            /\ WF_vars(TimeOut)
            /\ \A c \in Calls \cup Producers : WF_vars(Resume(c))

Spec == Init /\ [][Next]_vars /\ Fairness

-----------------------------------------------------------------------------
(***************************************************************************)
(* What a call comes to that is not enabled: an error, or, where there is  *)
(* nothing to do, the result.  "ok" means that it is enabled.  Nothing is  *)
(* changed (beyond what is due, which is carried out first).               *)
(***************************************************************************)
\* For a put that does not wait.
PutError(k, policy) ==
    CASE phase # "open" -> "QueueClosedError"
      [] phase = "open" /\ Rejects(Settled, k, policy) -> "KeyAlreadyInFlightError"
      [] phase = "open" /\ AddsItem(Settled, k, policy) /\ ~HasRoom(Settled)
             -> "TimeoutError"
      [] OTHER -> "ok"

GetError(c) ==
    CASE phase = "closed" \/ ~MayCome(Settled, Keys) -> "QueueClosedError"
      [] phase # "closed" /\ WaitTime[c] = 0 /\ Line(Settled) = <<>> -> "TimeoutError"
      [] OTHER -> "ok"

TakeError(c, k) ==
    CASE phase = "closed" \/ ~MayCome(Settled, {k}) -> "QueueClosedError"
      [] phase # "closed" /\ WaitTime[c] = 0 /\ ~Available(Settled, k) -> "TimeoutError"
      [] OTHER -> "ok"

\* For ack, release, extend, refresh, superseded and deadline alike.
LeaseError(l) ==
    CASE phase = "closed" -> "QueueClosedError"
      [] phase # "closed" /\ HasLease(Settled, l) -> "ok"
      [] phase # "closed" /\ ~HasLease(Settled, l) ->
            CASE Settled.ended[l] = "acked"   -> "LeaseAlreadyAcknowledgedError"
              [] Settled.ended[l] = "expired" -> "LeaseExpiredError"
              [] OTHER                        -> "InvalidLeaseError"

DiscardError(k) == CASE phase = "closed" -> "QueueClosedError"
                     [] phase # "closed" /\ ~Stands(Settled, k) /\ ~Deferred(Settled, k)
                            -> "False"
                     [] OTHER -> "ok"

JoinError(c) == CASE Items(Settled) = 0 -> "None"
                  [] Items(Settled) > 0 /\ phase = "closed" -> "QueueClosedError"
                  [] Items(Settled) > 0 /\ phase # "closed" /\ WaitTime[c] = 0
                         -> "TimeoutError"
                  [] OTHER -> "ok"

DrainError(c) == IF phase # "closed" THEN "ok"
                 ELSE IF Items(Settled) = 0 THEN "True" ELSE "False"

\* A second shutdown, and a second close, do nothing.
ShutdownError == IF phase = "open" THEN "ok" ELSE "None"
CloseError    == IF phase = "closed" THEN "None" ELSE "ok"

-----------------------------------------------------------------------------
(***************************************************************************)
(* What introspection shows, of an open queue and of a closed one.         *)
(***************************************************************************)
AvailableKeys  == {k \in Keys : Available(Settled, k)}
InflightKeys   == {k \in Keys : InFlight(Settled, k)}
DelayedKeys    == {k \in Keys : Delayed(Settled, k)}
QSize          == Len(Line(Settled))
InflightSize   == Len(Settled.flight)
DelayedSize    == Cardinality(DelayedKeys)
AvailableItems == Line(Settled)
Contains(k)    == Available(Settled, k)
AvailableVersion(s, k) ==
    Line(s)[CHOOSE i \in DOMAIN Line(s) : Line(s)[i].key = k].version
Peek(k)        == IF Contains(k) THEN AvailableVersion(Settled, k) ELSE 0
=============================================================================
