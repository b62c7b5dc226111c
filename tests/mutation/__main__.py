"""Do the tests notice when the code is changed? (make mutants)

    python -m tests.mutation [--keep NUMBER] [--seed SEED]
    python -m tests.mutation --again    count once more, when more has been explained

cosmic-ray finds every place where a small change is possible; of these changes so many are drawn,
by the seed. Each is made in a copy of the tree, and judged by the tests, two at a time (judge.py).
What no test notices is shown, with the reason if it has been looked at (explained.toml: for one
change, or for whatever becomes of a line). What is left without one may be so many only that of all
changes surely fewer than MAY_SURVIVE go unseen.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from filecmp import cmp
from math import comb
from pathlib import Path

from cosmic_ray.work_db import WorkDB, use_db
from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkItem, WorkResult

from tests.mutation.judge import NOT_PYTHON
from tools.on import BUILDS, ROOT, git

COPIES = [ROOT / ".venv" / "mutants" / name for name in ("one", "two")]
CONFIG, SESSION = "tests/mutation/cosmic-ray.toml", "session.sqlite"
DRAWN = ROOT / ".venv" / "mutants" / "drawn.txt"  # of how many, and by which seed
REASONS = "tests/mutation/explained.toml"
MAY_SURVIVE = 0.05


def place(item: WorkItem) -> list[str]:
    return [
        f"{change.module_path} {change.operator_name} {change.operator_args} {change.occurrence:05}"
        for change in item.mutations
    ]


def asserts(item: WorkItem) -> bool:
    """Is it in what says whether a queue is in order? That it asserts less, no test can notice."""
    return any("check" in (change.definition_name or "") for change in item.mutations)


def draw(items: Iterable[WorkItem], keep: int, seed: int) -> tuple[list[str], int]:
    """The jobs to be done, and of how many they were drawn. (They come in no order.)"""
    all_of_them = sorted((item for item in items if not asserts(item)), key=place)
    drawn = random.Random(seed).sample(all_of_them, min(keep, len(all_of_them)))
    return [item.job_id for item in drawn], len(all_of_them)


def leave(session: WorkDB, jobs: Collection[str]) -> None:
    """Skip all others."""
    others = [item.job_id for item in session.pending_work_items if item.job_id not in jobs]
    session.set_multiple_results(others, WorkResult(worker_outcome=WorkerOutcome.SKIPPED))


def verdict(session: WorkDB) -> tuple[int, list[str]]:
    """How many were judged, and the differences of those that no test has noticed."""
    judged, alive = 0, []
    for item, result in session.completed_work_items:
        if result.worker_outcome == WorkerOutcome.SKIPPED:
            continue
        if result.worker_outcome != WorkerOutcome.NORMAL or result.test_outcome not in (
            TestOutcome.KILLED,
            TestOutcome.SURVIVED,
        ):
            raise SystemExit(f"not judged: {place(item)}\n{result.output}")
        if not (result.is_killed and result.output.startswith(NOT_PYTHON)):
            judged += 1
            alive += [] if result.is_killed else [result.diff]
    if session.pending_work_items:
        raise SystemExit("some were not judged")
    return judged, alive


def at_most(survived: int, judged: int) -> float:
    """The share of all that survive is less than this, one can be 95 percent sure."""

    def chance(share: float) -> float:
        """That no more than these survive, if that share of all does."""
        return sum(
            comb(judged, n) * share**n * (1 - share) ** (judged - n) for n in range(survived + 1)
        )

    return next((n / 1000 for n in range(1000) if chance(n / 1000) < 0.05), 1.0)


def changed_lines(diff: str) -> tuple[str, str]:
    """What was there, and what is there instead."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    before, after = (
        " ".join(line[1:].strip() for line in lines if line.startswith(sign)) for sign in "-+"
    )
    return before, after


def reasons() -> dict[tuple[str, str], str]:
    """By the line before, and the line after; if that is empty, whatever it is."""
    entries = tomllib.loads((ROOT / REASONS).read_text(encoding="utf-8")).get("mutant", [])
    return {(entry["before"], entry.get("after", "")): entry["why"] for entry in entries}


def reason(diff: str, known: dict[tuple[str, str], str]) -> str:
    before, after = changed_lines(diff)
    return known.get((before, after)) or known.get((before, "")) or ""


def run(copy: Path, *command: str) -> None:
    programs = Path(sys.executable).parent
    variables = {
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "PYTHONPATH": str(copy / "src"),
        "HYPOTHESIS_PROFILE": "ci",
        **BUILDS["pure"],
    }
    done = subprocess.run(
        [programs / command[0], *command[1:]],
        cwd=copy,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stdout}")


def sources() -> list[str]:
    return git("ls-files", "src", "tests", "spec", "tools", "pyproject.toml").splitlines()


def judged_anew(keep: int, seed: int) -> None:
    for copy in COPIES:  # cosmic-ray writes its changes into the files
        shutil.rmtree(copy, ignore_errors=True)
        for name in sources():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
        (copy / "src" / "leasedkeyq" / "_queue.py").touch()  # known by all tests (judge.py)
    run(COPIES[0], "cosmic-ray", "init", CONFIG, SESSION)
    run(COPIES[0], "cr-filter-operators", SESSION, CONFIG)
    run(COPIES[0], "cosmic-ray", "baseline", CONFIG)
    shutil.copy(COPIES[0] / SESSION, COPIES[1])
    with use_db(COPIES[0] / SESSION) as session:
        jobs, of = draw(session.pending_work_items, keep, seed)
    DRAWN.write_text(f"of {of:,} mutants (seed {seed})")

    def judge(part: int) -> None:
        with use_db(COPIES[part] / SESSION) as session:
            leave(session, {*jobs[part :: len(COPIES)]})
        run(COPIES[part], "cosmic-ray", "exec", CONFIG, SESSION)

    with ThreadPoolExecutor() as pool:
        [*pool.map(judge, range(len(COPIES)))]


def changed_since(copy: Path) -> list[str]:
    """What is there now and was not judged, or not by this: all but the explanations."""
    return [
        name
        for name in sources()
        if name != REASONS
        and not ((copy / name).exists() and cmp(ROOT / name, copy / name, shallow=False))
    ]


def main() -> None:
    parser = ArgumentParser(prog="tests.mutation")
    parser.add_argument("--keep", type=int, default=600)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    if not options.again:
        judged_anew(options.keep, options.seed)
    elif changed := {name for copy in COPIES for name in changed_since(copy)}:
        raise SystemExit(f"{', '.join(sorted(changed))}: what was judged is not what is there now")
    judged, alive = 0, []
    for copy in COPIES:
        with use_db(copy / SESSION) as session:
            count, diffs = verdict(session)
        judged += count
        alive += diffs
    known = reasons()
    for diff in alive:
        print(f"{diff}\n# {reason(diff, known) or 'NOT EXPLAINED'}\n")
    unseen = [diff for diff in alive if not reason(diff, known)]
    bound = at_most(len(unseen), judged)
    drawn = f"{judged} {DRAWN.read_text()}"
    print(f"{drawn}: {len(alive)} live, {len(unseen)} unexplained: of all fewer than {bound:.1%}")
    sys.exit(bound > MAY_SURVIVE)


if __name__ == "__main__":
    main()
