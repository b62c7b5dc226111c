"""Mutants of the specification: does TLC notice when a rule is changed?

    python -m spec.mutants            every mutant, and the tables (make spec-mutants)
    python -m spec.mutants --sample   some of them: a rule or more of every operation
    python -m spec.mutants --pin      find the killers anew, and write them down
    python -m spec.mutants NAME ...   the mutants whose names contain one of these

A mutant is the specification with a piece of text replaced by another. The actions and the
moves are mutated, never the properties. `mutants.toml` says which model kills it, and by which
property; that model is run with that property alone, so a property that has lost its teeth
shows at once. If it does not kill, the other models are tried with all that they check. A mutant
that survives must be among those that are listed as equivalent.

The second table is the other way round: for each property a mutant that nothing else in its
model sees. With the property left out the model must hold, and with it alone it must not.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from spec import tlc

# Exit codes that say nothing of the mutant: it does not parse, or its config is bad.
NO_VERDICT = (150, 151)
SOURCE = (tlc.SPEC / "leasedkeyq.tla").read_text()

KILLERS = tlc.SPEC / "mutants.toml"
HEAD = """\
# Which model kills each mutant of the specification, and by which property. Written by
# `python -m spec.mutants --pin`.

"""

T = TypeVar("T")
R = TypeVar("R")

# Replacements that are tried wherever the text on the left stands, one place at a time.
EVERYWHERE = (
    ('"head"', '"end"'),
    ('"head"', '"back"'),
    ('"end"', '"head"'),
    ('"end"', '"back"'),
    ('"back"', '"head"'),
    ('"back"', '"end"'),
    ("/\\ open /\\ ", "/\\ "),
    ("/\\ open\n", "/\\ TRUE\n"),
    ("Settled", "Now"),
    ("UNCHANGED <<puts, open>>", "puts' = puts /\\ open' = FALSE"),
    ("UNCHANGED <<puts, open>>", "puts' = puts + 1 /\\ open' = open"),
    ("Newer(", "Older("),
    ("i <= j", "j <= i"),
    ("LeaseTime[c]", "Never"),
    ("Fresh", "puts"),
    ("Append(@, copy)", "<<copy>> \\o @"),
    ("<<copy>> \\o @", "Append(@, copy)"),
    ("HasLease(s, l)", "IsReserved(s, l)"),
    ("HasLease(s, l)", "Position(s.flight, l) > 0"),
    ("!.deferred[k] = 0", "!.deferred[k] = @"),
    ('= "expired"', '= "released"'),
    ('= "released"', '= "acked"'),
    ('= "acked"', '= "expired"'),
    ("left # 0", "left = 0"),
    ("left - 1", "left"),
    ("left <= 0", "left < 0"),
    ("left <= 0", "left <= 1"),
    ("Without(@, i)", "@"),
    ("InFlight(s, k)", "Available(s, k)"),
    ("Available(s, k)", "InFlight(s, k)"),
    ("Idle(s, c)", "TRUE"),
    ("s.deferred[k] > 0", "FALSE"),
    ("s.deferred[k] > 0", "TRUE"),
    ("!.waiting = Append(@, [call", "!.waiting = Append(<<>>, [call"),
    ("WaitTime[c] # 0", "TRUE"),
)

# Replacements of one place each: (what, how).
ONCE = (
    ("s.returned \\o s.arrived", "s.arrived \\o s.returned"),
    ("w.want \\in {AnyKey, k}", "w.want = k"),
    ("w.want \\in {AnyKey, k}", "w.want = AnyKey"),
    ("w.want \\in {AnyKey, k}", "TRUE"),
    ("copy.left \\notin {Never, Reserved}", "copy.left # Never /\\ copy.left # Reserved /\\ FALSE"),
    ("s.flight[i].left < s.flight[j].left", "s.flight[i].left > s.flight[j].left"),
    ("s.flight[i].left < s.flight[j].left", "i < j"),
    ("s.flight[j].version <= s.flight[i].version", "s.flight[j].version >= s.flight[i].version"),
    ("s.flight[j].version <= s.flight[i].version", "j <= i"),
    ("IF v > w THEN v ELSE w", "IF v > w THEN w ELSE v"),
    ("!.flight = Append(@, [call |-> c", "!.flight = Append(<<>>, [call |-> c"),
    ("left |-> WaitTime[c]", "left |-> Never"),
    ("IF @ = 0 THEN 0 ELSE Less(@)", "@"),
    ("IF t = Same THEN LeaseTime[l] ELSE t", "LeaseTime[l]"),
    ("IF t = Same THEN LeaseTime[l] ELSE t", "IF t = Same THEN Never ELSE t"),
    ("IF t = Same THEN LeaseTime[l] ELSE t", "Never"),
    ('policy = "reject" /\\ InFlight(s, k)', 'policy = "reject" /\\ Available(s, k)'),
    ('~(policy = "reject" /\\ InFlight(s, k))', "TRUE"),
    ('IF front THEN "head" ELSE "back"', 'IF front THEN "back" ELSE "head"'),
    ("GiveBack(s, Len(s.flight), ", "GiveBack(s, 1, "),
    ("[Settled EXCEPT !.waiting = <<>>]", "Settled"),
    ("[Settled EXCEPT !.waiting = <<>>]", "[Now EXCEPT !.waiting = <<>>]"),
    ("/\\ Become(GiveAllBack(", "/\\ Become(("),
    ("open' = FALSE", "open' = TRUE"),
    ("/\\ Become(Aged(Now))", "/\\ Become(Aged(Settled))"),
    ("IsDue(flight[i]) => flight[i].left > -Late", "TRUE"),
    ("IsWaiting(Now, c)  /\\ Become(s)", "FALSE /\\ Become(s)"),
    ("IsReserved(Now, c) /\\ Become(GiveBack", "FALSE /\\ Become(GiveBack"),
    ("IsReserved(Now, c)\n", "IsReserved(s, c)\n"),
    ('!.ended[l] = "acked"]', "!.ended[l] = @]"),
    ("/\\ ~InFlight(r, k)", ""),
    ("~InFlight(r, k)", "~InFlight(s, k)"),
    (
        "IF Line(s) # <<>> THEN Become(Lease(s, c, 1))",
        "IF Line(s) # <<>> THEN Become(Lease(s, c, Len(Line(s))))",
    ),
    ("Line(s)[i].key = k))", "TRUE))"),
    ("IF takers # {}", "IF FALSE"),
    ("!.waiting = Without(@, i)],", "!.waiting = @],"),
    (
        "s.waiting[i].call, k, v, Reserved)",
        "s.waiting[i].call, k, v, LeaseTime[s.waiting[i].call])",
    ),
    ("\\A j \\in takers : i <= j", "\\A j \\in takers : j <= i"),
    ("THEN SetAvailable(r, k, Newer(v, AvailableVersion(s, k)))", "THEN SetAvailable(r, k, v)"),
    ("THEN SetAvailable(r, k, Newer(v, AvailableVersion(s, k)))", "THEN r"),
    ("v == Newer(s.flight[i].version, s.deferred[k])", "v == s.flight[i].version"),
    ("THEN SetAvailable(r, k, Newer(v, AvailableVersion(s, k)))", 'THEN Offer(r, k, v, "back")'),
    ("        /\\ puts' = Fresh\n", "        /\\ puts' = puts\n"),
    ("            SetAvailable(s, k, Fresh)\n", "            s\n"),
    ("            SetAvailable(s, k, Fresh)\n", '            Offer(s, k, Fresh, "back")\n'),
    ("THEN [s EXCEPT !.deferred[k] = Fresh]", "THEN s"),
    (
        'policy = "defer" ->\n            [s EXCEPT !.deferred[k] = Fresh]',
        'policy = "defer" ->\n            s',
    ),
    ('Offer([s EXCEPT !.deferred[k] = 0], k, Fresh, "back")', 'Offer(s, k, Fresh, "back")'),
    ("            /\\ WF_vars(Expire)\n", ""),
    ("            /\\ WF_vars(TimeOut)\n", ""),
    ("            /\\ \\A c \\in Calls : WF_vars(Resume(c))\n", ""),
    ("WF_vars(Tick)\n", "TRUE\n"),
)

# Mutants that no caller can tell from the specification, with the reason.
CLOSED = "a closed queue has no lease, so HasLease says it already"
EQUIVALENT: dict[str, str] = {
    "Ack 1: /\\ open /\\ -> /\\": CLOSED,
    "Release 1: /\\ open /\\ -> /\\": CLOSED,
    "Extend 1: /\\ open /\\ -> /\\": CLOSED,
    "Close 1: /\\ open -> /\\ TRUE": "a queue that is closed again stays as it is",
}

# Mutants of several places, or too large a change for the list above: (what, how).
WRITTEN: dict[str, tuple[tuple[str, str], ...]] = {
    "a take that waits wants nothing that there is": (
        ("ELSE Join(s, c, k)", "ELSE Join(s, c, 0)"),
    ),
    "close gives copies of a key back one beside the other": (
        (
            'r \\in {GiveBack(s, Len(s.flight), "head")}',
            (
                "r \\in {LET copy == s.flight[Len(s.flight)]\n"
                "        v == Newer(copy.version, s.deferred[copy.key])\n"
                "        t == [s EXCEPT !.flight = Without(@, Len(@)), !.deferred[copy.key] = 0]\n"
                "    IN  IF Available(s, copy.key)\n"
                "        THEN [t EXCEPT !.arrived = Append(@, [key |-> copy.key, version |-> v])]\n"
                '        ELSE Offer(t, copy.key, v, "head")}'
            ),
        ),
    ),
    "a value is deferred behind an available copy": (
        (
            "            SetAvailable(s, k, Fresh)\n",
            (
                '            IF policy = "defer" /\\ InFlight(s, k)\n'
                "            THEN [s EXCEPT !.deferred[k] = Fresh]\n"
                "            ELSE SetAvailable([s EXCEPT !.deferred[k] = 0], k, Fresh)\n"
            ),
        ),
        (
            "THEN Offer([r EXCEPT !.deferred[k] = 0], k, s.deferred[k],",
            (
                "THEN IF Available(s, k)\n"
                "                       THEN SetAvailable([r EXCEPT !.deferred[k] = 0], k,\n"
                "                                         s.deferred[k])\n"
                "                       ELSE Offer([r EXCEPT !.deferred[k] = 0], k, s.deferred[k],"
            ),
        ),
    ),
    "a call that was given a copy waits for another until it resumes": (
        (
            "/\\ open /\\ Idle(s, c)\n        /\\ IF Available(s, k)",
            "/\\ open /\\ ~IsWaiting(s, c) /\\ ~HasLease(s, c)\n        /\\ IF Available(s, k)",
        ),
        (
            "!.flight[Position(s.flight, c)].left = LeaseTime[c]])",
            (
                "!.flight[Position(s.flight, c)].left = LeaseTime[c],\n"
                "         !.waiting = LET Stays(w) == w.call # c IN SelectSeq(@, Stays)])"
            ),
        ),
    ),
    "an update revises every copy in flight": (
        (
            "IN  [s EXCEPT !.flight[i].version = Fresh]",
            (
                "IN  [s EXCEPT !.flight = [j \\in DOMAIN @ |->\n"
                "        IF @[j].key = k THEN [@[j] EXCEPT !.version = Fresh] ELSE @[j]]]"
            ),
        ),
    ),
    "close spares leases without a timeout": (
        (
            "GiveAllBack(s) == IF s.flight = <<>> THEN s",
            "GiveAllBack(s) == IF \\A i \\in DOMAIN s.flight : s.flight[i].left = Never THEN s",
        ),
    ),
    "a wait of no time is a wait": (
        ("    /\\ WaitTime[c] # 0\n", ""),
        ("WaitTime[c] = 0 /\\ Line(Settled) = <<>>", "FALSE"),
        ("WaitTime[c] = 0 /\\ ~Available(Settled, k)", "FALSE"),
    ),
    "a copy that comes back is offered beside what is deferred": (
        (
            "        ELSE Offer(r, k, v, place)\n",
            (
                "        ELSE IF s.deferred[k] > 0 /\\ ~\\A w \\in DOMAIN s.waiting :\n"
                "                    ~Wants(s.waiting[w], k)\n"
                "             THEN Offer(Offer(r, k, s.flight[i].version, place), k,\n"
                "                        s.deferred[k], place)\n"
                "             ELSE Offer(r, k, v, place)\n"
            ),
        ),
    ),
    "a put turns the line round": (
        (
            "            SetAvailable(s, k, Fresh)\n",
            (
                "            [SetAvailable(s, k, Fresh) EXCEPT\n"
                "                !.arrived = IF Len(@) = 2 THEN <<@[2], @[1]>> ELSE @]\n"
            ),
        ),
    ),
    "a call that joins waits in front": (
        (
            "!.waiting = Append(@, [call |-> c, want |-> want,",
            "!.waiting = <<[call |-> c, want |-> want,",
        ),
        ("left |-> WaitTime[c]])])", "left |-> WaitTime[c]]>> \\o @])"),
    ),
    "extend exchanges the values in flight": (
        (
            "[s EXCEPT !.flight[Position(s.flight, l)].left = left]",
            (
                "[s EXCEPT !.flight = [i \\in DOMAIN @ |-> [@[i] EXCEPT\n"
                "            !.left = IF i = Position(s.flight, l) THEN left ELSE @,\n"
                "            !.version = IF Cardinality(FlightsOf(s, s.flight[i].key)) = 2\n"
                "                        THEN s.flight[3 - i].version ELSE @]]]"
            ),
        ),
    ),
    "the clocks of leases stand still": (
        ("!.flight  = [i \\in DOMAIN @ |-> [@[i] EXCEPT !.left = Less(@)]],", "!.flight  = @,"),
    ),
}


@dataclass(frozen=True)
class Mutant:
    """The specification with a change."""

    name: str
    source: str


def _by_replacement(start: int, old: str, new: str) -> Mutant:
    """The text at ``start`` replaced, named by its definition, which of its places, and how."""
    definition = [*re.finditer(r"^(\w+)(\(.*?\))? ==", SOURCE[: start + 1], re.MULTILINE)][-1]
    place = SOURCE.count(old, definition.start(), start) + 1
    told = [re.sub(r"\s+", " ", text).strip() for text in (old, new)]
    source = SOURCE[:start] + new + SOURCE[start + len(old) :]
    if new == "Older(":
        older = "Older(v, w) == IF v < w THEN v ELSE w\n\nWithout("
        source = source.replace("Without(", older, 1)
    return Mutant(f"{definition[1]} {place}: {told[0]} -> {told[1]}", source)


def _written(name: str) -> Mutant:
    source = SOURCE
    for old, new in WRITTEN[name]:
        assert source.count(old) == 1, f"{name}: not one place: {old}"
        source = source.replace(old, new)
    return Mutant(name, source)


def mutants() -> list[Mutant]:
    """Every mutant: the replacements in the order of the text, then those that are written."""
    moves = (
        SOURCE.index("(* Looking at the queue."),
        SOURCE.index("(* What a call that is not enabled"),
    )
    found = set[tuple[int, str, str]]()
    for old, new in (*EVERYWHERE, *ONCE):
        places = [
            m.start()
            for m in re.finditer(re.escape(old), SOURCE)
            if moves[0] < m.start() < moves[1]
        ]
        assert places, f"nowhere: {old}"
        for start in places:
            begin = SOURCE.rfind("\n", 0, start) + 1
            comment = "\\*" in SOURCE[begin:start] or SOURCE[begin:].startswith("(*")
            head = start == begin and old[0].isalpha() and "==" not in old  # of a definition
            label = re.match(r' *(\[\] |ELSE CASE )place = "', SOURCE[begin:]) and old[0] == '"'
            if not (comment or head or label):
                found.add((start, old, new))
    return [*(_by_replacement(*change) for change in sorted(found)), *map(_written, WRITTEN)]


# The models that are tried, one after the other, where the pinned killer does not kill.
MODELS = ("MC_mixed", "MC_update", "MClive_defer", "MC_defer", "MC_three")

# A rule or more of every operation.
SAMPLE = (
    "Newer 1: IF v > w THEN v ELSE w -> IF v > w THEN w ELSE v",
    "Offer 1: IF takers # {} -> IF FALSE",
    "Offer 1: <<copy>> \\o @ -> Append(@, copy)",
    'EndDue 1: "end" -> "head"',
    "AfterPut 1: Fresh -> puts",
    'AfterPut 1: policy = "defer" -> [s EXCEPT !.deferred[k] = Fresh] -> policy = "defer" -> s',
    'Put 1: ~(policy = "reject" /\\ InFlight(s, k)) -> TRUE',
    "Lease 1: Without(@, i) -> @",
    "Get 1: /\\ open /\\ -> /\\",
    "Take 1: Idle(s, c) -> TRUE",
    "Resume 1: LeaseTime[c] -> Never",
    "Cancel 1: UNCHANGED <<puts, open>> -> puts' = puts /\\ open' = FALSE",
    "TimeOut 1: Settled -> Now",
    'Ack 1: !.ended[l] = "acked"] -> !.ended[l] = @]',
    "Ack 1: s.deferred[k] > 0 -> FALSE",
    "Release 1: HasLease(s, l) -> Position(s.flight, l) > 0",
    "Extend 1: Settled -> Now",
    "Close 1: /\\ Become(GiveAllBack( -> /\\ Become((",
    "Tick 1: UNCHANGED <<puts, open>> -> puts' = puts + 1 /\\ open' = open",
    "Fairness 1: /\\ WF_vars(Expire) -> ",
)

ONE_CALL = {"Calls = {c1, c2}": "Calls = {c1}"}
ONE_KEY = {"Keys = {k1, k2}": "Keys = {k1}"}

# For each property a mutant that nothing else sees of what its model checks, the model, and what
# is changed in the model's bounds.
SOLE: dict[str, tuple[str, str, dict[str, str]]] = {
    "TypeOK": ("a take that waits wants nothing that there is", "MC_mixed", {}),
    "OneAvailable": ("close gives copies of a key back one beside the other", "MC_mixed", {}),
    "DeferredOnlyInFlight": ("a value is deferred behind an available copy", "MC_mixed", {}),
    "DeferredIsNewest": ("AfterPut 1: s.deferred[k] > 0 -> FALSE", "MC_mixed", {}),
    "NoneWaitsInVain": ("Offer 1: IF takers # {} -> IF FALSE", "MC_mixed", ONE_CALL),
    "OnePlacePerCall": (
        "a call that was given a copy waits for another until it resumes",
        "MC_update",
        ONE_CALL | ONE_KEY,
    ),
    "EachValueOnce": ("an update revises every copy in flight", "MC_mixed", {}),
    "ClosedIsQuiet": (
        "close spares leases without a timeout",
        "MC_mixed",
        ONE_CALL,
    ),
    "OnlyPatientCallsWait": (
        "a wait of no time is a wait",
        "MC_mixed",
        {"WaitTime <- Wait2": "WaitTime <- Impatient2"},
    ),
    "ExpiryByTimeAlone": (
        "EndDue 1: s.flight[i].left < s.flight[j].left -> i < j",
        "MC_update",
        {"Late = 1": "Late = 0"},
    ),
    "OneLeasePerKey": (
        "a copy that comes back is offered beside what is deferred",
        "MC_defer",
        ONE_KEY,
    ),
    "ErrorsRefuse": (
        "Extend 1: Settled -> Now",
        "MC_mixed",
        ONE_CALL | {"ExtendTimes = {Same, Never}": "ExtendTimes = {Same}"},
    ),
    "LineKeepsOrder": ("a put turns the line round", "MC_update", {}),
    "HeadFirst": (
        (
            "Get 1: IF Line(s) # <<>> THEN Become(Lease(s, c, 1)) -> "
            "IF Line(s) # <<>> THEN Become(Lease(s, c, Len(Line(s))))"
        ),
        "MC_update",
        {},
    ),
    "TakeIsExact": ("Take 1: Line(s)[i].key = k)) -> TRUE))", "MC_update", {}),
    "BackIsLast": ('AfterPut 1: "back" -> "end"', "MC_mixed", {}),
    "FrontIsFirst": ('Cancel 1: "head" -> "back"', "MC_mixed", {}),
    "ExpiredInOrder": ('EndDue 1: "end" -> "back"', "MC_mixed", {}),
    "ClosedInOrder": ('GiveAllBack 1: "head" -> "back"', "MC_mixed", {}),
    "CallsKeepOrder": ("a call that joins waits in front", "MC_mixed", {}),
    "NoBarging": ("Offer 1: i <= j -> j <= i", "MC_mixed", {}),
    "PutsByTheTable": (
        (
            "AfterPut 1: s.flight[j].version <= s.flight[i].version -> "
            "s.flight[j].version >= s.flight[i].version"
        ),
        "MC_mixed",
        {},
    ),
    "NothingBackwards": ("extend exchanges the values in flight", "MC_mixed", {}),
    "NothingLost": (
        "GiveBack 1: v == Newer(s.flight[i].version, s.deferred[k]) -> v == s.flight[i].version",
        "MC_mixed",
        {},
    ),
    "PutIsStored": ("AfterPut 1: SetAvailable(s, k, Fresh) -> s", "MC_mixed", {}),
    "LeasesEndOnlySo": ('Ack 1: !.ended[l] = "acked"] -> !.ended[l] = @]', "MC_mixed", {}),
    "ClockRunsEvenly": ("Resume 1: LeaseTime[c] -> Never", "MC_mixed", {}),
    "TimePasses": ("the clocks of leases stand still", "MC_mixed", {}),
    "NoneIsDueAfter": ("TimeOut 1: Settled -> Now", "MC_mixed", {}),
    "ClosedForGood": ("Close 1: open' = FALSE -> open' = TRUE", "MC_mixed", {}),
    "TimedLeasesEnd": (
        "Fairness 1: /\\ WF_vars(Expire) -> ",
        "MClive_defer",
        {"WaitTime <- Wait2": "WaitTime <- Impatient2"},
    ),
    "ReservationsEnd": (
        "Fairness 1: /\\ \\A c \\in Calls : WF_vars(Resume(c)) -> ",
        "MClive_defer",
        {},
    ),
    "WaitsEnd": ("Fairness 1: /\\ WF_vars(TimeOut) -> ", "MClive_defer", {}),
    "WaitersAreServed": ("Offer 1: i <= j -> j <= i", "MClive_defer", {}),
    "CopiesAreDelivered": (
        (
            "Get 1: IF Line(s) # <<>> THEN Become(Lease(s, c, 1)) -> "
            "IF Line(s) # <<>> THEN Become(Lease(s, c, Len(Line(s))))"
        ),
        "MClive_line",
        {},
    ),
    "CloseWakesAll": ("Close 1: [Settled EXCEPT !.waiting = <<>>] -> Settled", "MClive_defer", {}),
}

# What happens in the end follows here from what happens in every step, so the properties of steps
# see these mutants too; but not without what the models of liveness say of the end.
FOLLOWS = {
    "WaitersAreServed": "NoBarging and CallsKeepOrder",
    "CopiesAreDelivered": "HeadFirst and LineKeepsOrder",
    "CloseWakesAll": "ClosedIsQuiet",
}


def check(mutant: Mutant, model: tlc.Model, config: str) -> tlc.Result:
    """Run a model on the mutated specification."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        for source in tlc.SPEC.glob("*.tla"):
            shutil.copy(source, scratch)
        Path(scratch, "leasedkeyq.tla").write_text(mutant.source)
        result = tlc.run(model.module, config, workers=1, directory=Path(scratch), limit=300)
    if result.exit_code in NO_VERDICT:
        raise RuntimeError(f"{mutant.name}: {result.meaning}\n{result.output[-2000:]}")
    return result


def only(config: str, due: str) -> str:
    """The config with this one property."""
    head, *sections = re.split(r"^(?=INVARIANTS|PROPERTIES)", config, flags=re.MULTILINE)
    kind = next(section.split()[0] for section in sections if due in section.split())
    return f"{head}{kind} {due}\n"


def without(config: str, due: str) -> str:
    """The config with every property but this one."""
    less = re.sub(rf"^    {due}\n", "", config, flags=re.MULTILINE)
    assert less != config, due
    return less


def is_killed(result: tlc.Result) -> bool:
    return result.exit_code not in (tlc.HOLDS, tlc.TIME_IS_UP)


class Judge:
    """Knows the models, and by what each mutant is to be killed."""

    def __init__(self) -> None:
        self.models = {model.name: model for model in tlc.manifest()}
        self.pinned = tomllib.loads(KILLERS.read_text()) if KILLERS.exists() else {}

    def as_pinned(self, mutant: Mutant) -> str:
        """The killer that is pinned, if it kills; otherwise empty."""
        name, due = self.pinned.get(mutant.name, ("", ""))
        if not name:
            return ""
        model = self.models[name]
        killed = is_killed(check(mutant, model, only(model.text, due)))
        return f"{due} ({name})" if killed else ""

    def search(self, mutant: Mutant) -> str:
        """The first killer that is found; pinned if it is a property."""
        by_counts = ""  # said only of one that no property sees, in any of the models
        for name in MODELS:
            result = check(mutant, self.models[name], self.models[name].text)
            if is_killed(result):
                self.pinned[mutant.name] = [name, result.violated]
                return f"{result.violated or result.meaning} ({name})"
            for complaint in self.models[name].complaints(result):
                by_counts = by_counts or f"counts: {complaint} ({name})"
        return by_counts

    def is_sole(self, due: str, mutant: Mutant) -> bool:
        """A property sees the mutant, and what else its model checks does not."""
        _, name, bounds = SOLE[due]
        model, config = self.models[name], self.models[name].text
        for old, new in bounds.items():
            assert old in config, old
            config = config.replace(old, new)
        unseen = check(mutant, model, without(config, due))
        return (
            unseen.exit_code == tlc.HOLDS
            and unseen.left == 0
            and is_killed(check(mutant, model, only(config, due)))
        )

    def pin(self, names: Iterable[str]) -> None:
        """Write the killers down, in the order of the names."""
        lines = [
            f"{json.dumps(name)} = {json.dumps(self.pinned[name])}"
            for name in names
            if name in self.pinned
        ]
        KILLERS.write_text(HEAD + "\n".join(lines) + "\n")


def main(arguments: list[str] | None = None) -> int:
    """Try the mutants; 0 if each is killed as is pinned, or known to be equivalent."""
    parser = argparse.ArgumentParser(prog="spec.mutants")
    parser.add_argument("names", nargs="*", metavar="NAME", help="a part of a mutant's name")
    parser.add_argument("--sample", action="store_true", help="some of them")
    parser.add_argument("--pin", action="store_true", help="find and pin the killers anew")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time, each a JVM")
    options = parser.parse_args(arguments)
    console = Console()
    judge, every = Judge(), {mutant.name: mutant for mutant in mutants()}
    known = {*SAMPLE, *EQUIVALENT, *(mutant for mutant, *_ in SOLE.values())}
    if missing := (known | judge.pinned.keys()) - every.keys():
        parser.error(f"no such mutant: {sorted(missing)}")
    chosen = [
        mutant
        for name, mutant in every.items()
        if (
            name in SAMPLE if options.sample else any(map(name.__contains__, options.names or [""]))
        )
    ]
    whole = not options.sample and not options.names
    moved: list[str] = []

    def try_it(mutant: Mutant) -> str:
        if not options.pin and (killer := judge.as_pinned(mutant)):
            return killer
        if mutant.name in EQUIVALENT and not options.pin:
            return ""
        if not options.pin:
            moved.append(mutant.name)
        return judge.search(mutant)

    def try_alone(due: str) -> bool:
        return judge.is_sole(due, every[SOLE[due][0]])

    with ThreadPoolExecutor(options.jobs) as pool:

        def each(job: Callable[[T], R], items: Sequence[T], what: str) -> list[R]:
            return [*track(pool.map(job, items), what, total=len(items), console=console)]

        killers = each(try_it, chosen, "mutants")
        due = [*SOLE] if whole else []
        sole = each(try_alone, due, "properties") if due else []
    table = Table("definition and change", "killed by")
    survivors = 0
    for mutant, killer in zip(chosen, killers, strict=True):
        reason = EQUIVALENT.get(mutant.name)
        survivors += not killer and reason is None
        fate = killer or (f"equivalent: {reason}" if reason else "SURVIVED")
        table.add_row(escape(mutant.name), escape(fate))
    console.print(table)
    if due:
        table = Table("property", "only killer of", "in")
        for name, is_sole in zip(due, sole, strict=True):
            change, model, bounds = SOLE[name]
            told = escape(change) if is_sole else f"[red]NOT of {escape(change)}"
            if name in FOLLOWS:
                told += f" (in the end; at once: {FOLLOWS[name]})"
            table.add_row(name, told, escape(", ".join([model, *bounds.values()])))
        console.print(table)
    if options.pin:
        judge.pin(every)
    for name in moved:
        console.print(f"[red]not killed as pinned: {escape(name)}")
    killed = sum(bool(killer) for killer in killers)
    by_counts = sum(killer.startswith("counts") for killer in killers)
    console.print(
        f"{len(chosen)} mutants of {len(every)}: {killed} killed ({by_counts} by counts alone), "
        f"{len(chosen) - killed - survivors} equivalent, {survivors} survived"
        + (f"; {sum(sole)} of {len(due)} properties are the only killer of one" if due else "")
    )
    return 1 if survivors or moved or not all(sole) else 0


if __name__ == "__main__":
    sys.exit(main())
