"""A core that writes down what it does: one line of JSON for each operation.

It is a subclass, so the core itself knows nothing of it and pays nothing for it. `record` puts
it into a queue; `python -m tests.conformance.traces FILE` holds what was written against the
specification.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.subject import module

Write = Callable[[str], object]

Core: Any = module("_core").Core

# Not expire: every operation and every look expires what is due.
OPERATIONS = (
    *("put", "get", "take", "resume", "cancel", "time_out", "ack", "release", "extend", "close"),
)


class RecordingCore(Core):  # type: ignore[misc]
    """The core, with ``write`` called for each operation when it is over.

    Calls are numbered in the order in which they are made, and leases bear the number of
    their call. A lease that is not the very object that was granted is marked as rebuilt.
    Keys and values that JSON can't hold are written as `str` has them.
    """

    __slots__ = ("_calls_made", "_cancelling", "_depth", "_granted", "_number_of", "_write")

    def __init__(self, write: Write, default_lease_timeout: float | None = None) -> None:
        super().__init__(default_lease_timeout)
        self._write = write
        self._depth = 0
        self._calls_made = 0
        self._cancelling: Any = None
        self._number_of: dict[Any, int] = {}  # of calls, and of tokens
        self._granted: dict[Any, Any] = {}  # leases, by token

    def _record(self, operation: str, arguments: tuple[Any, ...], now: float) -> Any:
        event: dict[str, Any] = {"op": operation, "now": now}
        if operation in ("get", "take"):
            self._calls_made += 1
            event["call"] = self._calls_made
            *key, event["wait"], event["lease_time"] = arguments
            if event["lease_time"] is None:
                event["lease_time"] = self._default
            if key:
                (event["key"],) = key
        elif operation in ("resume", "cancel"):
            event["call"] = self._number_of.get(arguments[0])
            self._cancelling = arguments[0] if operation == "cancel" else None
            if arguments[0].outcome.name not in ("WAITING", "RESERVED"):
                event = {}  # the call was over before: timed out, closed, or left out
        elif operation in ("ack", "release", "extend"):
            token = getattr(arguments[0], "token", None)
            event["lease"] = self._number_of.get(token)
            if self._granted.get(token) is not arguments[0]:
                event["rebuilt"] = True
            if len(arguments) == 2:
                event["how"] = arguments[1]
        elif operation == "put":
            event["key"], event["value"], event["policy"] = arguments
        self._depth += 1
        try:
            result = getattr(super(), operation)(*arguments, now)
        except Exception as error:
            event["error"] = type(error).__name__
            raise
        else:
            if type(result) is tuple:
                key, value, lease = result
                self._number_of[lease.token] = event["call"]
                self._granted[lease.token] = lease
                event["got"] = [key, value, int(lease.token[-12:], 16)]
            elif operation in ("get", "take"):
                self._number_of[result] = event["call"]
            return result
        finally:
            self._depth -= 1
            if operation == "cancel":  # the queue does not keep the call either
                self._number_of.pop(arguments[0], None)
                self._cancelling = None
            if "op" in event and not self._depth:
                self._write(json.dumps(event, default=str))

    def _dismiss(self, call: Any) -> None:
        if call.caller.cancelled() and call is not self._cancelling:
            # It leaves the queue here, before the operation that would have served it.
            number = self._number_of.pop(call)
            self._write(json.dumps({"op": "cancel", "call": number, "now": None}))
        super()._dismiss(call)

    def look(self, now: float) -> None:
        """Record what introspection shows."""
        available = sorted(map(str, self.available_keys(now)))
        inflight = sorted(map(str, self.inflight_keys(now)))
        sizes = [self.qsize(now), self.inflight_size(now)]
        event = {"op": "look", "now": now, "shows": [available, inflight, *sizes]}
        self._write(json.dumps(event))


def _recorded(operation: str) -> Any:
    def method(self: RecordingCore, *arguments: Any) -> Any:
        if self._depth:
            return getattr(super(RecordingCore, self), operation)(*arguments)
        return self._record(operation, arguments[:-1], arguments[-1])

    return method


for _name in OPERATIONS:
    setattr(RecordingCore, _name, _recorded(_name))


def record(queue: Any, write: Write) -> None:
    """Have a queue that was not used yet write down what it does."""
    queue._core = RecordingCore(write, queue._core._default)
