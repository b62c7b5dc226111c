----------------------------- MODULE MCpolicies -----------------------------
(***************************************************************************)
(* The table of policies: each policy against each of three guarantees.    *)
(* MCpolicies_<policy>.cfg proves the cells where the guarantee holds,     *)
(* MCpolicies_<policy>_fails.cfg shows the counterexample of the other.    *)
(*                                                                         *)
(*             worked on       newest value       producer never           *)
(*             once at a time  never lost unseen  turned away              *)
(*   update    yes             NO                 yes                      *)
(*   reject    yes             yes                NO                       *)
(*   buffer    NO              yes                yes                      *)
(*   defer     yes             yes                yes                      *)
(***************************************************************************)
EXTENDS MC

VARIABLES
    newest,  \* newest[k]: the version of the newest value put for k
    unseen   \* unseen[k]: no consumer has been handed that value yet

Puts(k)  == puts' # puts /\ puts' \in StoredVersions(k)'
\* A call returns with a lease on the newest value of k.
Hands(k) == \E i \in FlightsOf(After, k) :
                LET c == flight'[i].call
                IN  /\ flight'[i].version = newest[k] /\ flight'[i].left # Reserved
                    /\ Resume(c) \/ Get(c) \/ Take(c, k)

WatchedInit == Init /\ newest = [k \in Keys |-> 0] /\ unseen = [k \in Keys |-> FALSE]
WatchedNext ==
    /\ Next
    /\ newest' = [k \in Keys |-> IF Puts(k) THEN puts' ELSE newest[k]]
    /\ unseen' = [k \in Keys |-> Puts(k) \/ (unseen[k] /\ ~Hands(k))]

WatchedView == <<ByRank, unseen>>

\* A key is never worked on twice at once: it has one copy in flight at most.
WorkedOnOnceAtATime == \A k \in Keys : Cardinality(FlightsOf(Now, k)) <= 1
\* The newest value of a key is never lost before a consumer was handed it.
NewestNeverLostUnseen == \A k \in Keys : unseen[k] => newest[k] \in StoredVersions(k)
\* A producer is never turned away while the queue is open.
ProducerNeverTurnedAway ==
    open => \A k \in Keys, p \in Policies : PutError(k, p) = "ok"
=============================================================================
