--------------------------------- MODULE MC ---------------------------------
(***************************************************************************)
(* Bounds for TLC.  The calls have different lease times and wait times,   *)
(* so that leases run out in another order than that of their granting.    *)
(***************************************************************************)
EXTENDS leasedkeyq, TLC

CONSTANTS c1, c2, c3, k1, k2, k3

Lease2 == c1 :> 1 @@ c2 :> 2
Wait2  == c1 :> Never @@ c2 :> 1
Impatient2 == c1 :> Never @@ c2 :> 0
Longer2 == c1 :> 2 @@ c2 :> 3
Lease3 == c1 :> 1 @@ c2 :> 2 @@ c3 :> Never
Wait3  == c1 :> Never @@ c2 :> 1 @@ c3 :> 0
Longer3      == c1 :> 2 @@ c2 :> 4 @@ c3 :> Never
LongerWaits3 == c1 :> Never @@ c2 :> 2 @@ c3 :> 1

(***************************************************************************)
(* Versions grow for ever, but only their order counts, and only among the *)
(* values of one key.  So two states that differ in nothing else are one:  *)
(* what TLC compares is the view of a state in which each version is       *)
(* replaced by its rank.  This makes the model finite without a bound on   *)
(* the number of puts.  (The set has one element; it names the versions    *)
(* that are stored, once.)                                                 *)
(***************************************************************************)
Rank(versions, v) == Cardinality({w \in versions : w <= v})
ByRank ==
    {<<[i \in DOMAIN returned |-> <<returned[i].key,
            Rank(stored[returned[i].key], returned[i].version)>>],
       [i \in DOMAIN arrived |-> <<arrived[i].key,
            Rank(stored[arrived[i].key], arrived[i].version)>>],
       [i \in DOMAIN flight |-> <<flight[i].call, flight[i].key, flight[i].left,
            Rank(stored[flight[i].key], flight[i].version)>>],
       [k \in Keys |-> Rank(stored[k], deferred[k])],
       [i \in DOMAIN waiting |->
            <<waiting[i].call, waiting[i].left, waiting[i].want>>],
       open>> : stored \in {[k \in Keys |-> StoredVersions(k)]}}

\* The same, with the ways in which leases ended.
ByRankAndEnd == <<ByRank, ended>>
=============================================================================
