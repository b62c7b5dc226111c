------------------------------ MODULE Recorded ------------------------------
(***************************************************************************)
(* What a recording looks like: one run of a few events.  The tests put    *)
(* their own recordings in the place of this one.                          *)
(***************************************************************************)
EXTENDS leasedkeyq

TraceKeys  == {"a", "b"}
TraceCalls == {<<1, 5, Never>>, <<1, Never, 9>>, <<2, Never, 9>>}
Runs       == << << <<"put", 0, "a", "update", 0, <<"ok">> >>,
                    <<"put", <<1, Never, 9>>, "b", "update", 3, <<"waits">> >>,
                    <<"get", <<1, 5, Never>>, <<"got", "a", {1}, 1, 1>> >>,
                    <<"ack", <<1, 5, Never>>, <<"ok">> >>,
                    <<"look", {}, {}, {}, 0, 0, 0>>,
                    <<"resume", <<1, Never, 9>>, <<"ok">> >>,
                    <<"tick", 2>>,
                    <<"look", {}, {}, {"b"}, 0, 0, 1>>,
                    <<"drain", <<2, Never, 9>>, <<"is", TRUE>> >>,
                    <<"look", {"b"}, {}, {}, 1, 0, 0>> >> >>
Bounds     == <<1>>
=============================================================================
