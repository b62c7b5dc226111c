"""Observers: who is told what happens to a queue, by its events; and two that are ready made.

An observer is called when an operation is over, with what came of it. Nothing here knows more of a
queue than its events tell. (`recording` keeps them, `otel` counts and traces by them.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from logging import DEBUG, WARNING, Logger, getLogger
from typing import Any, Final, Protocol

from ._checks import text
from ._records import Event

WITHOUT_KEY: Final = {"get", "resume", "cancel", "gone"}  # unless they are about a copy


class Observer(Protocol):
    """Whatever can be called as ``observer(queue, events)``.

    ``events`` is what came of one operation, in order, and never empty: the steps that were due
    before it (``expire``, ``ripen``), the operation itself, and what it led to (``reserve``). An
    operation that is refused, or only looks, tells nothing of itself. The observer is called before
    the operation returns to its caller, so it should be quick. It may use the queue: it is told of
    that when it has returned.
    """

    def __call__(self, queue: Any, events: Sequence[Event], /) -> object: ...


class Observers:
    """Several observers as one, each of which is told, whatever becomes of the others.

    If one raises, its error comes out when all have been told; if several do, as a group.
    """

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    def __call__(self, queue: Any, events: Sequence[Event], /) -> None:
        errors = []
        for observer in self.observers:
            try:
                observer(queue, events)
            except BaseException as error:  # noqa: BLE001 (it is raised when all had their turn)
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        if errors:
            raise BaseExceptionGroup("several observers raised", errors)


class LogObserver:
    """Writes each event to a logger of the standard library, in one line.

    ``name``: of the queue, in front of each line. ``levels``: by action; what is not in it is
    logged as ``level``. By default a lease that ran out is a warning, and the rest is for
    debugging. The fields of the event are in the record as ``event``, for a formatter that wants
    them.
    """

    def __init__(
        self,
        name: str = "queue",
        *,
        logger: Logger | None = None,
        level: int = DEBUG,
        levels: Mapping[str, int] | None = None,
    ) -> None:
        self.name = name
        self.logger = getLogger(__name__) if logger is None else logger
        self.level = level
        self.levels = {"expire": WARNING} if levels is None else {**levels}

    def __call__(self, queue: Any, events: Sequence[Event], /) -> None:
        for event in events:
            level = self.levels.get(event.action, self.level)
            if self.logger.isEnabledFor(level):
                fields = named(event)
                line = " ".join(
                    f"{name}={text(value) if name == 'key' else value}"
                    for name, value in fields.items()
                    if name not in ("action", "time")
                )
                extra = {"event": fields}
                self.logger.log(level, "%s: %s %s", self.name, event.action, line, extra=extra)


def named(event: Event) -> dict[str, Any]:
    """What an event says, each part under a name of its own; what it does not say is left out.

    ``action`` and ``time`` always; ``key``; ``version`` of the value that it is about, ``lease`` as
    the number of the grant, ``ticket`` of a call that waits; of a put ``policy`` and ``delay``; of
    a call that begins to wait how long it will ``wait``; of a lease its ``duration`` and
    ``attempt``; of a release ``front`` and ``delay``; of a call that resumes with nothing, or is
    cancelled, its ``outcome``; of a drain that need not wait whether it has ``drained``.
    """
    action, now, key, version, number, ticket, detail = event
    fields: dict[str, Any] = {"action": action, "time": now}
    about = version is not None or number is not None
    if about or (key is not None and action not in WITHOUT_KEY) or action in ("put", "take"):
        fields["key"] = key
    numbers = {"version": version, "lease": number, "ticket": ticket}
    fields |= {name: value for name, value in numbers.items() if value is not None}
    match action, detail:
        case "init", (lease_timeout, maxsize, policy):
            fields |= {"lease_timeout": lease_timeout, "maxsize": maxsize, "policy": policy}
        case "put", (wait, (policy, delay)):
            fields |= {"wait": wait, "policy": policy, "delay": delay}
        case "put", (policy, delay):
            fields |= {"policy": policy, "delay": delay}
        case "get" | "take" | "resume", (duration, attempt) if number is not None:
            fields |= {"duration": duration, "attempt": attempt}
        case "get" | "take", (wait, duration):
            fields |= {"wait": wait, "duration": duration}
        case "resume" | "cancel", outcome:
            fields["outcome"] = outcome
        case "drain", (wait, drained) if ticket is None:
            fields |= {"wait": wait, "drained": drained}
        case "join" | "drain", (wait, _):
            fields["wait"] = wait
        case "release", (front, delay):
            fields |= {"front": front, "delay": delay}
        case "extend", duration:
            fields["duration"] = duration
    return fields
