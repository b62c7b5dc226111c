"""Virtual time: the clock jumps to the next timer, and a program that waits for ever is an error."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import async_solipsism

T = TypeVar("T")


def run(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
    """`asyncio.run` in virtual time."""
    with asyncio.Runner(debug=debug, loop_factory=async_solipsism.EventLoop) as runner:
        return runner.run(main)
