"""Turns, ratios, figures: the arithmetic of the benchmarks, on blocks with times of their own."""

import gc
import sys
from itertools import count
from pathlib import Path

import pytest

import leasedkeyq
from benchmarks.cases import Found
from benchmarks.figures import Figure
from benchmarks.measure import Block, Ratio, Rounds, take_turns
from benchmarks.rivals import import_apart


def taking(*seconds: float, log: list[str] | None = None, units: int = 1) -> Block:
    """A block that takes these times in turn, the first being the one that does not count."""
    turn = count()

    async def run() -> float:
        if log is not None:
            log.append("collecting" if gc.isenabled() else "not collecting")
        return seconds[next(turn) % len(seconds)]

    return Block(run, units)


def test_a_ratio_is_the_median_of_the_rounds() -> None:
    rounds = Rounds({"a": [2.0, 4.0, 6.0, 8.0, 1000.0], "b": [2.0, 2.0, 2.0, 2.0, 2.0]})
    assert rounds.ratio("a", "b") == Ratio(median=3.0, low=2.0, high=4.0, rounds=5)


async def test_a_ratio_compares_turns_of_one_round() -> None:
    """The machine gets ten times slower meanwhile, and nothing is to be seen of it."""
    machine = [9.0, 1.0, 2.0, 3.0, 10.0]
    blocks = {
        "plain": taking(*machine),
        "twice": taking(*(2 * speed for speed in machine)),
    }
    rounds = await take_turns(blocks, rounds=(4, 4))
    assert rounds.ratio("twice", "plain") == Ratio(2.0, 2.0, 2.0, 4)


async def test_the_time_is_that_of_a_unit() -> None:
    blocks = {"one": taking(1.0), "ten": taking(1.0, units=10)}
    rounds = await take_turns(blocks, rounds=(4, 4))
    assert rounds.ratio("ten", "one").median == pytest.approx(0.1)


async def test_a_block_that_does_not_say_is_timed() -> None:
    async def short() -> None:
        pass

    async def long() -> None:
        sum(range(100_000))

    rounds = await take_turns({"short": Block(short, 1), "long": Block(long, 1)}, rounds=(5, 5))
    assert rounds.ratio("long", "short").median > 10


async def test_the_rounds_end_when_they_agree_or_when_there_are_enough() -> None:
    agree = {"a": taking(1.0), "b": taking(2.0)}
    assert (await take_turns(agree, rounds=(10, 100))).ratio("a", "b").rounds == 10
    differ = {"a": taking(1.0), "b": taking(1.0, 2.0, 3.0)}
    assert (await take_turns(differ, rounds=(10, 50))).ratio("a", "b").rounds == 50


@pytest.mark.parametrize("collecting", [True, False])
async def test_the_collector_is_as_it_was_afterwards(collecting: bool) -> None:
    log: list[str] = []
    await take_turns({"a": taking(1.0, log=log)}, rounds=(3, 3), collecting=collecting)
    assert log[0] == "collecting"
    assert set(log[1:]) == {"collecting" if collecting else "not collecting"}
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_a_figure_is_found_by_all_that_names_it() -> None:
    figure = Figure("what", "pure", "case", "them", 10, bar=1.5)
    near = [
        Found("other", "pure", "them", 10, 9, 9, 9),
        Found("case", "compiled", "them", 10, 9, 9, 9),
        Found("case", "pure", "nothing", 10, 9, 9, 9),
        Found("case", "pure", "them", 100, 9, 9, 9),
    ]
    assert figure.measured(near) is None
    assert figure.measured([*near, Found("case", "pure", "them", 10, 1.25, 1, 2)]) == 1.25


def test_a_figure_is_judged_by_its_median_and_by_pgo_apart() -> None:
    figure = Figure("what", "pure", "case", "them", None, bar=1.1, pgo_bar=1.0)
    values = {"3.11 PGO": 9.0, "3.11": 1.0, "3.12": 1.3, "3.13": 1.08}
    results = {
        version: [Found("case", "pure", "them", None, value, value, value)]
        for version, value in values.items()
    }
    assert figure.middle(results) == 1.08
    assert not figure.missed("median", 1.08)
    assert figure.missed("3.12", 1.3)
    assert figure.missed("3.11 PGO", 1.08)
    assert figure.middle({"3.11 PGO": results["3.11 PGO"]}) == 9.0
    assert not Figure("what", "pure", "case", "them", None, bar=None).missed("3.11", 99.0)


def test_a_package_of_our_name_is_kept_apart(tmp_path: Path) -> None:
    package = tmp_path / "leasedkeyq"
    package.mkdir()
    package.joinpath("__init__.py").write_text("from leasedkeyq.other import who\n")
    package.joinpath("other.py").write_text("who = 'somebody else'\n")

    assert import_apart("leasedkeyq", tmp_path).who == "somebody else"
    assert sys.modules["leasedkeyq"] is leasedkeyq
    assert "leasedkeyq.other" not in sys.modules
    assert str(tmp_path) not in sys.path


def test_another_package_does_not_pass_for_it(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match="was to come from"):
        import_apart("leasedkeyq", tmp_path / "not there")
    assert sys.modules["leasedkeyq"] is leasedkeyq
