------------------------------ MODULE Recorded ------------------------------
(***************************************************************************)
(* What a recording looks like: one run of two events.  The tests put      *)
(* their own recordings in the place of this one.                          *)
(***************************************************************************)
EXTENDS leasedkeyq

TraceKeys  == {"a"}
TraceCalls == {<<1, 5, Never>>}
Runs       == << << <<"put", "a", "update", <<"ok">> >>,
                    <<"get", <<1, 5, Never>>, <<"got", "a", {1}, 1>> >> >> >>
=============================================================================
