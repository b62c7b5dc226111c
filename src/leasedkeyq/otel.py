"""An observer for OpenTelemetry: metrics, and a span for each lease.

It needs the extra ``leasedkeyq[otel]``; nothing else imports it. What is done with the metrics and
spans is for the SDK of the program to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TracerProvider,
    get_current_span,
    get_tracer,
)

from ._checks import text
from ._records import Event
from .observing import named

SYSTEM = "leasedkeyq"


class _Lease(NamedTuple):
    began: float
    span: Span


class OpenTelemetryObserver:
    """Counts and times what happens, and traces each lease, for one queue.

    ``name``: of the queue, the attribute ``messaging.destination.name`` of everything.
    ``meter_provider``, ``tracer_provider``: the global ones if left out. ``text_of``: makes a text
    of a key, for spans alone: no metric has a key.

    Metrics: the counters ``leasedkeyq.events`` (with the attribute ``action``: ``put``, ``get``,
    ``ack``, ``expire`` and so on), ``leasedkeyq.deliveries`` and ``leasedkeyq.timeouts``; the
    up-down counter ``leasedkeyq.in_flight``; the histograms ``leasedkeyq.lease.duration`` (with
    ``outcome``) and ``leasedkeyq.wait.duration`` (with ``action`` and ``outcome``), in seconds.

    Spans: ``process NAME``, of kind consumer, from the delivery of a lease to its end, below the
    span that is current where the item is taken, and linked to the one in which it was put.
    The status of one whose lease ran out is an error.
    """

    def __init__(
        self,
        name: str = "queue",
        *,
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        text_of: Callable[[Any], str] = text,
    ) -> None:
        self.name = name
        self._text_of = text_of
        self._attributes = {"messaging.system": SYSTEM, "messaging.destination.name": name}
        meter = get_meter(SYSTEM, meter_provider=meter_provider)
        self._tracer = get_tracer(SYSTEM, tracer_provider=tracer_provider)
        self._events = meter.create_counter("leasedkeyq.events", "{event}", "what happened")
        self._deliveries = meter.create_counter(
            "leasedkeyq.deliveries", "{delivery}", "items that were handed out"
        )
        self._timeouts = meter.create_counter(
            "leasedkeyq.timeouts", "{call}", "calls whose wait was too long"
        )
        self._in_flight = meter.create_up_down_counter(
            "leasedkeyq.in_flight", "{lease}", "leases that are live"
        )
        self._lease_duration = meter.create_histogram(
            "leasedkeyq.lease.duration", "s", "from the delivery of a lease to its end"
        )
        self._wait_duration = meter.create_histogram(
            "leasedkeyq.wait.duration", "s", "how long calls waited that had to"
        )
        self._leases: dict[int, _Lease] = {}  # that are live, by number
        self._calls: dict[int, tuple[float, str]] = {}  # that wait, by ticket: since when, and what
        self._puts: dict[Any, tuple[int, SpanContext]] = {}  # by key: its newest value, and where

    def __call__(self, queue: Any, events: Sequence[Event], /) -> None:
        for event in events:
            self._events.add(1, {**self._attributes, "action": event.action})
            self._take_in(event)

    def _take_in(self, event: Event) -> None:
        action, number, ticket = event.action, event.number, event.ticket
        if action in ("resume", "cancel"):
            self._end_call(event)
        elif ticket is not None and action not in ("reserve", "gone"):
            self._calls[ticket] = event.now, action
        if number is not None and action in ("get", "take", "resume"):
            self._begin_lease(number, event)
        elif number is not None and action in ("ack", "release", "expire"):
            self._end_lease(number, action, event.now)
        elif action in ("close", "end"):
            for live in [*self._leases]:
                self._end_lease(live, "close", event.now)
        elif action == "put" and event.version is not None:
            self._puts.pop(event.key, None)
            context = get_current_span().get_span_context()
            if context.is_valid:
                self._puts[event.key] = event.version, context
        if action in ("ack", "discard") and self._put_of(event) is not None:
            del self._puts[event.key]

    def _put_of(self, event: Event) -> SpanContext | None:
        """In which span the value was put that the event is about, if anybody knows."""
        version, context = self._puts.get(event.key, (None, None))
        return context if version == event.version else None

    def _end_call(self, event: Event) -> None:
        since, action = self._calls.pop(event.ticket or 0, (None, ""))
        if since is None:
            return  # it had its end before
        outcome = "delivered" if event.number is not None else str(event.detail).lower()
        if event.action == "cancel":
            outcome = "cancelled"
        if outcome == "timed_out":
            self._timeouts.add(1, {**self._attributes, "action": action})
        attributes = {**self._attributes, "action": action, "outcome": outcome}
        self._wait_duration.record(event.now - since, attributes)

    def _begin_lease(self, number: int, event: Event) -> None:
        attempt: int = named(event)["attempt"]
        context = self._put_of(event)
        span = self._tracer.start_span(
            f"process {self.name}",
            kind=SpanKind.CONSUMER,
            links=[] if context is None else [Link(context)],
            attributes={
                **self._attributes,
                "leasedkeyq.key": self._text_of(event.key),
                "leasedkeyq.version": event.version or 0,
                "leasedkeyq.lease": number,
                "leasedkeyq.attempt": attempt,
            },
        )
        self._leases[number] = _Lease(event.now, span)
        self._deliveries.add(1, self._attributes)
        self._in_flight.add(1, self._attributes)

    def _end_lease(self, number: int, outcome: str, now: float) -> None:
        lease = self._leases.pop(number, None)
        if lease is None:
            return  # it began before this observer did, or it was never resumed
        self._in_flight.add(-1, self._attributes)
        self._lease_duration.record(now - lease.began, {**self._attributes, "outcome": outcome})
        lease.span.set_attribute("leasedkeyq.outcome", outcome)
        if outcome == "expire":
            lease.span.set_status(StatusCode.ERROR, "the lease ran out")
        lease.span.end()
