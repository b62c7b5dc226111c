------------------------------- MODULE Small -------------------------------
(* A model small enough to be drawn: one key, one call, one policy. *)
EXTENDS leasedkeyq
CONSTANTS c, k
Patient == [x \in Calls |-> Never]

\* What a state looks like when values are told apart only by their order.
Shape == <<[i \in DOMAIN returned |-> returned[i].key],
           [i \in DOMAIN arrived |-> arrived[i].key],
           [i \in DOMAIN flight |-> flight[i].left = Reserved],
           deferred[k] > 0, waiting # <<>>, open>>
=============================================================================
