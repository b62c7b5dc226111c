"""Metrics and traces, by the in-memory exporters of OpenTelemetry."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.subject import LeasedKeyQueue, module
from tests.virtual import quiet, running

otel: Any = module("otel")
Queue = LeasedKeyQueue[Any, Any]


class Telemetry:
    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.spans = InMemorySpanExporter()
        self.meters = MeterProvider([self.reader])
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.tracer = self.tracers.get_tracer("tests")

    def observer(self, **options: Any) -> Any:
        return otel.OpenTelemetryObserver(
            "mails", meter_provider=self.meters, tracer_provider=self.tracers, **options
        )

    def points(self, name: str) -> dict[str, Any]:
        """The points of a metric, by those attributes that are not the queue's."""
        data = self.reader.get_metrics_data()
        assert data is not None
        found = {}
        for resource in data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points if metric.name == name else []:
                        attributes = dict(point.attributes or {})
                        assert attributes.pop("messaging.system") == "leasedkeyq"
                        assert attributes.pop("messaging.destination.name") == "mails"
                        found[" ".join(map(str, attributes.values()))] = point
        return found

    def numbers(self, name: str) -> dict[str, Any]:
        return {what: point.value for what, point in self.points(name).items()}

    def times(self, name: str) -> dict[str, tuple[int, float]]:
        points = self.points(name)
        return {what: (point.count, point.sum) for what, point in points.items()}

    def ended(self) -> list[Any]:
        return [span for span in self.spans.get_finished_spans() if span.name == "process mails"]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    telemetry = Telemetry()
    yield telemetry
    telemetry.meters.shutdown()
    telemetry.tracers.shutdown()


async def test_the_metrics(telemetry: Telemetry) -> None:
    queue = Queue(observer=telemetry.observer())
    for key in "abcd":
        await queue.put(key, 1)
    _, _, lease = await queue.get()
    assert telemetry.numbers("leasedkeyq.in_flight") == {"": 1}
    await asyncio.sleep(2)
    await queue.ack(lease)
    _, _, lease = await queue.get()
    await asyncio.sleep(3)
    await queue.release(lease)
    await queue.get(lease_timeout=4)
    await asyncio.sleep(5)
    await queue.qsize()
    await queue.take("d")
    running().jump(6)
    await queue.close()
    assert telemetry.numbers("leasedkeyq.events") == {
        "init": 1,
        "put": 4,
        "get": 3,
        "take": 1,
        "ack": 1,
        "release": 1,
        "expire": 1,
        "close": 1,
    }
    assert telemetry.numbers("leasedkeyq.deliveries") == {"": 4}
    assert telemetry.numbers("leasedkeyq.in_flight") == {"": 0}
    assert telemetry.times("leasedkeyq.lease.duration") == {
        "ack": (1, 2),
        "release": (1, 3),
        "expire": (1, 5),
        "close": (1, 6),
    }


async def test_how_long_calls_waited(telemetry: Telemetry) -> None:
    queue = Queue(observer=telemetry.observer(), maxsize=1)
    getting = asyncio.create_task(queue.get())
    await asyncio.sleep(1)
    await queue.put("a", 1)
    _, _, lease = await getting
    putting = asyncio.create_task(queue.put("b", 1))
    leaving = asyncio.create_task(queue.take("c"))
    with pytest.raises(TimeoutError):
        await queue.get(2)
    await queue.ack(lease)
    await putting
    leaving.cancel()
    joining = asyncio.create_task(queue.join())
    await quiet()
    await queue.close()
    await asyncio.wait([leaving, joining])
    with suppress(Exception):
        await joining
    times = telemetry.times("leasedkeyq.wait.duration")
    assert {what: (n, round(time, 3)) for what, (n, time) in times.items()} == {
        "get delivered": (1, 1),
        "get timed_out": (1, 2),
        "put reserved": (1, 2),
        "take cancelled": (1, 2),
        "join ended": (1, 0),
    }
    assert telemetry.numbers("leasedkeyq.timeouts") == {"get": 1}


async def test_a_span_for_each_lease(telemetry: Telemetry) -> None:
    queue = Queue(observer=telemetry.observer())
    with telemetry.tracer.start_as_current_span("producer") as producer:
        await queue.put("a", 1)
        put_in = producer.get_span_context()
    with telemetry.tracer.start_as_current_span("consumer") as consumer:
        _, _, lease = await queue.get()
        took_in = consumer.get_span_context()
    await queue.release(lease)
    await queue.get(lease_timeout=1)
    await asyncio.sleep(2)
    await queue.qsize()
    _, _, lease = await queue.get()
    await queue.ack(lease)
    first, second, third = telemetry.ended()
    assert first.kind is SpanKind.CONSUMER
    assert first.parent == took_in
    assert [span.links[0].context for span in (first, second, third)] == [put_in] * 3
    assert first.attributes == {
        "messaging.system": "leasedkeyq",
        "messaging.destination.name": "mails",
        "leasedkeyq.key": "'a'",
        "leasedkeyq.version": 1,
        "leasedkeyq.lease": 1,
        "leasedkeyq.attempt": 1,
        "leasedkeyq.outcome": "release",
    }
    assert [span.attributes["leasedkeyq.attempt"] for span in (second, third)] == [2, 3]
    statuses = [span.status.status_code for span in (first, second, third)]
    assert statuses == [StatusCode.UNSET, StatusCode.ERROR, StatusCode.UNSET]
    assert second.attributes["leasedkeyq.outcome"] == "expire"
    assert second.status.description == "the lease ran out"


async def test_a_span_is_linked_to_the_put_of_its_own_value(telemetry: Telemetry) -> None:
    observer = telemetry.observer(text_of=lambda key: f"<{key}>")
    queue = Queue(observer=observer, if_in_flight="defer")
    contexts = []
    leases = []
    for number in range(3):
        with telemetry.tracer.start_as_current_span(f"put {number}") as span:
            await queue.put("a", number)
            contexts.append(span.get_span_context())
        if number == 0:
            leases.append((await queue.get())[2])
    await queue.ack(leases[0])
    _, value, second = await queue.get()
    assert value == 2
    await queue.put("b", 0)  # in no span
    with telemetry.tracer.start_as_current_span("put c"):
        await queue.put("c", 0)
    _, _, third = await queue.get()
    await queue.discard("c")
    await queue.ack(second)
    await queue.ack(third)
    links = [[link.context for link in span.links] for span in telemetry.ended()]
    assert links == [[contexts[0]], [contexts[2]], []]
    assert telemetry.ended()[0].attributes["leasedkeyq.key"] == "<a>"
    assert (observer._puts, observer._leases, observer._calls) == ({}, {}, {})


async def test_what_began_before_it_is_passed_over(telemetry: Telemetry) -> None:
    queue = Queue()
    await queue.put("a", 1)
    getting = asyncio.create_task(queue.take("b", 5))
    _, _, lease = await queue.get()
    await quiet()
    queue.observer = telemetry.observer()
    await queue.ack(lease)
    getting.cancel()
    await asyncio.wait([getting])
    assert telemetry.ended() == []
    assert telemetry.numbers("leasedkeyq.events") == {"ack": 1, "cancel": 1}
    assert telemetry.points("leasedkeyq.wait.duration") == {}
