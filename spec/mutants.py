"""Mutants of the specification: does TLC notice when a rule is changed?

    python -m spec.mutants            every mutant, and the table (make spec-mutants)
    python -m spec.mutants --sample   some that die soon, each by the property that it breaks
    python -m spec.mutants --log FILE    write each verdict there as soon as it is known

A mutant is the specification with one piece of text replaced by another. The actions and the
moves are mutated, never the properties. A mutant is killed when a model fails, or when the
counts of a model are no longer those of the manifest; the table says by what, and a mutant
that is killed by its counts alone is one that no property sees. One that survives must be
among those that are listed as equivalent.

The sample is chosen, not drawn: at least one rule of every operation, each with the model and
the property that must kill it. A property that has lost its teeth shows there at once.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from spec import tlc

# Exit codes that say nothing of the mutant: it does not parse, or its config is bad.
NO_VERDICT = (150, 151)
SOURCE = (tlc.SPEC / "leasedkeyq.tla").read_text()

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
}


@dataclass(frozen=True)
class Mutant:
    """One change: the text at ``start`` is replaced."""

    start: int
    old: str
    new: str

    @property
    def name(self) -> str:
        """The definition that is changed, which of its places, and the change."""
        definition = [*re.finditer(r"^(\w+)(\(.*?\))? ==", SOURCE[: self.start + 1], re.MULTILINE)][
            -1
        ]
        place = SOURCE.count(self.old, definition.start(), self.start) + 1
        old, new = (re.sub(r"\s+", " ", text).strip() for text in (self.old, self.new))
        return f"{definition[1]} {place}: {old} -> {new}"

    @property
    def source(self) -> str:
        mutated = SOURCE[: self.start] + self.new + SOURCE[self.start + len(self.old) :]
        older = "Older(v, w) == IF v < w THEN v ELSE w\n\nWithout("
        return mutated.replace("Without(", older, 1) if self.new == "Older(" else mutated


def mutants() -> list[Mutant]:
    """Every mutant, in the order of the text."""
    moves = (
        SOURCE.index("(* Looking at the queue."),
        SOURCE.index("(* What a call that is not enabled"),
    )
    found = set()
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
                found.add(Mutant(start, old, new))
    return sorted(found, key=lambda mutant: (mutant.start, mutant.old, mutant.new))


# The models that are tried, one after the other.
MODELS = ("MC_mixed", "MC_defer", "MClive_defer", "MC_buffer", "MC_three")

# Of each operation a rule or more, and the model and property that must kill the mutant.
SAMPLE = {
    "Newer 1: IF v > w THEN v ELSE w -> IF v > w THEN w ELSE v": ("MC_mixed", "TypeOK"),
    "Offer 1: IF takers # {} -> IF FALSE": ("MC_mixed", "NoneWaitsInVain"),
    "Offer 1: <<copy>> \\o @ -> Append(@, copy)": ("MC_defer", "ClosedInOrder"),
    'EndDue 1: "end" -> "head"': ("MC_defer", "ExpiredInOrder"),
    "AfterPut 1: Fresh -> puts": ("MC_mixed", "PutIsStored"),
    'AfterPut 1: policy = "defer" -> [s EXCEPT !.deferred[k] = Fresh] -> policy = "defer" -> s': (
        "MC_mixed",
        "PutsByTheTable",
    ),
    'Put 1: ~(policy = "reject" /\\ InFlight(s, k)) -> TRUE': ("MC_mixed", "ErrorsRefuse"),
    "Lease 1: Without(@, i) -> @": ("MC_mixed", "EachValueOnce"),
    "Get 1: /\\ open /\\ -> /\\": ("MC_mixed", "ClosedIsQuiet"),
    "Take 1: Idle(s, c) -> TRUE": ("MC_mixed", "OnePlacePerCall"),
    "Resume 1: LeaseTime[c] -> Never": ("MC_mixed", "ClockRunsEvenly"),
    "Cancel 1: UNCHANGED <<puts, open>> -> puts' = puts /\\ open' = FALSE": (
        "MC_mixed",
        "ClosedIsQuiet",
    ),
    "TimeOut 1: Settled -> Now": ("MC_mixed", "ClockRunsEvenly"),
    'Ack 1: !.ended[l] = "acked"] -> !.ended[l] = @]': ("MC_mixed", "LeasesEndOnlySo"),
    "Ack 1: s.deferred[k] > 0 -> FALSE": ("MC_mixed", "DeferredOnlyInFlight"),
    "Release 1: HasLease(s, l) -> Position(s.flight, l) > 0": ("MC_mixed", "ErrorsRefuse"),
    "Extend 1: Settled -> Now": ("MC_mixed", "ErrorsRefuse"),
    "Close 1: /\\ Become(GiveAllBack( -> /\\ Become((": ("MC_mixed", "ClosedIsQuiet"),
    "Tick 1: UNCHANGED <<puts, open>> -> puts' = puts + 1 /\\ open' = open": (
        "MC_mixed",
        "PutIsStored",
    ),
    "Fairness 1: /\\ WF_vars(Expire) -> ": ("MClive_defer", "TimedLeasesEnd"),
}


def check(mutant: Mutant, model: tlc.Model, config: Path | str) -> tlc.Result:
    """Run a model on the mutated specification."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as scratch:
        for source in tlc.SPEC.glob("*.tla"):
            shutil.copy(source, scratch)
        Path(scratch, "leasedkeyq.tla").write_text(mutant.source)
        result = tlc.run(model.module, config, workers=1, directory=Path(scratch), limit=300)
    if result.exit_code in NO_VERDICT:
        raise RuntimeError(f"{mutant.name}: {result.meaning}\n{result.output[-2000:]}")
    return result


def verdict(mutant: Mutant) -> str:
    """By what a mutant is killed; empty if it survives."""
    pinned = {model.name: model for model in tlc.manifest()}
    by_counts = ""  # said only of one that no property sees, in any of the models
    for name in MODELS:
        result = check(mutant, pinned[name], tlc.SPEC / f"{name}.cfg")
        if result.exit_code not in (tlc.HOLDS, tlc.TIME_IS_UP):
            return f"{result.violated or result.meaning} ({name})"
        for complaint in pinned[name].complaints(result):
            by_counts = by_counts or f"counts: {complaint} ({name})"
    return by_counts


def sampled_verdict(mutant: Mutant) -> str:
    """The property that must kill the mutant, if it does so alone; otherwise empty."""
    name, due = SAMPLE[mutant.name]
    pinned = {model.name: model for model in tlc.manifest()}
    head, *sections = re.split(
        r"^(?=INVARIANTS|PROPERTIES)", (tlc.SPEC / f"{name}.cfg").read_text(), flags=re.MULTILINE
    )
    kind = next(section.split()[0] for section in sections if due in section.split())
    result = check(mutant, pinned[name], f"{head}{kind} {due}\n")
    violated = result.exit_code in (tlc.INVARIANT, tlc.PROPERTY)
    return f"{due} ({name})" if violated else ""


def main(arguments: list[str] | None = None) -> int:
    """Try the mutants; 0 if each is killed or known to be equivalent."""
    parser = argparse.ArgumentParser(prog="spec.mutants")
    parser.add_argument("--sample", action="store_true", help="some that die soon")
    parser.add_argument("--log", type=Path, help="where verdicts are written as they come")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time, each a JVM")
    options = parser.parse_args(arguments)
    console = Console()
    every = mutants()
    chosen = [m for m in every if m.name in SAMPLE] if options.sample else every
    if options.sample and len(chosen) != len(SAMPLE):
        parser.error(f"no such mutant: {sorted(SAMPLE.keys() - {m.name for m in chosen})}")

    def judge(mutant: Mutant) -> str:
        killer = sampled_verdict(mutant) if options.sample else verdict(mutant)
        if options.log:
            with options.log.open("a") as log:
                log.write(f"{mutant.name} => {killer or 'SURVIVED'}\n")
        return killer

    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(
            track(pool.map(judge, chosen), "mutants", total=len(chosen), console=console)
        )
    table = Table("definition and change", "killed by")
    survivors = 0
    for mutant, killer in zip(chosen, verdicts, strict=True):
        reason = EQUIVALENT.get(mutant.name)
        survivors += not killer and reason is None
        fate = killer or (f"equivalent: {reason}" if reason else "SURVIVED")
        table.add_row(escape(mutant.name), escape(fate))
    console.print(table)
    killed = sum(bool(killer) for killer in verdicts)
    by_counts = sum(killer.startswith("counts") for killer in verdicts)
    console.print(
        f"{len(chosen)} mutants of {len(every)}: {killed} killed ({by_counts} by counts alone), "
        f"{len(chosen) - killed - survivors} equivalent, {survivors} survived"
    )
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
