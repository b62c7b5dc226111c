"""What draws the mutants, judges them and counts what is left."""

from __future__ import annotations

import importlib
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.mutation import judge
from tools.on import ROOT

pytestmark = pytest.mark.deep


def cosmic_ray(name: str) -> ModuleType:
    """Only the deep run has it."""
    return importlib.import_module(f"cosmic_ray.{name}")


@pytest.fixture
def mutation() -> ModuleType:
    return importlib.import_module("tests.mutation.__main__")


def item(number: int, function: str = "put") -> Any:
    change = cosmic_ray("work_item").MutationSpec(
        module_path="src/leasedkeyq/_machine.py",
        operator_name="core/NumberReplacer",
        occurrence=number,
        start_pos=(number, 0),
        end_pos=(number, 1),
        definition_name=function,
    )
    return cosmic_ray("work_item").WorkItem(job_id=f"job {number}", mutations=(change,))


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Any]:
    """With five mutants, of which nothing is known yet."""
    with cosmic_ray("work_db").use_db(tmp_path / "session.sqlite") as session:
        session.add_work_items([item(number) for number in range(5)])
        yield session


def judged(session: Any, number: int, outcome: str | None, output: str = "", *, as_: str) -> None:
    result = cosmic_ray("work_item").WorkResult(
        as_, output=output, test_outcome=outcome, diff=f"diff {number}"
    )
    session.set_result(f"job {number}", result)


def test_a_seed_draws_the_same_in_whatever_order_they_come(mutation: ModuleType) -> None:
    items = [item(number) for number in range(1000)]
    drawn, of = mutation.draw(items, 20, seed=3)
    assert (len({*drawn}), of) == (20, 1000)
    random.shuffle(items)
    assert mutation.draw(items, 20, seed=3) == (drawn, of)
    assert mutation.draw(items, 20, seed=4) != (drawn, of)


def test_all_are_drawn_where_there_are_fewer(mutation: ModuleType) -> None:
    drawn, of = mutation.draw([item(1), item(2)], 20, seed=3)
    assert (sorted(drawn), of) == (["job 1", "job 2"], 2)


def test_what_asserts_is_never_drawn(mutation: ModuleType) -> None:
    items = [item(1, "check_invariants"), item(2, "_check_lanes"), item(3)]
    assert mutation.draw(items, 20, seed=3) == (["job 3"], 1)


def test_only_what_was_drawn_is_done_and_counted(mutation: ModuleType, session: Any) -> None:
    mutation.leave(session, {"job 0", "job 1", "job 2"})
    assert {item.job_id for item in session.pending_work_items} == {"job 0", "job 1", "job 2"}
    judged(session, 0, "killed", "1 failed", as_="normal")
    judged(session, 1, "survived", "9 passed", as_="normal")
    judged(session, 2, "killed", judge.NOT_PYTHON, as_="normal")
    assert mutation.verdict(session) == (2, ["diff 1"])


@pytest.mark.parametrize(
    ("outcome", "as_"), [("incompetent", "normal"), (None, "exception"), ("killed", "abnormal")]
)
def test_what_could_not_be_judged_is_no_kill(
    mutation: ModuleType, session: Any, outcome: str, as_: str
) -> None:
    mutation.leave(session, {"job 0"})
    judged(session, 0, outcome, "why", as_=as_)
    with pytest.raises(SystemExit, match=r"not judged: .*NumberReplacer"):
        mutation.verdict(session)


def test_a_run_that_stopped_early_is_no_verdict(mutation: ModuleType, session: Any) -> None:
    judged(session, 0, "killed", "1 failed", as_="normal")
    with pytest.raises(SystemExit, match="some were not judged"):
        mutation.verdict(session)


@pytest.mark.parametrize(
    ("survived", "of", "share"), [(0, 0, 1.0), (0, 60, 0.049), (3, 600, 0.013), (9, 9, 1.0)]
)
def test_a_sample_bounds_the_share_of_all(
    mutation: ModuleType, survived: int, of: int, share: float
) -> None:
    assert mutation.at_most(survived, of) == pytest.approx(share)


DIFF = """\
--- mutation diff ---
--- a/src/leasedkeyq/_phases.py
+++ b/src/leasedkeyq/_phases.py
@@ -120,7 +120,7 @@
             self._tell(action, now)
-        joined = DONE if self._items == 0 else ENDED
+        joined = DONE if self._items == -1 else ENDED
         outcomes = {}
"""


def test_a_mutant_is_known_by_its_line(mutation: ModuleType) -> None:
    before, after = mutation.changed_lines(DIFF)
    assert before == "joined = DONE if self._items == 0 else ENDED"
    assert after == before.replace("0", "-1")


def test_a_line_may_be_explained_whatever_becomes_of_it(mutation: ModuleType) -> None:
    before, after = mutation.changed_lines(DIFF)
    assert mutation.reason(DIFF, {(before, after): "this one"}) == "this one"
    assert mutation.reason(DIFF, {(before, ""): "any"}) == "any"
    assert mutation.reason(DIFF, {(before, before): "another", (after, ""): "any"}) == ""


REASONS = "tests/mutation/explained.toml"


@pytest.mark.parametrize("changed", ["src/a.py", "tests/b.py", REASONS])
def test_what_was_judged_counts_again_where_nothing_but_the_reasons_has_changed(
    mutation: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    names = ["src/a.py", "tests/b.py", REASONS]
    monkeypatch.setattr(mutation, "sources", lambda: names)
    monkeypatch.setattr(mutation, "ROOT", tmp_path / "root")
    monkeypatch.setattr(mutation, "COPIES", [tmp_path / "copy"])
    for path in [tmp_path / folder / name for folder in ("root", "copy") for name in names]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")
    assert mutation.changed_since(tmp_path / "copy") == []
    (tmp_path / "root" / changed).write_text("new")  # as long, and as young
    if changed == REASONS:
        assert mutation.changed_since(tmp_path / "copy") == []
        return
    assert mutation.changed_since(tmp_path / "copy") == [changed]
    monkeypatch.setattr(sys, "argv", ["mutation", "--again"])
    with pytest.raises(SystemExit, match=f"{changed}: what was judged"):
        mutation.main()


def test_every_explanation_says_why(mutation: ModuleType) -> None:
    assert all(len(why) > 20 for why in mutation.reasons().values())


def test_every_module_is_known_by_tests() -> None:
    modules = [path.stem for path in (ROOT / "src" / "leasedkeyq").glob("*.py")]
    assert {*judge.KNOWN_BY} <= {*modules}
    for module in modules:
        assert all((ROOT / path).exists() for path in judge.tests(module))
    assert judge.MACHINES[0] in judge.tests("_machine")


def test_the_changed_module_is_the_last_written(tmp_path: Path) -> None:
    for name in ("one.py", "two.py", "three.txt"):
        (tmp_path / name).touch()
    (tmp_path / "one.py").write_text("changed")
    assert judge.last_written(tmp_path).name == "one.py"


def test_what_is_no_python_is_no_test_of_the_tests(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "module.py").write_text("def f(a, %, b): ...\n")
    done = subprocess.run(
        [sys.executable, judge.__file__], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (1, judge.NOT_PYTHON)
