"""Whatever the manual shows is run, and prints what the manual says.

The Python blocks of a page are run from top to bottom in virtual time: an ``asyncio.run`` in
them takes as long as there is work to do, whatever they sleep. They build on each other; a block
that begins with ``import asyncio`` starts a new program. A ``console``
block is run by a shell, in a directory with the clone beside it, or names a target of the
Makefile that CI runs on its own. In a shown output, a line of ``...`` stands for any lines and
``...`` in a line for any text.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests import virtual
from tests.docs.manual import PAGES, ROOT, Block, blocks

# Run by the tests of the build, which have an empty environment for it.
RUN_ELSEWHERE = re.compile(r"pip install \.|.*\.venv/bin/python -m (hatchling build|pip wheel) .*")

TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def assert_matches(shown: str | None, printed: str, block: Block) -> None:
    """What was printed is what the page shows, or an exact comparison explains itself."""
    shown, printed = (shown or "").rstrip(), printed.rstrip()
    pattern = re.escape(shown).replace(r"\.\.\.", "<any>")
    pattern = re.sub(r"(?m)^<any>\n?", r"(?s:.*)", pattern).replace("<any>", ".*")
    if not re.fullmatch(pattern, printed):
        assert printed == shown, f"{block} prints something else than it shows"


def run_python(block: Block, namespace: dict[str, Any]) -> str:
    """What a block prints. Its line numbers in a traceback are those of the page."""
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(code, namespace)
    return out.getvalue()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_python_blocks(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "run", virtual.run)
    namespace: dict[str, Any] = {}
    for block in blocks(page):
        if block.language == "python":
            if block.text.startswith("import asyncio\n"):
                namespace = {"__name__": "__main__"}
            assert_matches(block.output, run_python(block, namespace), block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_console_blocks(page: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("leasedkeyq").symlink_to(ROOT)
    tmp_path.joinpath("yours").mkdir()
    python = tmp_path / "bin"
    python.mkdir()
    for name in ("python", "python3"):
        python.joinpath(name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        python.joinpath(name).chmod(0o755)
    for block in blocks(page):
        if block.language == "console":
            run_console(block, tmp_path)


def run_console(block: Block, directory: Path) -> None:
    lines = block.text.splitlines()
    assert all(line.startswith("$ ") for line in lines), f"{block}: a command a line, after '$ '"
    commands = [line.removeprefix("$ ") for line in lines]
    here = []
    for command in commands:
        plain = command.split("  #")[0].strip()
        if plain.startswith("make "):
            target = next(word for word in plain.split()[1:] if "=" not in word)
            assert target in TARGETS, f"{block}: the Makefile has no target {target}"
        elif not RUN_ELSEWHERE.fullmatch(plain):
            here.append(plain)
    assert not here or len(here) == len(commands), f"{block}: run all of it here, or nothing"
    if here:
        finished = subprocess.run(
            ["bash", "-euc", "\n".join(here)],
            cwd=directory / "yours",
            env={"PATH": f"{directory}/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, f"{block} fails:\n{finished.stdout}"
        assert_matches(block.output, finished.stdout, block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_of_a_kind_that_is_checked(page: Path) -> None:
    for block in blocks(page):
        assert block.language in {"python", "console", "toml", "text"}, f"{block}: run by nothing"
        assert block.output is None or block.language in {"python", "console"}, block
        if block.language == "toml":
            tomllib.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_named_in_the_prose_is_there(page: Path) -> None:
    named = set(re.findall(r"`make ([\w-]+)", page.read_text(encoding="utf-8")))
    assert named <= TARGETS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_named_in_the_prose_is_there(page: Path) -> None:
    folders = "benchmarks|docs|examples|spec|src|tests"
    text = page.read_text(encoding="utf-8")
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    made_later = ("src/acme", "docs/assurance/deep.toml")  # by the guide, and by `make deep`
    assert [
        name for name in named if not (ROOT / name).exists() and not name.startswith(made_later)
    ] == []


def test_every_example_is_on_its_page() -> None:
    page = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
    for example in (ROOT / "examples").glob("*.py"):
        assert f"examples/{example.name}" in page
