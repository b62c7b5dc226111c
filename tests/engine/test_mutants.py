"""Bugs planted in the machine on the server are found: all kinds of them, and a share of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import hiredis
import pytest

from tests.engine.machine import Wire
from tests.engine.mutants import EXPLAINED, Lab, Mutant, mutants

pytestmark = pytest.mark.timeout(0)
SHARE: Final = 17  # each so manieth; a prime, so that none falls always on the same kind of line

# What is planted in the quick run: a line, and what becomes of it.
SAMPLE: Final = (
    ("['ack last'] = {'DROP', 'ABSENT'},", "['ack last'] = {'DROP', 'AVAILABLE'},"),
    ("return m.maxsize == 0 or", "return m.maxsize == 0 or Items() <= m.maxsize"),
    ("set('fly', f.number, false)", ""),
    ("keep_entry(e)", ""),
)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    planting = Lab()
    yield planting
    planting.leave()


def test_what_is_no_lua_leaves_no_connection(lab: Lab) -> None:
    wire = Wire.__new__(Wire)
    with pytest.raises(hiredis.ReplyError):
        wire.__init__(str(lab.server.socket), "#!lua name=planted\nno Lua")  # type: ignore[misc]
    assert wire.socket.fileno() == -1


@pytest.mark.deep
def test_nothing_is_found_without_a_bug(lab: Lab) -> None:
    assert lab.found_by(None) == ""


@pytest.mark.parametrize(("before", "after"), SAMPLE)
def test_a_sample(lab: Lab, before: str, after: str) -> None:
    def fits(mutant: Mutant) -> bool:
        became = mutant.after.strip().partition("  --")[0]
        return mutant.before.strip().startswith(before) and became == after

    found = [mutant for mutant in mutants(lab.source) if fits(mutant)]
    assert found, f"no such place: {before}"
    assert lab.found_by(found[0], ("MCdump_stop",)), found[0]


@pytest.mark.deep
def test_a_share_of_all(lab: Lab) -> None:
    alive = [mutant for mutant in mutants(lab.source)[::SHARE] if not lab.found_by(mutant)]
    unexplained = [str(mutant) for mutant in alive if mutant.place not in EXPLAINED]
    assert not unexplained, "\n".join(unexplained)
