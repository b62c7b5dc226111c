"""What need not be checked again, what must be, and what passes for a result."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from spec import counterexample, mutants, tlc

MODULE = "---- MODULE MC ----\nEXTENDS Base\n====\n"
MANIFEST = """\
values = ["Never"]
[constants]
Keys = "{k1}"
[module.MC]
behaviour = ["INIT Init", "NEXT Next"]
view = "Seen"
[module.MCdump]
behaviour = ["INIT Init", "NEXT Next"]
view = "Seen"
[invariants]
state = ["TypeOK"]
[properties]
steps = ["InOrder"]
[[model]]
name = "MC_one"
says = "one"
check = ["state", "steps"]
generated = 3
distinct = 2
depth = 2
[[model]]
name = "MC_fails"
says = "must fail"
check = ["TypeOK"]
fails = "TypeOK"
[[model]]
name = "MCdump_one"
says = "written out"
generated = 3
distinct = 2
depth = 2
"""
LINES = [
    '"state~{<<>>}~{<<\\"ack\\", c1, \\"InvalidLeaseError\\">>}~<<{ }>>"\n',
    '"step~<<\\"put\\", k1, \\"update\\", 0>>~{}~{<<k1>>}"\n',
    '"state~{<<k1>>}~{}~<<{k1}>>"\n',
    '"step~<<\\"tick\\">>~{}~{<<k1>>}"\n',
]
HOLDS = tlc.Result(tlc.HOLDS, 0.0, "", generated=3, distinct=2, left=0, depth=2)
FAILS = tlc.Result(tlc.INVARIANT, 0.0, "Error: Invariant TypeOK is violated.\n")


@dataclass
class Bench:
    """A specification of its own, and a TLC that finds what it is told to."""

    spec: Path
    found: dict[str, tlc.Result]
    ran: list[str] = field(default_factory=list)

    def check(self, *arguments: str) -> int:
        self.ran.clear()
        return tlc.main([*arguments])

    def dump(self) -> list[list[str]]:
        self.ran.clear()
        return [*tlc.dump("MCdump_one")]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    spec = tmp_path / "spec"
    spec.mkdir()
    (spec / "MC.tla").write_text(MODULE)
    (spec / "MCdump.tla").write_text(MODULE)
    (spec / "Base.tla").write_text("---- MODULE Base ----\n====\n")
    (spec / "manifest.toml").write_text(MANIFEST)
    jar = tmp_path / "tool.jar"
    jar.write_bytes(b"the tool")
    for name, path in {
        "SPEC": spec,
        "MANIFEST": spec / "manifest.toml",
        "STAMPS": spec / "stamps.json",
        "CACHE": tmp_path / "cache",
        "JAR": jar,
    }.items():
        monkeypatch.setattr(tlc, name, path)
    monkeypatch.delenv("CI", raising=False)
    bench = Bench(spec, {"MC_one": HOLDS, "MC_fails": FAILS, "MCdump_one": HOLDS})

    def run(module: str, config: str, **how: Any) -> tlc.Result:
        name = config.split()[1].strip(":")
        bench.ran.append(name)
        for line in LINES if module == "MCdump" and "on_print" in how else ():
            how["on_print"](line)
        return bench.found[name]

    monkeypatch.setattr(tlc, "run", run)
    return bench


def test_what_did_not_change_is_not_run_again(bench: Bench) -> None:
    assert bench.check() == 0
    assert sorted(bench.ran) == ["MC_fails", "MC_one"]
    assert bench.check() == 0
    assert bench.ran == []


@pytest.mark.parametrize(
    ("file", "ran"),
    [("MC.tla", 2), ("Base.tla", 2), ("tool.jar", 2), ("manifest.toml", 1), ("Other.tla", 0)],
)
def test_a_changed_byte_runs_what_depends_on_it(bench: Bench, file: str, ran: int) -> None:
    bench.check()
    path = (bench.spec.parent if file == "tool.jar" else bench.spec) / file
    if file == "manifest.toml":
        path.write_text(MANIFEST.replace('"one"', '"another"'))
    else:
        path.write_bytes((path.read_bytes() if path.exists() else b"") + b" ")
    assert bench.check() == 0
    assert len(bench.ran) == ran


def test_other_counts_are_not_taken_from_a_stamp(bench: Bench) -> None:
    bench.check()
    (bench.spec / "manifest.toml").write_text(MANIFEST.replace("distinct = 2", "distinct = 1", 1))
    assert bench.check() == 1
    assert bench.ran == ["MC_one"]
    assert bench.check() == 1, "a failure leaves no stamp"


@pytest.mark.parametrize("stamps", ["", "[]", "{", '{"MC_one": "0", "MC_fails": null}'])
def test_a_stamp_that_is_not_the_digest_is_none(bench: Bench, stamps: str) -> None:
    (bench.spec / "stamps.json").write_text(stamps)
    assert bench.check() == 0
    assert sorted(bench.ran) == ["MC_fails", "MC_one"]


def test_the_stamp_of_another_model_is_none(bench: Bench) -> None:
    bench.check()
    stamps = json.loads((bench.spec / "stamps.json").read_text())
    stamps["MC_one"], stamps["MC_fails"] = stamps["MC_fails"], stamps["MC_one"]
    (bench.spec / "stamps.json").write_text(json.dumps(stamps))
    bench.check()
    assert sorted(bench.ran) == ["MC_fails", "MC_one"]


def test_a_run_that_dies_loses_no_model_that_has_ended(bench: Bench) -> None:
    del bench.found["MC_fails"]  # the last to begin
    with pytest.raises(KeyError):
        bench.check()
    bench.found["MC_fails"] = FAILS
    assert bench.check() == 0
    assert bench.ran == ["MC_fails"]


def test_in_ci_everything_is_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.check()
    bench.dump()
    monkeypatch.setenv("CI", "true")
    assert bench.check() == 0
    assert sorted(bench.ran) == ["MC_fails", "MC_one"]
    bench.dump()
    assert bench.ran == ["MCdump_one"]


@pytest.mark.parametrize(
    "found",
    [
        FAILS,
        tlc.Result(tlc.HOLDS, 0.0, "", 3, 2, 1, 2),  # not searched to its end
        tlc.Result(tlc.HOLDS, 0.0, "", 0, 0, 0, 0),  # nothing was searched
        tlc.Result(150, 0.0, "no module"),
    ],
)
def test_only_the_exact_result_passes(
    bench: Bench, found: tlc.Result, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.found["MC_one"] = found
    assert bench.check() == 1
    assert "python -m spec.tlc --explain MC_one" in capsys.readouterr().out
    assert "MC_one" not in tlc.stamped()


@pytest.mark.parametrize("violated", ["OneAvailable", ""])
def test_what_must_fail_must_fail_by_its_property(bench: Bench, violated: str) -> None:
    output = f"Error: Invariant {violated} is violated.\n"
    bench.found["MC_fails"] = tlc.Result(tlc.INVARIANT, 0.0, output)
    assert bench.check() == 1
    bench.found["MC_fails"] = HOLDS
    assert bench.check() == 1


def test_a_dump_is_kept_until_something_changes(bench: Bench) -> None:
    first = bench.dump()
    assert bench.ran == ["MCdump_one"]
    assert first[0] == ["state", "{<<>>}", "{<<ack, c1, InvalidLeaseError>>}", "<<{}>>"]
    assert first[1] == ["step", "put k1 update 0", "{}", "{<<k1>>}"]
    assert bench.dump() == first
    assert bench.ran == []
    (bench.spec / "Base.tla").write_text("---- MODULE Base ----\n\n====\n")
    assert bench.dump() == first
    assert bench.ran == ["MCdump_one"]
    assert len([*tlc.CACHE.iterdir()]) == 1


def test_a_dump_that_is_cut_short_is_not_used(bench: Bench) -> None:
    bench.dump()
    (kept,) = tlc.CACHE.iterdir()
    with gzip.open(kept, "rt") as file:
        lines = file.readlines()
    with gzip.open(kept, "wt") as file:
        file.writelines(lines[:-1])
    with pytest.raises(AssertionError, match="not whole"):
        bench.dump()


def test_a_dump_with_other_counts_is_not_kept(bench: Bench) -> None:
    bench.found["MCdump_one"] = tlc.Result(tlc.HOLDS, 0.0, "", 4, 2, 0, 2)
    with pytest.raises(AssertionError, match="generated 4, not 3"):
        bench.dump()
    assert [*tlc.CACHE.iterdir()] == []


def test_every_property_has_a_mutant_and_every_mutant_its_place() -> None:
    every = mutants.mutants()
    models = {model.name: model for model in tlc.manifest()}
    assert len({mutant.name for mutant in every}) == len(every)
    for mutant in every:
        model, due = mutant.by
        assert mutant.source
        assert due in models[model].checked("invariants") + models[model].checked("properties")
    assert mutants.unseen() == set()


def test_a_counterexample_is_told_in_calls() -> None:
    trace = [
        'State 1: <Initial predicate>\n/\\ step = [did |-> <<"start">>, told |-> {}]',
        'State 2: <Put>\n/\\ step = [did |-> <<"put", k1, "defer", 1>>, told |-> {}]\n/\\ puts = 1',
        'State 3: <Close>\n/\\ step = [did |-> <<"close">>,\n  told |-> {<<c1, "Closed">>}]',
    ]
    text = counterexample.explain(trace, "TypeOK")
    assert text.startswith("TypeOK does not hold after:\n")
    assert '1. put("k1", value, if_in_flight="defer", delay=1)\n' in text
    assert "2. close(); c1 comes to Closed\n" in text
    assert "('put', 'k1', 'defer', '1')" in text
