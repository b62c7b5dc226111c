------------------------------- MODULE MClive -------------------------------
(***************************************************************************)
(* The model for liveness.  No step depends on a version, so here all      *)
(* values bear the same one; that keeps the model finite.                  *)
(***************************************************************************)
EXTENDS MC

One == 1

\* Nor does any step depend on how leases ended.
WithoutEnds == <<returned, arrived, flight, deferred, waiting, open>>
=============================================================================
