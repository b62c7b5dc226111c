"""The checks of the manual notice when it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.manual import blocks
from tests.docs.test_code_blocks import assert_matches, run_console, run_python

PAGE = """
```python
import asyncio
print("one")
```

```output
one
```

1. In a list:

   ```console
   $ echo two
   ```

```{note}
Not code.
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE)
    return path


def test_blocks_are_found_with_their_output(page: Path) -> None:
    first, second = blocks(page)
    assert (first.language, first.text, first.output, first.line) == (
        "python",
        'import asyncio\nprint("one")\n',
        "one\n",
        3,
    )
    assert (second.language, second.text, second.output) == ("console", "$ echo two\n", None)


def test_python_is_run_with_the_lines_of_the_page(page: Path) -> None:
    page.write_text("text\n\n```python\n\n1 / 0\n```\n")
    (block,) = blocks(page)
    with pytest.raises(ZeroDivisionError) as caught:
        run_python(block, {})
    assert (caught.traceback[-1].lineno, str(caught.traceback[-1].path)) == (4, str(page))


@pytest.mark.parametrize(
    ("shown", "printed", "matches"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\n", "a\nb\n", False),
        ("a\nb\n", "a\n", False),
        (None, "a\n", False),
        (None, "", True),
        ("at ... s\n", "at 5 s\n", True),
        ("at ... s\n", "at\n5 s\n", False),
        ("a\n...\nz\n", "a\nb\nc\nz\n", True),
        ("a\n...\nz\n", "a\nb\nc\ny\n", False),
        ("a.c\n", "abc\n", False),
    ],
)
def test_output_is_compared(page: Path, shown: str | None, printed: str, matches: bool) -> None:
    (block, _) = blocks(page)
    if matches:
        assert_matches(shown, printed, block)
    else:
        with pytest.raises(AssertionError, match="prints something else"):
            assert_matches(shown, printed, block)


@pytest.mark.parametrize(
    ("commands", "complaint"),
    [
        ("$ false\n", "fails"),
        ("$ make no-such-thing\n", "has no target no-such-thing"),
        ("$ make test\n$ ls\n", "all of it here, or nothing"),
        ("ls\n", "after '\\$ '"),
    ],
)
def test_console_is_run(page: Path, commands: str, complaint: str) -> None:
    (page.parent / "yours").mkdir()
    page.write_text(f"```console\n{commands}```\n")
    (block,) = blocks(page)
    with pytest.raises(AssertionError, match=complaint):
        run_console(block, page.parent)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("```output\na\n```\n", "output of nothing"), ("text\n\n    indented\n", "no language")],
)
def test_what_cannot_be_checked_is_refused(page: Path, text: str, complaint: str) -> None:
    page.write_text(text)
    with pytest.raises(ValueError, match=complaint):
        blocks(page)
