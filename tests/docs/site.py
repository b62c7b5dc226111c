"""The manual as built: complete, with no dead link, and asking nothing of any other host.

    pytest tests/docs/site.py

builds it into docs/_build, which needs the packages of requirements/deep.txt.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.manual import DOCS, ROOT

# What makes a browser load something, and the attribute that says from where.
LOADS = {"img": "src", "script": "src", "link": "href", "iframe": "src", "source": "src"}


class Page(HTMLParser):
    """The links of a page, the anchors that it offers, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value for name, value in attrs if value is not None}
        self.anchors.update(found[name] for name in ("id", "name") if name in found)
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in LOADS and LOADS[tag] in found and found.get("rel") != "canonical":
            self.loads.append(found[LOADS[tag]])


@pytest.fixture(scope="module")
def site() -> dict[Path, Page]:
    """The pages of a strict build."""
    target = DOCS / "_build"
    shutil.rmtree(target, ignore_errors=True)
    command = ["-m", "sphinx", "--fail-on-warning", "--keep-going", "--nitpicky", "--quiet"]
    run = subprocess.run(
        [sys.executable, *command, str(DOCS), str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    pages = {path: Page(path) for path in target.rglob("*.html")}
    assert len(pages) > 20
    return pages


def test_every_local_link_leads_somewhere(site: dict[Path, Page]) -> None:
    dead = []
    for path, page in site.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = site[target].anchors if target in site else {unquote(parts.fragment)}
            if not target.is_file() or unquote(parts.fragment) not in anchors:
                dead.append((path.name, link))
    assert dead == []


def test_the_reference_leads_to_the_code(site: dict[Path, Page]) -> None:
    text = (DOCS / "_build" / "reference.html").read_text(encoding="utf-8")
    shown = re.findall(r'<dl class="py (?:class|exception|method)"', text)
    assert len(shown) > 50
    assert len(re.findall(r'href="source/src/[^"]+">Source<', text)) == len(shown)


def test_nothing_is_loaded_from_another_host(site: dict[Path, Page]) -> None:
    loaded = [(path.name, url) for path, page in site.items() for url in page.loads]
    assert len(loaded) > len(site)
    assert [
        (name, url)
        for name, url in loaded
        if urlsplit(url).scheme not in {"", "data"} or urlsplit(url).netloc
    ] == []


def test_styles_load_nothing_from_another_host(site: dict[Path, Page]) -> None:
    root = next(path for path in site if path.name == "index.html").parent
    styles = list((root / "_static").rglob("*.css"))
    assert styles
    for style in styles:
        text = style.read_text(encoding="utf-8")
        assert "@import" not in text
        assert "url(http" not in text.replace('"', "").replace("'", "")


def test_every_page_is_reached_from_the_front(site: dict[Path, Page]) -> None:
    front = next(path for path in site if path.name == "index.html" and path.parent.name != "howto")
    reached = {
        (front.parent / unquote(urlsplit(link).path)).resolve() for link in site[front].links
    }
    written = {
        path
        for path in site
        if path.name not in {"genindex.html", "search.html"} and "source" not in path.parts
    }
    assert {path.name for path in written - reached} <= {"index.html", "py-modindex.html"}
