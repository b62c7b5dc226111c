"""The guide to the queue on a server: its programs run on one, and its table names tests."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.docs.manual import DOCS, blocks
from tests.engine.server import Server

PAGE = DOCS / "howto" / "redis.md"


@pytest.mark.filterwarnings("ignore:the server of queue:UserWarning")
async def test_the_programs_of_the_guide_run(server: Server) -> None:
    guide: dict[str, Any] = {}
    for block in blocks(PAGE):
        if block.language == "python":
            exec(compile(block.text, str(PAGE), "exec"), guide)
    guide["URL"] = server.url
    await guide["produce"]()
    await guide["consume"]()
    async with guide["RedisLeasedKeyQueue"](server.url, "orders") as orders:
        await guide["put_for_certain"](orders, "4713", {"hats": 1})
    await guide["work_off"]()
    await guide["count"]()
    assert sorted(guide["done"]) == [
        "4711: {'shirts': 2}",
        "4712: {'shoes': 1}",
        "4713: {'hats': 1}",
        "seven is 7",
    ]


def test_every_row_of_the_table_names_tests_that_are_there() -> None:
    text = PAGE.read_text("utf-8")
    rows = [line for line in text.partition("## What is weaker")[2].splitlines() if "|" in line]
    assert len(rows) > 20
    for row in rows[2:]:
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", row.split("|")[3])
        assert named, row
        for file, name in named:
            source = (DOCS.parent / "tests" / "engine" / file).read_text("utf-8")
            assert re.search(rf"^(async )?def {name}\(", source, re.MULTILINE), name
