"""Prints what was replayed."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    lines = [
        str(value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if name == "replay"
    ]
    if lines:
        terminalreporter.section("the specification, executed")
        for line in lines:
            terminalreporter.line(line)
