---------------------------- MODULE MCinductive ----------------------------
(***************************************************************************)
(* An inductive invariant: from *every* state that satisfies it, reachable *)
(* or not, every step leads to one that satisfies it.  So it holds after   *)
(* any number of steps, whatever came before.                              *)
(*                                                                         *)
(* Every is the set of these states, within bounds: up to three keys, two  *)
(* calls, a few values of the time left.  States are counted once that     *)
(* differ only in the names of the keys, or in version numbers that stand  *)
(* in the same order within each key; how leases ended, and how many puts  *)
(* there were, makes no difference to a step.                              *)
(*                                                                         *)
(* Every builds a state from part to part, and drops a part at once where  *)
(* the invariant would: Early says by which of its conjuncts.  It is the   *)
(* invariants themselves that are asked at the end.                        *)
(***************************************************************************)
EXTENDS MC

CONSTANTS
    Dropped,    \* Conjuncts that the states of Every need not satisfy.
    Unpruned,   \* Conjuncts that are asked at the end alone.
    LeaseLeft,  \* What a copy in flight may have left,
    WaitLeft,   \* and a call that waits.
    MaxRank,    \* Versions of a key are numbered so far.
    MaxLine     \* So many copies stand in the line at most.

VARIABLE stepped  \* One step is made, and no further.

Conjuncts == {"TypeOK", "OneAvailable", "DeferredOnlyInFlight", "DeferredIsNewest",
              "NoneWaitsInVain", "OnePlacePerCall", "EachValueOnce", "ClosedIsQuiet",
              "OnlyPatientCallsWait", "OneLeasePerKey"}

Holds(conjunct) ==
    CASE conjunct = "TypeOK"               -> TypeOK
      [] conjunct = "OneAvailable"         -> OneAvailable
      [] conjunct = "DeferredOnlyInFlight" -> DeferredOnlyInFlight
      [] conjunct = "DeferredIsNewest"     -> DeferredIsNewest
      [] conjunct = "NoneWaitsInVain"      -> NoneWaitsInVain
      [] conjunct = "OnePlacePerCall"      -> OnePlacePerCall
      [] conjunct = "EachValueOnce"        -> EachValueOnce
      [] conjunct = "ClosedIsQuiet"        -> ClosedIsQuiet
      [] conjunct = "OnlyPatientCallsWait" -> OnlyPatientCallsWait
      [] conjunct = "OneLeasePerKey"       -> OneLeasePerKey

\* What a conjunct says of the parts that are chosen so far.  (TLC would go both ways at an
\* \/ or =>; so this is a negation.)
Early(conjunct, condition) ==
    ~(conjunct \notin Dropped \cup Unpruned /\ ~condition)

Distinct(seq) == \A i, j \in DOMAIN seq : seq[i] = seq[j] => i = j
Range(seq)    == {seq[i] : i \in DOMAIN seq}
Seqs(set, n)  == UNION {[1 .. m -> set] : m \in 0 .. n}

\* The keys have no order of their own; a line names them in this one.
Number == k1 :> 1 @@ k2 :> 2 @@ k3 :> 3
InTurn(line) == \A i \in DOMAIN line :
    Number[line[i]] <= 1 + Cardinality({line[j] : j \in 1 .. i - 1})
Lines == {line \in Seqs(Keys, MaxLine) : InTurn(line)}

\* The ranks of the values of k that are in the line, in flight, and deferred.
RanksOf(k, keys, ranks) == {ranks[i] : i \in {n \in DOMAIN keys : keys[n] = k}}
\* They are numbered from 1, without a gap.
Dense(keys, ranks) == \A k \in Keys :
    LET r == RanksOf(k, keys, ranks) IN r = 1 .. Cardinality(r)
\* No two of the same key are equal.
Differ(keys, ranks) == \A i, j \in DOMAIN keys :
    keys[i] = keys[j] /\ ranks[i] = ranks[j] => i = j

\* The deferred values, as a sequence of their keys.
Listed(set) == CHOOSE seq \in [1 .. Cardinality(set) -> set] : Distinct(seq)

Every ==
    \E line \in Lines : Early("OneAvailable", Distinct(line)) /\
    \E calls \in Seqs(Calls, Cardinality(Calls)) :
        Early("OnePlacePerCall", Distinct(calls)) /\
    \E keys \in [DOMAIN calls -> Keys] :
        Early("OneLeasePerKey", "buffer" \in Policies \/ Distinct(keys)) /\
    \E held \in SUBSET Keys :
        Early("DeferredOnlyInFlight", held \subseteq Range(keys) \ Range(line)) /\
    \E all \in {line \o keys \o Listed(held)} :
    \E ranks \in [DOMAIN all -> 1 .. MaxRank] : Dense(all, ranks) /\
        Early("EachValueOnce", Differ(all, ranks)) /\
        Early("DeferredIsNewest", \A d \in DOMAIN Listed(held), i \in DOMAIN keys :
            Listed(held)[d] = keys[i] =>
                ranks[Len(line \o keys) + d] > ranks[Len(line) + i]) /\
    \E waits \in Seqs(Calls, Cardinality(Calls)) :
        Early("OnePlacePerCall", Distinct(calls \o waits)) /\
        Early("OnlyPatientCallsWait", \A i \in DOMAIN waits : WaitTime[waits[i]] # 0) /\
    \E wants \in [DOMAIN waits -> Keys \cup {AnyKey}] :
        Early("NoneWaitsInVain",
            line = <<>> \/ Range(wants) \cap (Range(line) \cup {AnyKey}) = {}) /\
    \E isOpen \in BOOLEAN :
        Early("ClosedIsQuiet", ~isOpen => calls \o waits = <<>> /\ held = {}) /\
    LET Version(i) == 10 * Number[all[i]] + ranks[i]
        Copies(m, n) == [i \in 1 .. n - m + 1 |->
            [key |-> all[m + i - 1], version |-> Version(m + i - 1)]]
        Held(k) == CHOOSE i \in DOMAIN all : i > Len(line \o keys) /\ all[i] = k
    IN \E n \in 0 .. Len(line), left \in [DOMAIN calls -> LeaseLeft],
          still \in [DOMAIN waits -> WaitLeft] :
        /\ returned = Copies(1, n)
        /\ arrived  = Copies(n + 1, Len(line))
        /\ flight   = [i \in DOMAIN calls |->
            [call |-> calls[i], key |-> keys[i], version |-> Version(Len(line) + i),
             left |-> left[i]]]
        /\ deferred = [k \in Keys |-> IF k \in held THEN Version(Held(k)) ELSE 0]
        /\ waiting  = [i \in DOMAIN waits |->
            [call |-> waits[i], want |-> wants[i], left |-> still[i]]]
        /\ ended    = [c \in Calls |-> "none"]
        /\ puts \in IF "EachValueOnce" \in Dropped \cup Unpruned THEN {10, 40} ELSE {40}
        /\ open     = isOpen
        /\ ~\E conjunct \in Conjuncts \ Dropped : ~Holds(conjunct)

\* What copies in flight may have left; -2 is later than the queue may be.
FromLate == {Reserved, Never, 1, 0, -1}
TooLate  == {Reserved, 1, -2}

EveryInit == Every /\ stepped = FALSE
OneStep   == ~stepped /\ Next /\ stepped' = TRUE
Seen      == <<ByRank, stepped>>
=============================================================================
