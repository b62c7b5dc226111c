"""Change the code wherever a small change is possible: is it noticed?

mutmut makes the mutants, says which tests reach which of them, and keeps count. It would also
start pytest anew for every mutant, which takes longer than the tests that find it: here they run,
the fastest first, in forks of one session that has collected them.

    python -m tests.mutation [mutants, as in `leasedkeyq._queue*`]
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable
from contextlib import chdir
from pathlib import Path
from time import perf_counter
from typing import ClassVar

import mutmut.__main__ as tool
import pytest
from mutmut.configuration import config
from mutmut.mutation import trampoline
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.runners.harness import ListAllTestsResult, PytestRunner
from mutmut.state import state
from mutmut.utils import file_utils
from mutmut.workers import isolation
from mutmut.workers.isolation import run_in_fork

from tests.mutation.verdict import judge

MUTANTS = Path("mutants")


class OneSession(PytestRunner):
    """Runs the tests that one session of pytest has collected."""

    session: ClassVar[pytest.Session]

    def _failed(self, item: pytest.Item) -> bool:
        self.session.testsfailed = 0
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        return self.session.testsfailed > 0

    def run_stats(self, *, tests: Iterable[str]) -> int:
        for item in self.session.items:
            started = perf_counter()
            if self._failed(item):
                print(f"{item.nodeid} fails, though nothing was changed")
                return 1
            state().duration_by_test[item.nodeid] = perf_counter() - started
            for function in state()._stats:
                state().tests_by_mangled_function_name[function].add(item.nodeid)
            state()._stats.clear()
        return 0

    def run_tests(self, *, mutant_name: str | None, tests: Iterable[str]) -> int:
        """Up to the first that fails, in the order given."""
        items = {item.nodeid: item for item in self.session.items}
        return int(any(self._failed(items[name]) for name in tests or items))

    def run_forced_fail(self) -> int:
        return run_in_fork(super().run_forced_fail)  # it leaves a mess

    def list_all_tests(self) -> ListAllTestsResult:
        return ListAllTestsResult(ids={item.nodeid for item in self.session.items})


class Loop:
    """In place of running the tests once, run them on every mutant."""

    def __init__(self, names: tuple[str, ...], root: Path) -> None:
        self.names, self.root = names, root

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        OneSession.session = session
        isolation.__dict__["PytestRunner"] = OneSession
        session.config.pluginmanager.unregister(name="terminalreporter")
        with chdir(self.root):
            tool._run(self.names, max_children=len(os.sched_getaffinity(0)))
        session.testsfailed = 0
        return True


class NoCallStack:
    """Nobody asks who called whom; to note it in a ContextVar crashes 3.11 in finalizers."""

    @staticmethod
    def get() -> tuple[None, int]:
        return None, 0

    @staticmethod
    def set(value: tuple[str, int]) -> None:
        pass

    @staticmethod
    def reset(token: None) -> None:
        pass


def run(names: tuple[str, ...]) -> None:
    shutil.rmtree(MUTANTS, ignore_errors=True)
    MUTANTS.mkdir()
    trampoline.__dict__["MutmutCallStack"] = NoCallStack
    set_mutant_under_test("mutant_generation")
    with tool.CatchOutput():
        file_utils.copy_src_dir()
        file_utils.copy_also_copy_files()
        file_utils.setup_source_paths()
        tool.create_mutants(max_children=1)
    arguments = [*config().pytest_add_cli_args_test_selection, *config().pytest_add_cli_args]
    root = Path.cwd()
    with chdir(MUTANTS):
        status = pytest.main(["--rootdir=.", "-q", *arguments], plugins=[Loop(names, root)])
    if status:
        sys.exit(f"pytest ended with {status!r}")


if __name__ == "__main__":
    run(tuple(sys.argv[1:]))
    sys.exit(judge(whole=not sys.argv[1:]))
