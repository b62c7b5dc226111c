------------------------------- MODULE MCdump -------------------------------
(***************************************************************************)
(* Writes the model out, for the tests that replay it: each transition     *)
(* with its operation and arguments, and for each state what introspection *)
(* shows and every call that is refused, with the error that it raises.    *)
(***************************************************************************)
EXTENDS MC

\* What tells states apart here.  (MCdump_buffer.cfg makes it ByRank.)
Shown == ByRankAndEnd

Show(operation) ==
    PrintT("step~" \o operation \o "~" \o ToString(Shown) \o "~"
                   \o ToString(Shown'))

S(x) == " " \o ToString(x)

DumpNext ==
    \/ \E k \in Keys, p \in Policies : Put(k, p) /\ Show("put" \o S(k) \o " " \o p)
    \/ \E c \in Calls :
        \/ Get(c) /\ Show("get" \o S(c))
        \/ \E k \in Keys : Take(c, k) /\ Show("take" \o S(c) \o S(k))
        \/ Resume(c) /\ Show("resume" \o S(c))
        \/ Cancel(c) /\ Show("cancel" \o S(c))
    \/ \E l \in Calls :
        \/ Ack(l) /\ Show("ack" \o S(l))
        \/ Release(l, TRUE) /\ Show("release" \o S(l) \o " front")
        \/ Release(l, FALSE) /\ Show("release" \o S(l) \o " back")
        \/ \E t \in ExtendTimes : Extend(l, t) /\ Show("extend" \o S(l) \o S(t))
    \/ TimeOut /\ Show("time_out")
    \/ Expire /\ Show("expire")
    \/ Close /\ Show("close")
    \/ Tick /\ Show("tick")

Refused ==
       {<<"put", k, p, PutError(k, p)>> : k \in Keys, p \in Policies}
  \cup {<<"get", c, GetError(c)>> : c \in {d \in Calls : Idle(Settled, d)}}
  \cup {<<"take", c, k, TakeError(c, k)>> :
            c \in {d \in Calls : Idle(Settled, d)}, k \in Keys}
  \cup {<<"ack", l, LeaseError(l)>> : l \in Calls}
  \cup {<<"release", l, f, LeaseError(l)>> : l \in Calls, f \in {"front", "back"}}
  \cup {<<"extend", l, t, LeaseError(l)>> : l \in Calls, t \in ExtendTimes}

\* Not an invariant: TLC evaluates it once in every state.
ShowState ==
    PrintT("state~" \o ToString(Shown)
        \o "~" \o ToString({r \in Refused : r[Len(r)] # "ok"})
        \o "~" \o ToString(<<AvailableKeys, InflightKeys, QSize, InflightSize>>))
=============================================================================
