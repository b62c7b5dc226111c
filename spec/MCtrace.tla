------------------------------ MODULE MCtrace -------------------------------
(***************************************************************************)
(* Are recorded runs behaviours of the specification?  The module that     *)
(* tests/conformance/traces.py writes in place of Recorded defines Runs, a *)
(* sequence of runs, each a sequence of events.  A call's name is the      *)
(* tuple <<number, lease time, wait time>>.  A run that can be followed to *)
(* its end is reported as accepted.                                        *)
(*                                                                         *)
(* Times are counted in units small enough that every recorded time is a   *)
(* whole number of them, so time passes in steps of many.                  *)
(***************************************************************************)
EXTENDS Recorded, TLC

VARIABLES
    run,     \* the run that is followed
    at,      \* the event that is next
    number   \* number[c]: the number in the token of the last lease of c

LeaseTimes == [c \in Calls |-> c[2]]
WaitTimes  == [c \in Calls |-> c[3]]

AgedBy(s, d) == [s EXCEPT
    !.flight  = [i \in DOMAIN @ |-> [@[i] EXCEPT
                    !.left = IF @ \in {Never, Reserved} THEN @ ELSE @ - d]],
    !.waiting = [i \in DOMAIN @ |-> [@[i] EXCEPT
                    !.left = IF @ = Never THEN @ ELSE IF @ < d THEN 0 ELSE @ - d]]]

\* The call c has just got a lease on the key, with one of the versions, and a
\* token whose number says when it was granted.
Got(c, key, versions, n) ==
    LET i == Position(flight', c)
    IN  /\ HasLease(After, c)
        /\ flight'[i].key = key /\ flight'[i].version \in versions
        /\ number' = [number EXCEPT ![c] = n]
        /\ \A j \in DOMAIN flight' \ {i} : flight'[j].left # Reserved =>
                (j < i <=> number[flight'[j].call] < n)

\* What came of a call: "ok", "waits", <<"got", ...>>, or an error.
Outcome(c, out, enabled, error) ==
    CASE out[1] = "error" -> /\ error = out[2] /\ Become(Settled)
                             /\ UNCHANGED <<puts, open, number>>
      [] out[1] = "ok"    -> enabled /\ UNCHANGED number
      [] out[1] = "waits" -> enabled /\ IsWaiting(After, c) /\ UNCHANGED number
      [] out[1] = "got"   -> enabled /\ Got(c, out[2], out[3], out[4])

Quiet(s) == Become(s) /\ UNCHANGED <<puts, open, number>>

Follow(e) ==
    CASE e[1] = "tick"    -> Quiet(AgedBy(Now, e[2]))
      [] e[1] = "put"     -> Outcome(0, e[4], Put(e[2], e[3]), PutError(e[2], e[3]))
      [] e[1] = "get"     -> Outcome(e[2], e[3], Get(e[2]), GetError(e[2]))
      [] e[1] = "take"    -> Outcome(e[2], e[4], Take(e[2], e[3]), TakeError(e[2], e[3]))
      [] e[1] = "resume"  -> Outcome(e[2], e[3], Resume(e[2]), "")
      [] e[1] = "cancel"  -> Cancel(e[2]) /\ UNCHANGED number
      [] e[1] = "ack"     -> Outcome(0, e[3], Ack(e[2]), LeaseError(e[2]))
      [] e[1] = "release" -> Outcome(0, e[4], Release(e[2], e[3]), LeaseError(e[2]))
      [] e[1] = "extend"  -> Outcome(0, e[4], Extend(e[2], e[3]), LeaseError(e[2]))
      [] e[1] = "close"   -> IF open THEN Close /\ UNCHANGED number ELSE Quiet(Now)
      [] e[1] = "time_out" ->
            LET Stays(w) == w.left # 0
            IN  Quiet([Settled EXCEPT !.waiting = SelectSeq(@, Stays)])
      [] e[1] = "refused" -> Quiet(Settled)
      [] e[1] = "look"    -> /\ Quiet(Settled)
                             /\ e[2] = AvailableKeys /\ e[3] = InflightKeys
                             /\ e[4] = QSize /\ e[5] = InflightSize

TraceInit == /\ Init
             /\ run \in DOMAIN Runs /\ at = 1
             /\ number = [c \in Calls |-> 0]

\* What tells states apart: a run can be followed in one way only.
Where == <<run, at>>

TraceNext ==
    \E event \in {IF at > Len(Runs[run]) THEN <<>> ELSE Runs[run][at]} :
        /\ event # <<>>
        /\ Follow(event)
        /\ at' = at + 1 /\ UNCHANGED run
        /\ at = Len(Runs[run]) => PrintT("accepted " \o ToString(run))
=============================================================================
