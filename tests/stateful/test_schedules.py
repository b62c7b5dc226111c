"""The queue keeps its word in every order of steps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stateful.schedules import SCENARIOS, explore


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_schedule(name: str, record_property: Callable[[str, object], None]) -> None:
    played = explore(SCENARIOS[name])
    assert played > 1
    record_property("schedules", f"{name}|{played}")
