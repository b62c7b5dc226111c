------------------------------- MODULE MClive -------------------------------
(***************************************************************************)
(* The model for liveness.  No step depends on a version, where nothing    *)
(* ripens at the same time as another, so here all values bear the same    *)
(* one; that keeps the model finite.  Nor does any depend on how leases    *)
(* ended, or on what the step before was.                                  *)
(***************************************************************************)
EXTENDS MC

One(s) == 1
Silent(did, told) == <<>>
WithoutEnds == <<returned, arrived, delayed, deferred, flight, waiting, slots, phase>>
=============================================================================
