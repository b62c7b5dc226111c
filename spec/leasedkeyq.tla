----------------------------- MODULE leasedkeyq -----------------------------
(***************************************************************************)
(* The definition of correct for leasedkeyq: an in-memory queue of keyed   *)
(* values, each worked on under a lease.                                   *)
(*                                                                         *)
(* How to read it.  The VARIABLES are what the queue holds.  Each action   *)
(* (Put, Get, Take, Resume, Cancel, TimeOut, Ack, Release, Extend, Expire, *)
(* Close, Tick) is one operation of the API or one event from outside, and *)
(* happens whole or not at all.  The properties at the end say what all    *)
(* this is good for.  The modules MC*.tla and the *.cfg files beside this  *)
(* one bound it and let TLC check every property in every state.           *)
(*                                                                         *)
(* Four pictures to keep in mind:                                          *)
(*                                                                         *)
(*   the line    the copies that wait, front first.  Its first part        *)
(*               (`returned') holds copies that came back, the rest        *)
(*               (`arrived') those put, or released to the back.           *)
(*   in flight   the copies that are out: reserved for a waiting call      *)
(*               that has not resumed, or under a live lease.              *)
(*   deferred    a value held back until no lease on its key is live.      *)
(*   waiting     the get and take calls that found nothing, oldest first.  *)
(***************************************************************************)
EXTENDS Integers, Sequences, FiniteSets

CONSTANTS
    Keys,        \* The keys.
    Policies,    \* The policies that producers use: a subset of AllPolicies.
    Calls,       \* Names for calls of get and take.  The lease that a call
                 \* gets bears the name of the call, and the name is free
                 \* again when call and lease are over.
    LeaseTime,   \* LeaseTime[c]: the ticks that the lease of c runs, or Never.
    WaitTime,    \* WaitTime[c]: the ticks that c is ready to wait, or Never.
    ExtendTimes, \* The timeouts that extend is called with: ticks, Never, or
                 \* Same for the duration that the lease was granted with.
    Late,        \* The queue may be late by so many ticks in noticing that a
                 \* lease has run out (the loop was busy).  0: it never is.
    AnyKey,      \* What a get waits for, where a take waits for a key.
    Never, Same, \* See above.
    Reserved     \* Stands for the time left of a lease that has not started.

VARIABLES
    returned,    \* First part of the line: a sequence of [key, version].
    arrived,     \* The rest of the line, likewise.
    flight,      \* The copies in flight, in the order in which they were given
                 \* out: a sequence of [call, key, version, left].  `left' is
                 \* the time that the lease has left: ticks (at 0 and below it
                 \* is due), Never, or Reserved.
    deferred,    \* deferred[k]: the version of k held back, 0 for none.
    waiting,     \* The calls that wait: a sequence of [call, want, left], where
                 \* `left' is the time that the call will still wait.
    ended,       \* ended[c]: how the last lease of c ended: "acked",
                 \* "released", "expired", or "none" if it had none yet.
    puts,        \* How many puts were accepted: the version of the newest value.
    open         \* FALSE once the queue is closed.

vars == <<returned, arrived, flight, deferred, waiting, ended, puts, open>>

AllPolicies == {"update", "reject", "buffer", "defer"}

ASSUME /\ Policies \subseteq AllPolicies
       /\ Late \in Nat
       /\ \A c \in Calls : LeaseTime[c] = Never \/ LeaseTime[c] \in Nat \ {0}
       /\ \A c \in Calls : WaitTime[c] = Never \/ WaitTime[c] \in Nat

-----------------------------------------------------------------------------
(***************************************************************************)
(* Looking at the queue.  `s' is always a record of all that the           *)
(* operations change (see Now, below).                                     *)
(***************************************************************************)
Newer(v, w) == IF v > w THEN v ELSE w

Without(seq, i) == SubSeq(seq, 1, i - 1) \o SubSeq(seq, i + 1, Len(seq))

\* The whole line, front first.
Line(s) == s.returned \o s.arrived

\* The positions in flight of the copies of k.
FlightsOf(s, k) == {i \in DOMAIN s.flight : s.flight[i].key = k}

InFlight(s, k)  == FlightsOf(s, k) # {}
Available(s, k) == \E i \in DOMAIN Line(s) : Line(s)[i].key = k

\* A call wants a key: any get, or a take of that key.
Wants(w, k) == w.want \in {AnyKey, k}

\* The position of a call in `waiting' or `flight'; 0 if it is not there.
Position(seq, c) ==
    IF \E i \in DOMAIN seq : seq[i].call = c
    THEN CHOOSE i \in DOMAIN seq : seq[i].call = c ELSE 0

IsWaiting(s, c)  == Position(s.waiting, c) > 0
IsReserved(s, c) == \E i \in DOMAIN s.flight :
                        s.flight[i].call = c /\ s.flight[i].left = Reserved
HasLease(s, c)   == \E i \in DOMAIN s.flight :
                        s.flight[i].call = c /\ s.flight[i].left # Reserved

\* A call's name is free: neither call nor lease is under way.
Idle(s, c) == Position(s.waiting, c) = 0 /\ Position(s.flight, c) = 0

\* A lease is live strictly before its deadline.
IsDue(copy) == copy.left \notin {Never, Reserved} /\ copy.left <= 0

\* The five states of a key, from what it has.
KeyState(s, k) ==
    CASE Available(s, k) /\ InFlight(s, k)  -> "BUFFERED"
      [] Available(s, k)                    -> "AVAILABLE"
      [] s.deferred[k] > 0                  -> "DEFERRED"
      [] InFlight(s, k)                     -> "LEASED"
      [] OTHER                              -> "ABSENT"

-----------------------------------------------------------------------------
(***************************************************************************)
(* The moves that the operations are made of.  Each takes a state and      *)
(* returns the next one.                                                   *)
(***************************************************************************)

\* The available copy of k takes the version v; its place stays.
Revalue(seq, k, v) ==
    [i \in DOMAIN seq |-> IF seq[i].key = k THEN [seq[i] EXCEPT !.version = v]
                                            ELSE seq[i]]
SetAvailable(s, k, v) == [s EXCEPT !.returned = Revalue(@, k, v),
                                   !.arrived  = Revalue(@, k, v)]

\* The version of the available copy of k.
AvailableVersion(s, k) ==
    Line(s)[CHOOSE i \in DOMAIN Line(s) : Line(s)[i].key = k].version

\* A copy of k is given to the call c, which has it until it resumes.
Give(s, c, k, v, left) ==
    [s EXCEPT !.flight = Append(@, [call |-> c, key |-> k, version |-> v,
                                    left |-> left])]

\* A copy becomes available.  It is offered to the call that has waited longest
\* among those that want it; if there is none, it takes its place in the line:
\* "head": front of the first part, "end": end of the first part, "back": back
\* of the line.
Offer(s, k, v, place) ==
    LET takers == {i \in DOMAIN s.waiting : Wants(s.waiting[i], k)}
        copy   == [key |-> k, version |-> v]
    IN  IF takers # {}
        THEN LET i == CHOOSE i \in takers : \A j \in takers : i <= j
             IN  Give([s EXCEPT !.waiting = Without(@, i)],
                      s.waiting[i].call, k, v, Reserved)
        ELSE CASE place = "head" -> [s EXCEPT !.returned = <<copy>> \o @]
               [] place = "end"  -> [s EXCEPT !.returned = Append(@, copy)]
               [] place = "back" -> [s EXCEPT !.arrived  = Append(@, copy)]

\* The i-th copy in flight comes back.  A deferred value of its key is merged
\* into it.  If a copy is available already, that one stays where it is and
\* takes the newer value; otherwise the copy is offered.
GiveBack(s, i, place) ==
    LET k == s.flight[i].key
        v == Newer(s.flight[i].version, s.deferred[k])
        r == [s EXCEPT !.flight = Without(@, i), !.deferred[k] = 0]
    IN  IF Available(s, k)
        THEN SetAvailable(r, k, Newer(v, AvailableVersion(s, k)))
        ELSE Offer(r, k, v, place)

\* The one element of a set.  (`The({F(r) : r \in {x}})' only says F(x); it has
\* TLC compute x once.)
The(set) == CHOOSE x \in set : TRUE

\* All leases that are due are ended, earliest deadline first, and in the order
\* of their granting where deadlines are equal.
RECURSIVE EndDue(_)
EndDue(s) ==
    LET due == {i \in DOMAIN s.flight : IsDue(s.flight[i])}
    IN  IF due = {} THEN s
        ELSE LET i == CHOOSE i \in due : \A j \in due :
                        \/ s.flight[i].left < s.flight[j].left
                        \/ s.flight[i].left = s.flight[j].left /\ i <= j
             IN  The({EndDue(r) : r \in {[GiveBack(s, i, "end")
                            EXCEPT !.ended[s.flight[i].call] = "expired"]}})

\* All copies in flight go back to the front, the latest granted first.
RECURSIVE GiveAllBack(_)
GiveAllBack(s) == IF s.flight = <<>> THEN s
                  ELSE The({GiveAllBack(r) :
                                r \in {GiveBack(s, Len(s.flight), "head")}})

\* One tick passes.
Less(left) == IF left \in {Never, Reserved} THEN left ELSE left - 1
Aged(s) == [s EXCEPT
    !.flight  = [i \in DOMAIN @ |-> [@[i] EXCEPT !.left = Less(@)]],
    !.waiting = [i \in DOMAIN @ |->
                    [@[i] EXCEPT !.left = IF @ = 0 THEN 0 ELSE Less(@)]]]

-----------------------------------------------------------------------------
(***************************************************************************)
(* The operations.                                                         *)
(***************************************************************************)
Now == [returned |-> returned, arrived |-> arrived, flight |-> flight,
        deferred |-> deferred, waiting |-> waiting, ended |-> ended]

\* The queue goes on in the state z.  (Here and below, `\E s \in {z}' only says
\* that s is z; it has TLC compute z once.)
Become(z) == \E s \in {z} :
    /\ returned' = s.returned
    /\ arrived'  = s.arrived
    /\ flight'   = s.flight
    /\ deferred' = s.deferred
    /\ waiting'  = s.waiting
    /\ ended'    = s.ended

\* Every operation begins by ending the leases that are due, so it works on
\* the settled state.
Settled == EndDue(Now)

\* The version that the next value gets.
Fresh == puts + 1

\* What a put makes of the state: the table of policies.
AfterPut(s, k, policy) ==
    CASE Available(s, k) ->
            SetAvailable(s, k, Fresh)
      [] ~Available(s, k) /\ InFlight(s, k) /\ policy = "update" ->
            IF s.deferred[k] > 0
            THEN [s EXCEPT !.deferred[k] = Fresh]
            ELSE LET i == CHOOSE i \in FlightsOf(s, k) :
                            \A j \in FlightsOf(s, k) :
                                s.flight[j].version <= s.flight[i].version
                 IN  [s EXCEPT !.flight[i].version = Fresh]
      [] ~Available(s, k) /\ InFlight(s, k) /\ policy = "defer" ->
            [s EXCEPT !.deferred[k] = Fresh]
      [] OTHER ->
            Offer([s EXCEPT !.deferred[k] = 0], k, Fresh, "back")

\* A producer puts a new value for k.  With "reject" it is turned away while a
\* lease on k is live.
Put(k, policy) ==
    \E s \in {Settled} :
        /\ open
        /\ ~(policy = "reject" /\ InFlight(s, k))
        /\ Become(AfterPut(s, k, policy))
        /\ puts' = Fresh
        /\ UNCHANGED open

\* The call c leases the i-th copy of the line at once.
Lease(s, c, i) ==
    LET copy == Line(s)[i]
        n    == Len(s.returned)
        r    == IF i <= n THEN [s EXCEPT !.returned = Without(@, i)]
                          ELSE [s EXCEPT !.arrived = Without(@, i - n)]
    IN  Give(r, c, copy.key, copy.version, LeaseTime[c])

\* The call c joins the calls that wait, unless it would not wait at all.
Join(s, c, want) ==
    /\ WaitTime[c] # 0
    /\ Become([s EXCEPT !.waiting = Append(@, [call |-> c, want |-> want,
                                               left |-> WaitTime[c]])])

\* A consumer calls get: it leases the copy at the front, or waits for any.
Get(c) ==
    \E s \in {Settled} :
        /\ open /\ Idle(s, c)
        /\ IF Line(s) # <<>> THEN Become(Lease(s, c, 1)) ELSE Join(s, c, AnyKey)
        /\ UNCHANGED <<puts, open>>

\* A consumer calls take: it leases the available copy of k, wherever that
\* stands, or waits for one.
Take(c, k) ==
    \E s \in {Settled} :
        /\ open /\ Idle(s, c)
        /\ IF Available(s, k)
           THEN Become(Lease(s, c, CHOOSE i \in DOMAIN Line(s) :
                                        Line(s)[i].key = k))
           ELSE Join(s, c, k)
        /\ UNCHANGED <<puts, open>>

\* A call that was given a copy resumes: only now does its lease start, with
\* the value as it stands.
Resume(c) ==
    \E s \in {Settled} :
        /\ IsReserved(Now, c)
        /\ Become([s EXCEPT !.flight[Position(s.flight, c)].left = LeaseTime[c]])
        /\ UNCHANGED <<puts, open>>

\* The state that c leaves behind if it waits: from the moment when a call is
\* cancelled it is offered nothing, so what is due is ended without it.
LeftBy(c) == LET Stays(w) == w.call # c
             IN  EndDue([Now EXCEPT !.waiting = SelectSeq(@, Stays)])

\* A call of get or take is cancelled.  A copy that was reserved for it goes
\* back to the front and is offered on, as if the call had never been there.
Cancel(c) ==
    \E s \in {LeftBy(c)} :
        /\ \/ IsWaiting(Now, c)  /\ Become(s)
           \/ IsReserved(Now, c) /\ Become(GiveBack(s, Position(s.flight, c), "head"))
        /\ UNCHANGED <<puts, open>>

\* The timer of the waits fires: the calls that have waited as long as they would
\* leave.  A call that was given a copy in time keeps it.
TimeOut ==
    \E s \in {Settled} :
    LET Stays(w) == w.left # 0
    IN  /\ ~\A i \in DOMAIN s.waiting : Stays(s.waiting[i])
        /\ Become([s EXCEPT !.waiting = SelectSeq(@, Stays)])
        /\ UNCHANGED <<puts, open>>

\* The work is done: the copy is gone for good.  With the last lease on the key
\* goes the reason to hold a deferred value back: it becomes available.
Ack(l) ==
    \E s \in {Settled} :
    LET i == Position(s.flight, l)
        k == s.flight[i].key
        r == [s EXCEPT !.flight = Without(@, i), !.ended[l] = "acked"]
    IN  /\ open /\ HasLease(s, l)
        /\ Become(IF s.deferred[k] > 0 /\ ~InFlight(r, k)
                  THEN Offer([r EXCEPT !.deferred[k] = 0], k, s.deferred[k],
                             "back")
                  ELSE r)
        /\ UNCHANGED <<puts, open>>

\* The work is given up: the copy goes back, to the front or to the back.
Release(l, front) ==
    \E s \in {Settled} :
        /\ open /\ HasLease(s, l)
        /\ Become([GiveBack(s, Position(s.flight, l),
                            IF front THEN "head" ELSE "back")
                        EXCEPT !.ended[l] = "released"])
        /\ UNCHANGED <<puts, open>>

\* The lease's clock starts again.
Extend(l, t) ==
    \E s \in {Settled} :
    LET left == IF t = Same THEN LeaseTime[l] ELSE t
    IN  /\ open /\ HasLease(s, l)
        /\ Become([s EXCEPT !.flight[Position(s.flight, l)].left = left])
        /\ UNCHANGED <<puts, open>>

\* The timer fires, or someone looks at the queue: the due leases are ended.
Expire == /\ ~\A i \in DOMAIN flight : ~IsDue(flight[i])
          /\ Become(Settled)
          /\ UNCHANGED <<puts, open>>

\* The queue closes: every copy in flight goes back to the front, every call
\* that waits is told, those with a reserved copy too.
Close == /\ open
         /\ open' = FALSE
         /\ Become(GiveAllBack([Settled EXCEPT !.waiting = <<>>]))
         /\ UNCHANGED puts

\* Time passes.
Tick == /\ \A i \in DOMAIN flight : IsDue(flight[i]) => flight[i].left > -Late
        /\ Become(Aged(Now))
        /\ UNCHANGED <<puts, open>>

Init == /\ returned = <<>> /\ arrived = <<>> /\ flight = <<>> /\ waiting = <<>>
        /\ deferred = [k \in Keys |-> 0]
        /\ ended = [c \in Calls |-> "none"]
        /\ puts = 0
        /\ open = TRUE

Next == \/ \E k \in Keys, p \in Policies : Put(k, p)
        \/ \E c \in Calls : \/ Get(c) \/ \E k \in Keys : Take(c, k)
                            \/ Resume(c) \/ Cancel(c)
        \/ \E l \in Calls : \/ Ack(l)
                            \/ \E front \in BOOLEAN : Release(l, front)
                            \/ \E t \in ExtendTimes : Extend(l, t)
        \/ TimeOut \/ Expire \/ Close \/ Tick

\* What is asked of the world: time passes, the timer fires, a call that was
\* woken runs, a wait that is over is ended.  Nothing is asked of the users.
Fairness == /\ WF_vars(Tick)
            /\ WF_vars(Expire)
            /\ WF_vars(TimeOut)
            /\ \A c \in Calls : WF_vars(Resume(c))

Spec == Init /\ [][Next]_vars /\ Fairness

-----------------------------------------------------------------------------
(***************************************************************************)
(* What a call that is not enabled raises.  "ok" means that it is enabled. *)
(* An error changes nothing (beyond the due leases that are ended first).  *)
(***************************************************************************)
PutError(k, policy) ==
    CASE ~open -> "QueueClosedError"
      [] open /\ policy = "reject" /\ InFlight(Settled, k)
             -> "KeyAlreadyInFlightError"
      [] OTHER -> "ok"

GetError(c) ==
    CASE ~open -> "QueueClosedError"
      [] open /\ WaitTime[c] = 0 /\ Line(Settled) = <<>> -> "TimeoutError"
      [] OTHER -> "ok"

TakeError(c, k) ==
    CASE ~open -> "QueueClosedError"
      [] open /\ WaitTime[c] = 0 /\ ~Available(Settled, k) -> "TimeoutError"
      [] OTHER -> "ok"

\* For ack, release and extend alike.
LeaseError(l) ==
    CASE ~open -> "QueueClosedError"
      [] open /\ HasLease(Settled, l) -> "ok"
      [] open /\ ~HasLease(Settled, l) ->
            CASE Settled.ended[l] = "acked"   -> "LeaseAlreadyAcknowledgedError"
              [] Settled.ended[l] = "expired" -> "LeaseExpiredError"
              [] OTHER                        -> "InvalidLeaseError"

-----------------------------------------------------------------------------
(***************************************************************************)
(* What introspection shows, of an open queue and of a closed one.         *)
(***************************************************************************)
AvailableKeys == {k \in Keys : Available(Settled, k)}
InflightKeys  == {k \in Keys : InFlight(Settled, k)}
QSize         == Len(Line(Settled))
InflightSize  == Len(Settled.flight)
Contains(k)   == Available(Settled, k)
Peek(k)       == IF Contains(k) THEN AvailableVersion(Settled, k) ELSE 0

-----------------------------------------------------------------------------
(***************************************************************************)
(* State invariants.                                                       *)
(***************************************************************************)
Versions == Nat \ {0}
Times    == Int \cup {Never}

\* 1. Every variable has the shape that its comment says.
TypeOK ==
    /\ returned \in Seq([key : Keys, version : Versions])
    /\ arrived  \in Seq([key : Keys, version : Versions])
    /\ \A i \in DOMAIN flight :
            /\ DOMAIN flight[i] = {"call", "key", "version", "left"}
            /\ flight[i].call \in Calls /\ flight[i].key \in Keys
            /\ flight[i].version \in Versions
            /\ flight[i].left \in {Never, Reserved} \/ flight[i].left >= -Late
    /\ \A i \in DOMAIN waiting :
            /\ DOMAIN waiting[i] = {"call", "want", "left"}
            /\ waiting[i].call \in Calls /\ waiting[i].want \in Keys \cup {AnyKey}
            /\ waiting[i].left = Never \/ waiting[i].left >= 0
    /\ deferred \in [Keys -> Nat]
    /\ ended \in [Calls -> {"none", "acked", "released", "expired"}]
    /\ puts \in Nat
    /\ open \in BOOLEAN

\* 2. A key has at most one available copy.
OneAvailable ==
    \A i, j \in DOMAIN Line(Now) : Line(Now)[i].key = Line(Now)[j].key => i = j

\* 3. A value is deferred only while a lease on its key is live and no copy of
\*    it is available.
DeferredOnlyInFlight ==
    \A k \in Keys : deferred[k] > 0 => InFlight(Now, k) /\ ~Available(Now, k)

\* 4. A deferred value is newer than every copy of its key in flight.
DeferredIsNewest ==
    \A k \in Keys : deferred[k] > 0 =>
        \A i \in FlightsOf(Now, k) : flight[i].version < deferred[k]

\* 5. No call waits for a copy that is available.
NoneWaitsInVain ==
    \A i \in DOMAIN waiting : \A k \in Keys :
        waiting[i].want \in {AnyKey, k} => ~Available(Now, k)

\* 6. A call is in one place: it waits, or has a copy, or neither.
OnePlacePerCall ==
    LET places == waiting \o flight
    IN  \A i, j \in DOMAIN places : places[i].call = places[j].call => i = j

\* 7. No value is stored twice, and none was never put.
StoredVersions(k) ==
    {Line(Now)[i].version : i \in {n \in DOMAIN Line(Now) : Line(Now)[n].key = k}}
    \cup {flight[i].version : i \in FlightsOf(Now, k)}
    \cup ({deferred[k]} \ {0})
Stored(s) == Cardinality(DOMAIN Line(s)) + Cardinality(DOMAIN s.flight)
                + Cardinality({k \in Keys : s.deferred[k] > 0})
EachValueOnce ==
    LET all == UNION {StoredVersions(k) : k \in Keys}
    IN  Cardinality(all) = Stored(Now) /\ \A v \in all : v <= puts

\* 8. A closed queue has nothing in flight and nobody waits for it.
ClosedIsQuiet == ~open => /\ flight = <<>> /\ waiting = <<>>
                          /\ \A k \in Keys : deferred[k] = 0

\* 9. A call that waits is one that would: it has not a timeout of zero.
OnlyPatientCallsWait == \A i \in DOMAIN waiting : WaitTime[waiting[i].call] # 0

\* 10. Theorem: expiry depends on time alone.  Over any three ticks, ending the
\*     due leases at every tick or all at once at the last leaves the same.
ExpiryByTimeAlone ==
    LET punctual == EndDue(Aged(EndDue(Aged(EndDue(Aged(Settled))))))
    IN  /\ EndDue(Aged(Aged(Aged(Now)))) = punctual
        /\ EndDue(Aged(Aged(EndDue(Aged(Now))))) = punctual
        /\ EndDue(Aged(EndDue(Aged(Aged(Now))))) = punctual
        /\ EndDue(Settled) = Settled

\* 11. Theorem: without "buffer" at most one lease on a key is live.
OneLeasePerKey ==
    "buffer" \notin Policies =>
        \A k \in Keys : Cardinality(FlightsOf(Now, k)) <= 1

-----------------------------------------------------------------------------
(***************************************************************************)
(* Order: what a step may and may not do.  States alone can't show order,  *)
(* so these properties compare the state that the step works on (Before)   *)
(* with the one that it leaves (After).                                    *)
(***************************************************************************)
Before == IF Tick THEN Now
          ELSE LET Stays(w) == ~Cancel(w.call)
               IN  EndDue([Now EXCEPT !.waiting = SelectSeq(@, Stays)])
After  == [returned |-> returned', arrived |-> arrived', flight |-> flight',
           deferred |-> deferred', waiting |-> waiting', ended |-> ended']

KeysOf(seq)   == {seq[i].key : i \in DOMAIN seq}
Place(seq, k) == CHOOSE i \in DOMAIN seq : seq[i].key = k
\* The keys that a step brings into the line.
Entered == KeysOf(Line(After)) \ KeysOf(Line(Before))

\* 12. A call that raises an error does not happen.  Only a call that was given a
\*     copy resumes; it can, and one that waits or has a copy can be cancelled.
ErrorsRefuse == [][
    /\ \A k \in Keys, p \in Policies : Put(k, p) => PutError(k, p) = "ok"
    /\ \A c \in Calls : /\ Get(c) => GetError(c) = "ok"
                        /\ \A k \in Keys : Take(c, k) => TakeError(c, k) = "ok"
    /\ \A l \in Calls : (\/ Ack(l) \/ \E f \in BOOLEAN : Release(l, f)
                         \/ \E t \in ExtendTimes : Extend(l, t))
                        => LeaseError(l) = "ok"
    /\ \A c \in Calls : /\ Resume(c) => IsReserved(Now, c)
                        /\ IsReserved(Now, c) => ENABLED Resume(c) /\ ENABLED Cancel(c)
                        /\ IsWaiting(Now, c) => ENABLED Cancel(c)
    ]_vars

\* 13. Copies that stay in the line stay in their order, and in their part.
LineKeepsOrder == [][
    LET before == Line(Now)  after == Line(After)
        both   == KeysOf(before) \cap KeysOf(after)
    IN  \A k \in both :
            /\ \A m \in both : Place(before, k) < Place(before, m)
                                  => Place(after, k) < Place(after, m)
            /\ k \in KeysOf(returned) <=> k \in KeysOf(returned')
    ]_vars

\* 14. First in, first out: get leases the head of the line.
HeadFirst == [][
    \A c \in Calls : Get(c) /\ Line(Before) # <<>> =>
        LET head == Head(Line(Before))
        IN  /\ Line(After) = Tail(Line(Before))
            /\ flight' = Append(Before.flight,
                    [call |-> c, key |-> head.key, version |-> head.version,
                     left |-> LeaseTime[c]])
    ]_vars

\* 15. A take leases the copy of its key and moves no other.
TakeIsExact == [][
    \A c \in Calls, k \in Keys : Take(c, k) /\ Available(Before, k) =>
        /\ KeysOf(Line(After)) = KeysOf(Line(Before)) \ {k}
        /\ flight' = Append(Before.flight,
                [call |-> c, key |-> k, version |-> AvailableVersion(Before, k),
                 left |-> LeaseTime[c]])
    ]_vars

\* 16. A put, a value set free by an ack, and a release to the back enter the
\*     line at its very end.
BackIsLast == [][
    (\/ \E k \in Keys, p \in Policies : Put(k, p)
     \/ \E l \in Calls : Ack(l) \/ Release(l, FALSE))
        => \/ Entered = {}
           \/ arrived' # <<>> /\ Entered = {arrived'[Len(arrived')].key}
    ]_vars

\* 17. A release to the front and the copy of a cancelled call enter at the
\*     very front.
FrontIsFirst == [][
    (\E l \in Calls : Release(l, TRUE) \/ Cancel(l))
        => \/ Entered = {}
           \/ returned' # <<>> /\ Entered = {returned'[1].key}
    ]_vars

\* 18. Copies that expire enter at the end of the first part, in the order of
\*     their deadlines, and of their granting where these are equal.
ExpiredInOrder == [][
    Expire =>
        LET new    == SubSeq(returned', Len(returned) + 1, Len(returned'))
            due(k) == {i \in FlightsOf(Now, k) : IsDue(flight[i])}
            sooner(i, j) == \/ flight[i].left < flight[j].left
                            \/ flight[i].left = flight[j].left /\ i < j
        IN  /\ KeysOf(Line(After)) \ KeysOf(Line(Now)) = KeysOf(new)
            /\ \A a, b \in DOMAIN new : a < b =>
                \E i \in due(new[a].key) : \A j \in due(new[b].key) : sooner(i, j)
    ]_vars

\* 19. On close the copies in flight come back in front of all others, in the
\*     order in which they were granted.
ClosedInOrder == [][
    Close =>
        LET new     == SubSeq(returned', 1, Len(returned') - Len(Before.returned))
            last(k) == CHOOSE i \in FlightsOf(Before, k) :
                            \A j \in FlightsOf(Before, k) : j <= i
        IN  /\ Entered = KeysOf(new)
            /\ \A a, b \in DOMAIN new : a < b => last(new[a].key) < last(new[b].key)
    ]_vars

\* 20. Calls stay in order: a copy given out later stands later in `flight', a
\*     call that came later stands later in `waiting'.  And a call goes on waiting
\*     until it is given a copy, is cancelled, has no time left, or is closed upon.
InOrder(before, after) ==
    \A i, j \in DOMAIN after : i < j =>
        LET a == Position(before, after[i].call)
            b == Position(before, after[j].call)
        IN  b > 0 => a > 0 /\ a < b
CallsKeepOrder == [][
    \A before \in {Before} :
        /\ InOrder(flight, before.flight)   /\ InOrder(before.flight, flight')
        /\ InOrder(waiting, before.waiting) /\ InOrder(before.waiting, waiting')
        /\ \A i \in DOMAIN waiting :
            LET c == waiting[i].call
            IN  \/ IsWaiting(After, c) \/ Position(flight', c) > 0
                \/ Cancel(c) \/ Close \/ (TimeOut /\ waiting[i].left = 0)
    ]_vars

\* 21. No barging: nobody is given a copy that a call which still waits has
\*     waited for longer; and a call that waits for one key is given no other.
NoBarging == [][
    \A i \in DOMAIN waiting : \A c \in Calls : \A k \in Keys :
        LET got == /\ \E n \in FlightsOf(After, k) : flight'[n].call = c
                   /\ \A n \in FlightsOf(Now, k) : flight[n].call # c
            wanted == waiting[i].want \in {AnyKey, k}
        IN  /\ got /\ wanted /\ IsWaiting(After, waiting[i].call)
                => Position(waiting, c) \in 1 .. i - 1
            /\ got /\ waiting[i].call = c => wanted
    ]_vars

\* 22. A put takes a key from one of its states to another by this table.  (A copy
\*     that a waiting call is given at once is LEASED, not available.)
PutsByTheTable == [][
    \A k \in Keys, p \in Policies : Put(k, p) =>
        LET from == KeyState(Before, k)  to == KeyState(After, k)
            given == to \in {"BUFFERED", "LEASED"}
            \* The newest of the values in flight is replaced.
            revised == \E i \in FlightsOf(Before, k) :
                /\ flight'[i].version = puts'
                /\ \A j \in FlightsOf(Before, k) :
                        Before.flight[j].version <= Before.flight[i].version
        IN  CASE from = "ABSENT"    -> to \in {"AVAILABLE", "LEASED"}
              [] from = "AVAILABLE" -> to = "AVAILABLE"
              [] from = "BUFFERED"  -> p # "reject" /\ to = "BUFFERED"
              [] from = "LEASED"    -> \/ p = "update" /\ to = "LEASED" /\ revised
                                       \/ p = "defer"  /\ to = "DEFERRED"
                                       \/ p = "buffer" /\ given
              [] from = "DEFERRED"  -> \/ p \in {"update", "defer"} /\ to = "DEFERRED"
                                       \/ p = "buffer" /\ given
    ]_vars

\* 23. Nothing is merged backwards: a value is only ever replaced by a newer
\*     one, wherever it is.
NeverOlder(s, t) ==
    /\ \A k \in Keys :
        /\ Available(s, k) /\ Available(t, k)
            => AvailableVersion(t, k) >= AvailableVersion(s, k)
        /\ s.deferred[k] > 0 /\ t.deferred[k] > 0 => t.deferred[k] >= s.deferred[k]
    /\ \A i \in DOMAIN s.flight :
        LET j == Position(t.flight, s.flight[i].call)
        IN  j > 0 => t.flight[j].version >= s.flight[i].version
NothingBackwards == [][
    \A before \in {Before} : NeverOlder(Now, before) /\ NeverOlder(before, After)
    ]_vars

\* 24. Nothing is lost: an ack removes the value of its own copy, and no other
\*     step loses the newest value of a key.
Newest(versions) == IF versions = {} THEN 0
                    ELSE CHOOSE v \in versions : \A w \in versions : w <= v
NothingLost == [][
    \A k \in Keys :
        Newest(StoredVersions(k)') < Newest(StoredVersions(k)) =>
            \E i \in FlightsOf(Before, k) :
                /\ Ack(Before.flight[i].call)
                /\ Newest(StoredVersions(k)')
                        >= Newest(StoredVersions(k) \ {Before.flight[i].version})
    ]_vars

\* 25. An accepted put stores its value, as the newest of its key, and nothing
\*     else makes a version.
PutIsStored == [][
    /\ \A k \in Keys, p \in Policies : Put(k, p) =>
            puts' = puts + 1 /\ puts' \in StoredVersions(k)'
    /\ puts' # puts => \E k \in Keys, p \in Policies : Put(k, p)
    ]_vars

\* 26. An ack, a release and an expiry end a lease, and no other operation does
\*     as long as the queue is open.  An ack sets a deferred value free if no
\*     other lease on its key is live, and not before.
LeasesEndOnlySo == [][
    /\ \A c \in Calls : Ack(c) \/ (\E front \in BOOLEAN : Release(c, front))
        => ~HasLease(After, c)
    /\ \A c \in Calls, k \in Keys :
        Ack(c) /\ (\E i \in FlightsOf(Before, k) : Before.flight[i].call # c)
            => deferred'[k] = Before.deferred[k]
    /\ \A i \in DOMAIN flight :
        LET c == flight[i].call
            ranOut == flight[i].left # Never /\ flight[i].left <= 0
        IN  flight[i].left # Reserved /\ ~HasLease(After, c) =>
                \/ Ack(c) /\ ended'[c] = "acked"
                \/ (\E front \in BOOLEAN : Release(c, front)) /\ ended'[c] = "released"
                \/ ranOut /\ ended'[c] = "expired"
                \/ Close /\ ~ranOut
    ]_vars

\* 27. A lease's clock is started by the call that gets it or by extend, with the
\*     time asked for, and otherwise moved by the passing of time alone.  (Whether it may run out is
\*     the matter of 29.)
ClockRunsEvenly == [][
    /\ \A c \in Calls, t \in ExtendTimes : Extend(c, t) =>
        flight'[Position(flight', c)].left = IF t = Same THEN LeaseTime[c] ELSE t
    /\ \A before \in {Before} :
       \A j \in {n \in DOMAIN flight' : Tick \/ ~IsDue(flight'[n])} :
        LET c   == flight'[j].call
            i   == Position(before.flight, c)
            now == flight'[j].left
            was == before.flight[i].left
        IN  IF i = 0 THEN now \in {Reserved, LeaseTime[c]}
            ELSE \/ now = was
                 \/ now = Less(was) /\ Tick
                 \/ now = LeaseTime[c] /\ was = Reserved /\ Resume(c)
                 \/ \E t \in ExtendTimes : Extend(c, t)
    ]_vars

\* 28. Time passes for all alike: in a tick the clock of no lease stands still, and
\*     that of no call that has time left.
TimePasses == [][
    Tick => /\ Len(flight') = Len(flight) /\ Len(waiting') = Len(waiting)
            /\ \A i \in DOMAIN flight : flight[i].left \notin {Never, Reserved} =>
                    flight'[i].left = flight[i].left - 1
            /\ \A i \in DOMAIN waiting : waiting[i].left \notin {Never, 0} =>
                    waiting'[i].left = waiting[i].left - 1
    ]_vars

\* 29. A lease that is due is over for everyone: after any operation none is left.
NoneIsDueAfter == [][
    Tick \/ \A i \in DOMAIN flight' :
                flight'[i].left \in {Never, Reserved} \/ flight'[i].left > 0
    ]_vars

\* 30. Close closes the queue, for good: then nothing moves any more.
ClosedForGood == [][(Close => ~open') /\ (~open => UNCHANGED vars)]_vars

-----------------------------------------------------------------------------
(***************************************************************************)
(* Liveness: what happens in the end.                                      *)
(***************************************************************************)
\* 31. A lease with a timeout ends: unless it is ended before, or extended for
\*     ever, its time runs out; and then it is ended.
HasTime(c) == \E i \in DOMAIN flight : flight[i].call = c /\ ~IsDue(flight[i])
                                       /\ flight[i].left \notin {Never, Reserved}
HasRunOut(c) == \E i \in DOMAIN flight : flight[i].call = c /\ IsDue(flight[i])
TimedLeasesEnd == \A c \in Calls :
    /\ <>[][\A t \in ExtendTimes : ~Extend(c, t)]_vars => (HasTime(c) ~> ~HasTime(c))
    /\ HasRunOut(c) ~> ~HasRunOut(c)

\* 32. A call that was given a copy has its lease, unless it leaves.
ReservationsEnd == \A c \in Calls : IsReserved(Now, c) ~> ~IsReserved(Now, c)

\* 33. A call that waits with a timeout does not wait for ever.
WaitsEnd == \A c \in Calls : WaitTime[c] # Never =>
                (IsWaiting(Now, c) ~> ~IsWaiting(Now, c))

\* 34. A get that waits is served, or leaves, if copies go on being given to
\*     waiting calls.
WaitsForAny(c) == \E i \in DOMAIN waiting :
                    waiting[i].call = c /\ waiting[i].want = AnyKey
GivesToWaiting == \E i \in DOMAIN waiting : Position(flight', waiting[i].call) > 0
WaitersAreServed == \A c \in Calls :
    []<><<GivesToWaiting>>_vars => (WaitsForAny(c) ~> ~WaitsForAny(c))

\* 35. A copy that waits is delivered, if gets keep coming and copies don't come
\*     back ahead of it for ever.
NothingComesBack == Len(Settled.returned) <= Len(returned)
                        /\ Len(returned') <= Len(returned)
CopiesAreDelivered == \A k \in Keys :
    []<><<\E c \in Calls : Get(c)>>_vars /\ <>[][NothingComesBack]_vars
        => (Available(Now, k) ~> ~Available(Now, k))

\* 36. Close wakes everyone.
CloseWakesAll == ~open ~> (waiting = <<>> /\ flight = <<>>)
=============================================================================
