"""A plugin for pytest: the bug that BUG names is in the package under test."""

from __future__ import annotations

import os

import pytest

from tests import subject
from tests.stateful import broken


def pytest_collection_finish() -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr(broken, "pure", lambda: subject)
    (bug,) = (bug for bug in broken.BUGS if bug.what == os.environ["BUG"])
    bug.plant(patch)
