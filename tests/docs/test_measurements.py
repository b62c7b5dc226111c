"""The performance page shows what the benchmarks found, all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs._ext import measurements

FOUND = {
    "case": "cycle",
    "subject": "leasedkeyq",
    "against": "asyncio.Queue",
    "size": None,
    "value": 1.5,
    "low": 1.4,
    "high": 1.6,
    "rounds": 30,
}
RESULTS = {
    "figures": [
        {"what": "put + get + ack", "bar": 1.6, "measured": {"3.11": 1.5, "3.13": None}},
        {"what": "hand-over", "bar": 1.4, "measured": {"3.11": 1.23456, "3.13": 1.3}},
    ],
    "found": {"3.11": [FOUND], "3.13": [FOUND]},
}


def test_figures_and_plots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "RESULTS", tmp_path / "results.json")
    measurements.RESULTS.write_text(json.dumps(RESULTS))
    assert measurements.figures().splitlines()[2:] == [
        "| put + get + ack | 1.6 | 1.5 | – |",
        "| hand-over | 1.4 | 1.23 | 1.3 |",
    ]
    for version in ("3.11", "3.13"):
        image = f'alt="cycle, CPython {version}" src="data:image/svg+xml;base64,'
        assert measurements.pictures().count(image) == 1


def test_nothing_is_made_up_without_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "RESULTS", tmp_path / "results.json")
    assert "before the first" in measurements.figures()
    assert measurements.pictures() == ""
