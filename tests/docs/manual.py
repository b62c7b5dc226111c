"""The code blocks of the manual, found with the parser that the manual is built with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(page for page in DOCS.rglob("*.md") if "_build" not in page.parts),
    ]
)


@dataclass(frozen=True)
class Block:
    """A fenced block: where its text begins, what it is in, and the output shown below it."""

    page: Path
    line: int
    language: str
    text: str
    output: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def fences(page: Path) -> Iterator[Block]:
    """Every fence of a page that shows something; directives (in braces) are not among them."""
    parser = MarkdownIt("commonmark").enable("table")
    for token in parser.parse(page.read_text(encoding="utf-8")):
        if token.type == "code_block":
            raise ValueError(f"{page}: indented code has no language, use a fence: {token.content}")
        if token.type == "fence" and not token.info.startswith("{"):
            assert token.map is not None
            yield Block(page, token.map[0] + 2, token.info.strip(), token.content)


def blocks(page: Path) -> list[Block]:
    """The fences of a page, each with the output that is shown right after it."""
    found: list[Block] = []
    for block in fences(page):
        if block.language != "output":
            found.append(block)
            continue
        if not found or found[-1].output is not None:
            raise ValueError(f"{block}: output of nothing")
        source = found.pop()
        found.append(Block(page, source.line, source.language, source.text, block.text))
    return found
