"""The walk of `tests.stateful.transitions`, in the smallest model. `make transitions` does all."""

from __future__ import annotations

import pytest

from tests.stateful import transitions


@pytest.mark.xdist_group("reject")
@pytest.mark.timeout(600)
def test_random_steps_meet_nearly_all_transitions() -> None:
    done, listed = transitions.walk("reject")
    assert len(done.met) >= transitions.BAR * len(listed)
