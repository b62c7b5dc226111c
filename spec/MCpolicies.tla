----------------------------- MODULE MCpolicies -----------------------------
(***************************************************************************)
(* The table of policies: each policy against each of three guarantees.    *)
(* MCpolicies_<policy> proves the cells where the guarantee holds,         *)
(* MCpolicies_<policy>_fails shows the counterexample of the other.        *)
(*                                                                         *)
(*             worked on       newest value       producer never           *)
(*             once at a time  never lost unseen  turned away              *)
(*   update    yes             NO                 yes                      *)
(*    careful  yes             yes                yes                      *)
(*   reject    yes             yes                NO                       *)
(*   buffer    NO              yes                yes                      *)
(*   defer     yes             yes                yes                      *)
(*                                                                         *)
(* Careful are consumers who refresh before they ack: an ack is not made   *)
(* while the lease is superseded.                                          *)
(***************************************************************************)
EXTENDS MC

VARIABLE unseen   \* unseen[k]: no consumer has been shown the newest value of k yet

\* A call returns with the newest value of k: a lease on it, or a look at it.
Shows(k) == /\ Op \in {"get", "take", "resume", "refresh"}
            /\ \E i \in FlightsOf(After, k) :
                /\ flight'[i].call = Arg(2) /\ flight'[i].left # Reserved
                /\ flight'[i].version = newest[k]

WatchedInit == Init /\ unseen = [k \in Keys |-> FALSE]
WatchedNext ==
    /\ Next
    /\ unseen' = [k \in Keys |-> newest'[k] # newest[k] \/ (unseen[k] /\ ~Shows(k))]
CarefulNext ==
    /\ WatchedNext
    /\ Op = "ack" => ~Superseded(Settled, Arg(2))

WatchedView == <<ByRank, unseen>>

\* A key is never worked on twice at once: it has one copy in flight at most.
WorkedOnOnceAtATime == \A k \in Keys : Cardinality(FlightsOf(Now, k)) <= 1
\* The newest value of a key is never lost before a consumer was shown it.
NewestNeverLostUnseen == \A k \in Keys : unseen[k] => newest[k] \in StoredVersions(k)
\* A producer is never turned away while the queue is open.
ProducerNeverTurnedAway ==
    phase = "open" => \A k \in Keys, p \in Policies : PutError(k, p) = "ok"
=============================================================================
