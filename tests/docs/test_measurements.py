"""The performance page shows what was recorded, and marks what is missed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from docs._ext import measurements
from tests.docs.manual import DOCS

FOUND = {"case": "cycle", "against": "asyncio.Queue", "size": None}
RESULTS = {
    "date": "2026-11-24",
    "commit": "0123456789abcdef",
    "figures": [
        {
            "what": "cycle",
            "build": "compiled",
            "bar": 1.1,
            "measured": {"3.12": 1.0, "3.13": 1.104},
        },
        {"what": "cycle", "build": "pure", "bar": 2.35, "measured": {"3.12": 1.0, "3.13": 2.36}},
        {"what": "nowait", "build": "pure", "bar": None, "measured": {"3.12": 1.0, "3.13": 0.5}},
        {"what": "elsewhere", "build": "pure", "bar": 1, "measured": {"3.12": 1.0, "3.13": None}},
    ],
    "found": {
        "3.12": [],
        "3.13": [
            {**FOUND, "subject": "compiled", "value": 1.0},
            {**FOUND, "subject": "pure", "value": 2.0},
        ],
        "3.13 PGO": [],
    },
}


def test_what_is_missed_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "RESULTS", tmp_path / "results.json")
    measurements.RESULTS.write_text(json.dumps(RESULTS))
    about, *table = measurements.figures().splitlines()
    assert about.startswith("CPython 3.13, 2026-11-24, commit `0123456789`")
    assert table[3:] == [
        "| cycle | 1.10 of 1.1 | **missed: 2.36** of 2.35 |",
        "| nowait |  | 0.50 |",
    ]
    bar = r"<th>(.*?)</th>.*?width:(\d+)%.*?<td>([\d.]+)</td>"
    assert re.findall(bar, measurements.chart("cycle", "asyncio.Queue")) == [
        ("asyncio.Queue", "50", "1.00"),
        ("compiled", "50", "1.00"),
        ("pure", "100", "2.00"),
    ]


def test_what_is_missed_on_a_server_is_marked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = {"what": "cycle", "bar": 6.5, "at_least": False, "note": "a PING takes 26 us"}
    rows = [
        {**named, "value": 6, "missed": False},
        {**named, "value": 7.25, "missed": True},
        {**named, "value": 8, "missed": False, "at_least": True},
    ]
    head = {"date": "2026-11-30", "commit": "0123456789abcdef", "python": "3.13.0"}
    monkeypatch.setattr(measurements, "ENGINE", tmp_path / "engine.json")
    content = {**head, "server": "Valkey 8.1", "found": rows}
    measurements.ENGINE.write_text(json.dumps(content))
    about, *table = measurements.engine().splitlines()
    assert about == "CPython 3.13.0, Valkey 8.1, 2026-11-30, commit `0123456789`."
    assert table[3:] == [
        "| cycle | 6 | at most 6.5 | a PING takes 26 us |",
        "| cycle | **missed: 7.25** | at most 6.5 | a PING takes 26 us |",
        "| cycle | 8 | at least 6.5 | a PING takes 26 us |",
    ]


def test_every_chart_of_the_page_was_measured() -> None:
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    charts = re.findall(r"^```\{chart\} (.*) / (.*)$", page, re.MULTILINE)
    assert len(charts) == 3
    for case, against in charts:
        assert measurements.chart(case, against).count("<tr>") > 1
