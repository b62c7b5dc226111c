------------------------------- MODULE MCdump -------------------------------
(***************************************************************************)
(* Writes the model out, for the tests that replay it.  Two kinds of lines *)
(* are printed, their parts set apart by `~':                              *)
(*                                                                         *)
(*   state~STATE~REFUSED~SHOWN     a state; its steps follow at once       *)
(*   step~LABEL~TOLD~STATE         a step from there, and where it leads   *)
(*                                                                         *)
(* Each state is printed once, each step once, the initial state first.    *)
(*                                                                         *)
(* LABEL is a tuple of an operation and its arguments.  (`tlc.dump' makes  *)
(* it words set apart by blanks: put k1 update 0.)                         *)
(*   put, KEY, POLICY, DELAY             a put that need not wait          *)
(*   put_waits, CALL, KEY, POLICY, DELAY one that begins to wait for a slot*)
(*   get, CALL; take, CALL, KEY          served at once, or begins to wait *)
(*   resume, CALL; cancel, CALL                                            *)
(*   ack, LEASE; refresh, LEASE; extend, LEASE, TIME                       *)
(*   release, LEASE, front or back, DELAY                                  *)
(*   discard, KEY; join, CALL; drain, CALL; shutdown; close                *)
(*   time_out; reap; tick                                                  *)
(* A LEASE bears the name of the call that got it.  DELAY and TIME are a   *)
(* number of ticks, Never (without end), or Same (TIME: None).             *)
(*                                                                         *)
(* TOLD is a set of <<CALL, what>> of the calls that are over with this    *)
(* step, or that it answered: an error, or the result: "None" (join, put), *)
(* "True" or "False" (drain).                                              *)
(*                                                                         *)
(* STATE is, in the models with ends, <<{S}, ended>>, ended saying of each *)
(* CALL how its last lease ended, and otherwise {S}, where S is a tuple of *)
(*   returned, arrived: sequences of <<KEY, rank, tries>>, front first     *)
(*   delayed:  a sequence of <<KEY, rank, tries, left>>, in the order in   *)
(*             which they ripen                                            *)
(*   deferred: a set of <<KEY, rank, tries, left>>; tries is 0             *)
(*   flight:   a sequence of <<KEY, rank, tries, left, CALL, superseded>>, *)
(*             in the order of their granting; left may be Reserved        *)
(*   takers:   a sequence of <<CALL, left, KEY or AnyKey>>: calls of get   *)
(*             and take that wait, oldest first                            *)
(*   putters:  a sequence of <<CALL, left, KEY, POLICY, DELAY>>: puts that *)
(*             wait, oldest first                                          *)
(*   watchers: a set of <<CALL, left, "join" or "drain">>                  *)
(*   slots:    like putters: puts that have a slot and have not resumed;   *)
(*             left is Reserved                                            *)
(*   phase:    "open", "shut" or "closed"                                  *)
(*   gone:     a set of the keys of which something is stored, but not the *)
(*             newest value that was put                                   *)
(* `left' is a number of ticks (of leases and of delayed values it may be  *)
(* below 0 in a model that is late; of waits and deferred values it is 0   *)
(* from then on) or Never.  A rank is the place of a version, from 1,      *)
(* among those stored of its key, or, if Delays is not {0}, among all that *)
(* are stored.  `tries' counts deliveries up to the constant Most.         *)
(* `superseded' and `gone' are always false and empty where the model does *)
(* not use "refresh".                                                      *)
(*                                                                         *)
(* REFUSED is a set of tuples, each a label and then what the call comes   *)
(* to: an error, or the result of a call that has nothing to do; in both   *)
(* cases nothing changes, beyond what is due.  A put that is refused with  *)
(* "TimeoutError" is one that is not ready to wait.                        *)
(*                                                                         *)
(* SHOWN is <<available keys, keys in flight, delayed keys, qsize,         *)
(* inflight_size, delayed_size>>.                                          *)
(***************************************************************************)
EXTENDS MC

\* What tells states apart here.  (Some models make it ByRank.)
Shown == ByRankAndEnd

Answers ==
       {<<"put", k, p, d, PutError(k, p)>> : k \in Keys, p \in Policies, d \in Delays}
  \cup {<<"get", c, GetError(c)>> : c \in {d \in Calls : Idle(Settled, d)}}
  \cup {<<"take", c, k, TakeError(c, k)>> :
            c \in {d \in Calls : Idle(Settled, d)}, k \in Keys}
  \cup {<<"ack", l, LeaseError(l)>> : l \in Calls}
  \cup {<<"release", l, "front", 0, LeaseError(l)>> : l \in Calls}
  \cup {<<"release", l, "back", d, LeaseError(l)>> : l \in Calls, d \in Delays}
  \cup {<<"extend", l, t, LeaseError(l)>> : l \in Calls, t \in ExtendTimes}
  \cup {<<"refresh", l, LeaseError(l)>> : l \in IF "refresh" \in Uses THEN Calls ELSE {}}
  \cup {<<"discard", k, DiscardError(k)>> : k \in IF "discard" \in Uses THEN Keys ELSE {}}
  \cup {<<"join", c, JoinError(c)>> : c \in {d \in Watchers : Idle(Settled, d)}}
  \cup (IF "shutdown" \in Uses
        THEN {<<"shutdown", ShutdownError>>}
             \cup {<<"drain", c, DrainError(c)>> : c \in {d \in Watchers : Idle(Settled, d)}}
        ELSE {})
  \cup {<<"close", CloseError>>}

DumpNext ==
    /\ PrintT("state~" \o ToString(Shown)
        \o "~" \o ToString({r \in Answers : r[Len(r)] # "ok"})
        \o "~" \o ToString(<<AvailableKeys, InflightKeys, DelayedKeys,
                             QSize, InflightSize, DelayedSize>>))
    /\ Next
    /\ PrintT("step~" \o ToString(step'.did) \o "~" \o ToString(step'.told)
        \o "~" \o ToString(Shown'))
=============================================================================
