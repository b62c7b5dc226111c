"""Which build is imported, as the environment says."""

from __future__ import annotations

import os
import subprocess
import sys

import leasedkeyq

EXTENSIONS = "LEASEDKEYQ_EXTENSIONS"
NO_EXTENSIONS = "LEASEDKEYQ_NO_EXTENSIONS"


def imported(**variables: str) -> str:
    """Which build another process imports from where this one did; or why none."""
    others = {k: v for k, v in os.environ.items() if k not in (EXTENSIONS, NO_EXTENSIONS)}
    program = "import leasedkeyq; print(leasedkeyq.__compiled__, leasedkeyq._machine.__file__)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(
        command, env=others | variables, capture_output=True, text=True, check=False
    )
    return (done.stdout or done.stderr.splitlines()[-1]).strip()


def test_it_says_which_build_it_is() -> None:
    assert imported() == f"{leasedkeyq.__compiled__} {leasedkeyq._machine.__file__}"


def test_extension_modules_can_be_forbidden() -> None:
    for no in ("", "0"):
        assert imported(**{NO_EXTENSIONS: no}) == imported()
    assert imported(**{NO_EXTENSIONS: "1"}).startswith("False ")
    assert imported(**{NO_EXTENSIONS: "1"}).endswith("_machine.py")


def test_extension_modules_can_be_demanded() -> None:
    said = imported(**{EXTENSIONS: "1"})
    if leasedkeyq.__compiled__:
        assert said == imported()
    else:
        assert said.startswith("ImportError: "), said


def test_extension_modules_cannot_be_both() -> None:
    assert imported(**{EXTENSIONS: "1", NO_EXTENSIONS: "1"}) == (
        "ImportError: LEASEDKEYQ_EXTENSIONS and LEASEDKEYQ_NO_EXTENSIONS are both set, and"
        " contradict each other: the one demands the compiled modules of leasedkeyq, the other"
        " forbids them; unset one of them"
    )
    assert imported(**{EXTENSIONS: "0", NO_EXTENSIONS: "1"}) == imported(**{NO_EXTENSIONS: "1"})
    assert imported(**{EXTENSIONS: "1", NO_EXTENSIONS: "0"}) == imported(**{EXTENSIONS: "1"})
