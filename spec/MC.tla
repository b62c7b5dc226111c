--------------------------------- MODULE MC ---------------------------------
(***************************************************************************)
(* Bounds for TLC.  The calls have different lease times and wait times,   *)
(* so that leases run out in another order than that of their granting.    *)
(* What a model does not say about its constants is said in manifest.toml. *)
(***************************************************************************)
EXTENDS properties, TLC

CONSTANTS c1, c2, c3, k1, k2, k3, p1, p2, w1, w2, w3

Lease2 == c1 :> 1 @@ c2 :> 2
Longer2 == c1 :> 2 @@ c2 :> 3
Lease3 == c1 :> 1 @@ c2 :> 2 @@ c3 :> Never
Longer3 == c1 :> 2 @@ c2 :> 4 @@ c3 :> Never
Others == p1 :> Never @@ p2 :> 1 @@ w1 :> Never @@ w2 :> 1 @@ w3 :> 0
Wait2  == c1 :> Never @@ c2 :> 1 @@ Others
Impatient2 == c1 :> Never @@ c2 :> 0 @@ Others
Wait3  == c1 :> Never @@ c2 :> 1 @@ c3 :> 0 @@ Others
LongerWaits3 == c1 :> Never @@ c2 :> 2 @@ c3 :> 1 @@ Others

(***************************************************************************)
(* Versions grow for ever, but only their order counts: among the values   *)
(* of one key, and, where values can be delayed, of all keys, since those  *)
(* that ripen together do so in that order.  So two states that differ in  *)
(* nothing else are one: what TLC compares is the view of a state in which *)
(* each version is replaced by its rank.  This makes the model finite      *)
(* without a bound on the number of puts.  (The set has one element; it    *)
(* names the versions that are stored, once.)                              *)
(*                                                                         *)
(* Nor does it count in which order calls of different kinds came.         *)
(***************************************************************************)
Rank(versions, v) == Cardinality({w \in versions : w <= v})
Compared(k) == IF Delays = {0} THEN StoredVersions(k)
               ELSE UNION {StoredVersions(m) : m \in Keys}

\* Delayed keys in the order in which they ripen.
RECURSIVE InTurn(_, _)
InTurn(held, ks) ==
    IF ks = {} THEN <<>>
    ELSE LET k == CHOOSE k \in ks : \A m \in ks : Before(held[k], held[m])
         IN  <<k>> \o InTurn(held, ks \ {k})
DelayedInTurn == InTurn(delayed, {k \in Keys : delayed[k] # Nothing})

Mapped(seq, F(_)) == [i \in DOMAIN seq |-> F(seq[i])]
Chosen(F(_)) == SelectSeq(waiting, F)
IsWatch(w)   == IsJoin(w) \/ IsDrain(w)
WithoutSlot(w)  == <<w.call, w.left, w.key, w.policy, w.delay>>
AsTaker(w)   == <<w.call, w.left, w.key>>

\* Has a newer value of the key been put than the one that was seen?
IsNewer(k, version) == "refresh" \in Uses /\ newest[k] > version

ByRank ==
    {LET Copy(copy) == <<copy.key, Rank(stored[copy.key], copy.version), copy.tries>>
         Held(k, x) == <<k, Rank(stored[k], x.version), x.tries, x.left>>
         Delay(k)   == Held(k, delayed[k])
         Out(copy)  == Copy(copy) \o <<copy.left, copy.call,
                            copy.left # Reserved /\ IsNewer(copy.key, copy.seen)>>
     IN  <<Mapped(returned, Copy),
           Mapped(arrived, Copy),
           Mapped(DelayedInTurn, Delay),
           {Held(k, deferred[k]) : k \in {m \in Keys : deferred[m] # Nothing}},
           Mapped(flight, Out),
           Mapped(Chosen(IsGet), AsTaker),
           Mapped(Chosen(IsPut), WithoutSlot),
           {<<w.call, w.left, w.kind>> : w \in {waiting[i] : i \in
                        {n \in DOMAIN waiting : IsWatch(waiting[n])}}},
           Mapped(slots, WithoutSlot),
           phase,
           {k \in Keys : stored[k] # {} /\ \A v \in stored[k] : IsNewer(k, v)}>>
     : stored \in {[k \in Keys |-> Compared(k)]}}

\* The same, with the ways in which leases ended.
ByRankAndEnd == <<ByRank, ended>>
=============================================================================
