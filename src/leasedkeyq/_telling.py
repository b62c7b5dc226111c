"""Who is told what happens: the shell's way to an observer. A part of `Shell`.

An operation is told when it is over, and nothing that comes of the telling can harm it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf, nan
from typing import Any, NoReturn

from ._checks import text
from ._machine import Machine
from ._records import Event, Snapshot


class Telling:
    """Tells the observer, if there is one, what is in the outbox."""

    __slots__ = (
        *("_machine", "_outbox", "_loop"),
        *("_observer", "_telling", "_exact", "_untimed"),
    )

    def __init__(self, machine: Machine, exact: bool) -> None:
        self._machine = machine
        self._outbox = machine.outbox
        self._loop: Any = None  # once the queue has worked in one
        self._telling = False  # the observer is being called
        self._exact = exact  # leases run out, or somebody has asked for ages

    @property
    def observer(self) -> Callable[[Any, list[Event]], object] | None:
        """Who is told what happens, from now on; None for nobody.

        To set it to what can't be called is a TypeError. O(1). Spec: no action.
        """
        return self._observer

    @observer.setter
    def observer(self, observer: Callable[[Any, list[Event]], object] | None) -> None:
        if observer is not None and not callable(observer):
            raise TypeError(f"an observer must be callable, or None, not {text(observer)}")
        self._observer = observer
        self._outbox.events = None if observer is None else []
        # What `soonest` is when there is no need to read the clock. An observer wants the time of
        # everything; nothing equals NaN.
        self._untimed = inf if observer is None and not self._exact else nan

    def _tell_observer(self) -> None:
        """Tell what an operation that is over has done; whatever comes of it is no business of its.

        What is done from within the observer is told when that has returned.
        """
        if self._telling:
            return
        self._telling = True
        try:
            while self._observer is not None and self._outbox.events:
                events, self._outbox.events = self._outbox.events, []
                try:
                    self._observer(self, events)
                except BaseException as error:  # noqa: BLE001 (it is passed on to the loop)
                    self._report(error)
        finally:
            self._telling = False

    def _state(self) -> Snapshot | None:
        """The state that the events have led to that were told so far; None if more are to come.

        For a recorder, so nothing that is due is carried out. O(n).
        """
        return None if self._outbox.events else self._machine.snapshot(-inf)

    def _report(self, error: BaseException) -> None:
        """Have the loop deal with it in a turn of its own, as with an error in a callback."""
        said = f"the observer of {self!r} raised: the operation that it was told of has been done"
        context = {"message": said, "exception": error}
        if self._loop.is_closed():
            self._loop.call_exception_handler(context)
        elif isinstance(error, (SystemExit, KeyboardInterrupt)):
            self._loop.call_soon(_raise, error)
        else:
            self._loop.call_soon(self._loop.call_exception_handler, context)


def _raise(error: BaseException) -> NoReturn:
    raise error
