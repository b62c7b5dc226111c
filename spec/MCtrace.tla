------------------------------ MODULE MCtrace -------------------------------
(***************************************************************************)
(* Are recorded runs behaviours of the specification?  The module that     *)
(* tests/conformance/traces.py writes in place of Recorded defines         *)
(*                                                                         *)
(*   TraceKeys   the keys                                                  *)
(*   TraceCalls  the names of all calls that may wait, those of put, join  *)
(*               and drain too: <<number, lease time, wait time>>          *)
(*   Runs        a sequence of runs, each a sequence of events             *)
(*   Bounds      the maxsize of each run; 0 for none                       *)
(*                                                                         *)
(* A run that can be followed to its end is reported as accepted.  An      *)
(* event is a tuple of an operation, its arguments, and what came of it:   *)
(*                                                                         *)
(*   put CALL KEY POLICY DELAY OUT    get CALL OUT     take CALL KEY OUT   *)
(*   resume CALL OUT     cancel CALL     over CALL WHAT                    *)
(*   ack LEASE OUT   release LEASE FRONT DELAY OUT   extend LEASE TIME OUT *)
(*   refresh LEASE OUT   superseded LEASE OUT   discard KEY OUT            *)
(*   join CALL OUT   drain CALL OUT   shutdown   close   time_out          *)
(*   tick TIME       refused          look SHOWN ... (six, as in MCdump)   *)
(*                                                                         *)
(* OUT is <<"ok">>, <<"waits">>, <<"error", name>> (of a put that will not *)
(* wait: "TimeoutError"), <<"got", key, {versions}, number, attempt>> (0:  *)
(* not known), <<"value", {versions}>>, or <<"is", truth>>.  `over' says   *)
(* what a call that waited came to without being given anything: the name  *)
(* of an error, "None", "True" or "False".  CALL of a put that does not    *)
(* wait does not matter.                                                   *)
(*                                                                         *)
(* Times are counted in units small enough that every recorded time is a   *)
(* whole number of them, so time passes in steps of many.                  *)
(***************************************************************************)
EXTENDS Recorded, properties, TLC

VARIABLES
    run,     \* the run that is followed
    at,      \* the event that is next
    number,  \* number[c]: the number in the token of the last lease of c
    heard    \* all that calls were told

LeaseTimes == [c \in Calls |-> c[2]]
WaitTimes  == [c \in Calls |-> c[3]]
\* (In the place of HasRoom.)
RunHasRoom(s) == Bounds[run] = 0 \/ Items(s) < Bounds[run]

LessBy(left, d) == IF left \in {Never, Reserved} THEN left ELSE left - d
UpTo0(left, d)  == IF left # Never /\ left < d THEN 0 ELSE LessBy(left, d)
AgedBy(s, d) == [s EXCEPT
    !.flight   = [i \in DOMAIN @ |-> [@[i] EXCEPT !.left = LessBy(@, d)]],
    !.delayed  = [k \in Keys |-> [@[k] EXCEPT !.left = LessBy(@, d)]],
    !.deferred = [k \in Keys |-> [@[k] EXCEPT !.left = UpTo0(@, d)]],
    !.waiting  = [i \in DOMAIN @ |-> [@[i] EXCEPT !.left = UpTo0(@, d)]]]

Quiet(s) == Become(<<"quiet">>, s)
\* An answer that changes nothing.
Answers(right) == right /\ Quiet(Settled) /\ UNCHANGED number

\* The call c has just got a lease on the key, with one of the versions, and a
\* token whose number says when it was granted.
Got(c, key, versions, n, attempt) ==
    LET i == Position(flight', c)
    IN  /\ HasLease(After, c)
        /\ flight'[i].key = key /\ flight'[i].version \in versions
        /\ attempt \in {0, flight'[i].tries}
        /\ number' = [number EXCEPT ![c] = n]
        /\ \A j \in DOMAIN flight' \ {i} : flight'[j].left # Reserved =>
                (j < i <=> number[flight'[j].call] < n)

\* What came of an operation that is an action, or else an error.
Outcome(c, out, action, error) ==
    CASE out[1] = "error" -> Answers(error = out[2])
      [] out[1] = "ok"    -> action /\ UNCHANGED number
      [] out[1] = "waits" -> action /\ IsWaiting(After, c) /\ UNCHANGED number
      [] out[1] = "got"   -> action /\ Got(c, out[2], out[3], out[4], out[5])

Truth(b) == IF b THEN "True" ELSE "False"

Follow(e) ==
    CASE e[1] = "tick"    -> Quiet(AgedBy(Now, e[2])) /\ UNCHANGED number
      [] e[1] = "put"     ->
            IF e[6] = <<"waits">>
            THEN Outcome(e[2], e[6], PutWaits(e[2], e[3], e[4], e[5]), "")
            ELSE Outcome(0, e[6], Put(e[3], e[4], e[5]), PutError(e[3], e[4]))
      [] e[1] = "get"     -> Outcome(e[2], e[3], Get(e[2]), GetError(e[2]))
      [] e[1] = "take"    -> Outcome(e[2], e[4], Take(e[2], e[3]), TakeError(e[2], e[3]))
      [] e[1] = "resume"  ->
            IF e[3][1] = "got" THEN Outcome(e[2], e[3], Resume(e[2]), "")
            ELSE /\ Resume(e[2]) /\ UNCHANGED number
                 /\ <<e[2], IF e[3][1] = "ok" THEN "None" ELSE e[3][2]>> \in step'.told
      [] e[1] = "cancel"  ->  \* of a call that is over it changes nothing
            IF \E what \in heard : what[1] = e[2] THEN Answers(TRUE)
            ELSE Cancel(e[2]) /\ UNCHANGED number
      [] e[1] = "over"    -> Answers(<<e[2], e[3]>> \in heard)
      [] e[1] = "ack"     -> Outcome(0, e[3], Ack(e[2]), LeaseError(e[2]))
      [] e[1] = "release" -> Outcome(0, e[5], Release(e[2], e[3], e[4]), LeaseError(e[2]))
      [] e[1] = "extend"  -> Outcome(0, e[4], Extend(e[2], e[3]), LeaseError(e[2]))
      [] e[1] = "refresh" ->
            IF e[3][1] = "error" THEN Answers(LeaseError(e[2]) = e[3][2])
            ELSE /\ Refresh(e[2]) /\ UNCHANGED number
                 /\ flight'[Position(flight', e[2])].version \in e[3][2]
      [] e[1] = "superseded" ->
            Answers(IF e[3][1] = "error" THEN LeaseError(e[2]) = e[3][2]
                    ELSE LeaseError(e[2]) = "ok" /\ Superseded(Settled, e[2]) = e[3][2])
      [] e[1] = "discard" ->
            IF e[3] = <<"is", TRUE>> THEN Discard(e[2]) /\ UNCHANGED number
            ELSE Answers(DiscardError(e[2]) =
                            IF e[3][1] = "error" THEN e[3][2] ELSE "False")
      [] e[1] = "join"    ->
            IF e[3] = <<"ok">> THEN Answers(JoinError(e[2]) = "None")
            ELSE Outcome(e[2], e[3], Join(e[2]), JoinError(e[2]))
      [] e[1] = "drain"   ->
            IF phase = "closed" THEN Answers(DrainError(e[2]) = Truth(e[3][2]))
            ELSE /\ Drain(e[2]) /\ UNCHANGED number
                 /\ IF e[3] = <<"waits">> THEN IsWaiting(After, e[2])
                    ELSE <<e[2], Truth(e[3][2])>> \in step'.told
      [] e[1] = "shutdown" -> IF phase = "open" THEN Shutdown /\ UNCHANGED number
                              ELSE Answers(TRUE)
      [] e[1] = "close"   -> IF phase = "closed" THEN Answers(TRUE)
                             ELSE Close /\ UNCHANGED number
      [] e[1] = "time_out" ->
            IF \E w \in Range(Settled.waiting) : w.left = 0
            THEN TimeOut /\ UNCHANGED number ELSE Answers(TRUE)
      [] e[1] = "refused" -> Answers(TRUE)
      [] e[1] = "look"    -> Answers(
            <<e[2], e[3], e[4], e[5], e[6], e[7]>> =
            <<AvailableKeys, InflightKeys, DelayedKeys, QSize, InflightSize, DelayedSize>>)

TraceInit == /\ Init
             /\ run \in DOMAIN Runs /\ at = 1
             /\ number = [c \in Calls |-> 0]
             /\ heard = {}

\* What tells states apart: a run can be followed in one way only.
Where == <<run, at>>

TraceNext ==
    \E event \in {IF at > Len(Runs[run]) THEN <<>> ELSE Runs[run][at]} :
        /\ event # <<>>
        /\ Follow(event)
        /\ at' = at + 1 /\ UNCHANGED run
        /\ heard' = heard \cup step'.told
        /\ at = Len(Runs[run]) => PrintT("accepted " \o ToString(run))
=============================================================================
