----------------------------- MODULE linkedlist -----------------------------
(***************************************************************************)
(* The line as the code keeps it: two doubly-linked lists of copies.       *)
(* There is at most one available copy of a key, so a key stands for its   *)
(* copy here.                                                              *)
(*                                                                         *)
(* Every operation of leasedkeyq.tla is carried out twice in one step: on  *)
(* the sequences, and on the links by the rule that the code follows.  The *)
(* rule sees which key is to be linked or unlinked, never the sequences.   *)
(* Refines then says, after every single operation, that the links spell   *)
(* out the same two sequences; so an operation that links at the wrong end *)
(* is caught, even where another operation would have been free to.        *)
(***************************************************************************)
EXTENDS MC

CONSTANT None

VARIABLE links  \* [first, last: list -> key or None, next, prev: key -> key
                \*  or None, list: key -> the list that it is in, or None]

Lists == {"returned", "arrived"}

\* The three moves of the list.  Each works on an unlinked key, or on a linked
\* one in the case of Unlink.
LinkLast(p, l, k) ==
    LET last == p.last[l]
        q == [p EXCEPT !.list[k] = l, !.next[k] = None, !.prev[k] = last,
                       !.last[l] = k]
    IN  IF last = None THEN [q EXCEPT !.first[l] = k]
                       ELSE [q EXCEPT !.next[last] = k]

LinkFirst(p, l, k) ==
    LET first == p.first[l]
        q == [p EXCEPT !.list[k] = l, !.prev[k] = None, !.next[k] = first,
                       !.first[l] = k]
    IN  IF first = None THEN [q EXCEPT !.last[l] = k]
                        ELSE [q EXCEPT !.prev[first] = k]

Unlink(p, k) ==
    LET l == p.list[k]  before == p.prev[k]  after == p.next[k]
        q == IF before = None THEN [p EXCEPT !.first[l] = after]
                              ELSE [p EXCEPT !.next[before] = after]
        r == IF after = None THEN [q EXCEPT !.last[l] = before]
                             ELSE [q EXCEPT !.prev[after] = before]
    IN  [r EXCEPT !.list[k] = None, !.next[k] = None, !.prev[k] = None]

\* Where an expired copy is linked.  (linkedlist_fails.cfg makes it LinkFirst.)
LinkExpired(p, l, k) == LinkLast(p, l, k)

\* A key that has become available between s and t is linked.
Becomes(s, t, k) == ~Available(s, k) /\ Available(t, k)

RECURSIVE ExpireLinks(_, _)
ExpireLinks(s, p) ==
    LET due == {i \in DOMAIN s.flight : IsDue(s.flight[i])}
    IN  IF due = {} THEN p
        ELSE LET i == CHOOSE i \in due : \A j \in due :
                        \/ s.flight[i].left < s.flight[j].left
                        \/ s.flight[i].left = s.flight[j].left /\ i <= j
                 k == s.flight[i].key
             IN  The({ExpireLinks(t, IF Becomes(s, t, k)
                                     THEN LinkExpired(p, "returned", k) ELSE p) :
                        t \in {GiveBack(s, i, "end")}})

RECURSIVE CloseLinks(_, _)
CloseLinks(s, p) ==
    IF s.flight = <<>> THEN p
    ELSE LET i == Len(s.flight)  k == s.flight[i].key
         IN  The({CloseLinks(t, IF Becomes(s, t, k)
                                THEN LinkFirst(p, "returned", k) ELSE p) :
                    t \in {GiveBack(s, i, "head")}})

\* The links when the due leases have ended.
Fresher == ExpireLinks(Now, links)
FirstKey(p) == IF p.first["returned"] # None THEN p.first["returned"]
                                             ELSE p.first["arrived"]
\* The key that an operation on the lease or call c has made available, if any.
Returns(s, c) == LET k == s.flight[Position(s.flight, c)].key
                 IN  IF Becomes(s, After, k) THEN {k} ELSE {}

LinkedInit == /\ Init
              /\ links = [first |-> [l \in Lists |-> None],
                          last  |-> [l \in Lists |-> None],
                          next  |-> [k \in Keys |-> None],
                          prev  |-> [k \in Keys |-> None],
                          list  |-> [k \in Keys |-> None]]

\* The links p, changed by q for the one key of the set, if it has one.
ForTheKey(p, keys, q(_)) == IF keys = {} THEN p ELSE q(CHOOSE k \in keys : TRUE)

LinkedNext ==
    \/ \E k \in Keys, pol \in Policies :
            /\ Put(k, pol)
            /\ links' = IF Becomes(Settled, After, k)
                        THEN LinkLast(Fresher, "arrived", k) ELSE Fresher
    \/ \E c \in Calls :
        \/ /\ Get(c)
           /\ links' = IF Line(Settled) = <<>> THEN Fresher
                       ELSE Unlink(Fresher, FirstKey(Fresher))
        \/ \E k \in Keys :
            /\ Take(c, k)
            /\ links' = IF Available(Settled, k) THEN Unlink(Fresher, k) ELSE Fresher
        \/ Resume(c) /\ links' = Fresher
        \/ /\ Cancel(c)
           /\ links' = IF IsReserved(Now, c)
                       THEN LET p == Fresher
                                q(k) == LinkFirst(p, "returned", k)
                            IN  ForTheKey(p, Returns(Settled, c), q)
                       ELSE ExpireLinks([Now EXCEPT !.waiting =
                                Without(@, Position(@, c))], links)
        \/ /\ Ack(c)
           /\ links' = LET q(k) == LinkLast(Fresher, "arrived", k)
                       IN  ForTheKey(Fresher, Returns(Settled, c), q)
        \/ /\ Release(c, TRUE)
           /\ links' = LET q(k) == LinkFirst(Fresher, "returned", k)
                       IN  ForTheKey(Fresher, Returns(Settled, c), q)
        \/ /\ Release(c, FALSE)
           /\ links' = LET q(k) == LinkLast(Fresher, "arrived", k)
                       IN  ForTheKey(Fresher, Returns(Settled, c), q)
        \/ \E t \in ExtendTimes : Extend(c, t) /\ links' = Fresher
    \/ TimeOut /\ links' = Fresher
    \/ Expire  /\ links' = Fresher
    \/ Close   /\ links' = CloseLinks([Settled EXCEPT !.waiting = <<>>], Fresher)
    \/ Tick    /\ links' = links

-----------------------------------------------------------------------------
\* The keys of a list from first to last, and from last to first.
RECURSIVE Forward(_), Backward(_)
Forward(k)  == IF k = None THEN <<>> ELSE <<k>> \o Forward(links.next[k])
Backward(k) == IF k = None THEN <<>> ELSE Append(Backward(links.prev[k]), k)

KeySeq(seq) == [i \in DOMAIN seq |-> seq[i].key]

\* The links spell out the sequences, in both directions, and the dictionary
\* says which list each key is in; an unlinked key has no neighbours.
Refines ==
    /\ Forward(links.first["returned"]) = KeySeq(returned)
    /\ Forward(links.first["arrived"]) = KeySeq(arrived)
    /\ Backward(links.last["returned"]) = KeySeq(returned)
    /\ Backward(links.last["arrived"]) = KeySeq(arrived)
    /\ \A k \in Keys :
        /\ links.list[k] = (IF k \in KeysOf(returned) THEN "returned"
                            ELSE IF k \in KeysOf(arrived) THEN "arrived" ELSE None)
        /\ links.list[k] = None => links.next[k] = None /\ links.prev[k] = None
=============================================================================
