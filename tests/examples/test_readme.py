"""The README's claims that no code block shows. (Its code blocks are run with the manual's.)"""

import re
from pathlib import Path

import pytest

from tests import virtual
from tests.docs.manual import blocks
from tests.subject import InFlightPolicy, KeyAlreadyInFlightError, LeasedKeyQueue

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
GUARANTEES = [
    "worked on once at a time",
    "newest value never lost unseen",
    "producer never turned away",
]
POLICIES: list[InFlightPolicy] = ["update", "reject", "buffer", "defer"]


def claims() -> dict[str, list[bool]]:
    """What the README's table says of each policy, in the order of the guarantees."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in README.read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    start = next(number for number, row in enumerate(rows) if row[0] == "policy")
    assert rows[start][2:] == GUARANTEES
    said = {"yes": True, "**NO**": False}
    return {
        row[0].split('"')[1]: [said[re.split("[:,]", cell)[0]] for cell in row[2:]]
        for row in rows[start + 2 : start + 2 + len(POLICIES)]
    }


async def try_out(policy: InFlightPolicy, look: bool = False) -> list[bool]:
    """Put a new value while the old one is in work; then do the work, and look before the end."""
    once_at_a_time = welcome = True
    async with LeasedKeyQueue[str, str]() as queue:
        await queue.put("key", "old")
        _, seen, lease = await queue.get()
        try:
            await queue.put("key", "new", if_in_flight=policy)
        except KeyAlreadyInFlightError:
            welcome = False
        if await queue.contains("key"):
            once_at_a_time = False
        if look:
            seen = await queue.refresh(lease)
        await queue.ack(lease)
        while await queue.qsize():
            _, seen, lease = await queue.get()
            await queue.ack(lease)
    told = seen == "new" or not welcome
    return [once_at_a_time, told, welcome]


def test_the_table_names_every_policy() -> None:
    assert list(claims()) == POLICIES


@pytest.mark.parametrize("policy", POLICIES)
def test_what_the_table_says_of_a_policy(policy: InFlightPolicy) -> None:
    assert claims()[policy] == virtual.run(try_out(policy))


def test_a_worker_that_looks_loses_nothing_to_an_update() -> None:
    assert "unless the worker looks (`refresh`) before it acks" in README.read_text("utf-8")
    assert virtual.run(try_out("update", look=True)) == [True, True, True]


def test_every_python_block_shows_its_output() -> None:
    programs = [block for block in blocks(README) if block.language == "python"]
    assert programs
    assert all(block.output for block in programs)


def test_every_link_leads_to_a_file() -> None:
    links = re.findall(r"\]\(([^)#:=]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not ROOT.joinpath(link).is_file()] == []
