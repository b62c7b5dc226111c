----------------------------- MODULE properties -----------------------------
EXTENDS leasedkeyq
StoredVersions(k) ==
    {Line(Now)[i].version : i \in {n \in DOMAIN Line(Now) : Line(Now)[n].key = k}}
    \cup {flight[i].version : i \in FlightsOf(Now, k)}
    \cup ({delayed[k].version, deferred[k].version} \ {0})
=============================================================================
