"""The reference is complete: each method with its errors, its cost and its place in the spec."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable

import pytest

from docs._ext import assurance, sources
from tests import subject, virtual
from tests.docs.manual import DOCS
from tests.subject import Lease, LeasedKeyQueue

QUEUE = LeasedKeyQueue
Queue = LeasedKeyQueue[str, str]
METHODS = [name for name in dir(QUEUE) if not name.startswith("_")]
NEVER_RAISE = {
    "available_items",
    "available_keys",
    "close",
    "delayed_keys",
    "delayed_size",
    "inflight_keys",
    "inflight_size",
    "qsize",
    "stats",
}
each_method = pytest.mark.parametrize("name", METHODS)


def doc(name: str) -> str:
    return inspect.getdoc(getattr(QUEUE, name)) or ""


def test_every_method_and_every_public_name_is_on_the_page() -> None:
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    directive = r"^\.\. auto\w+:: leasedkeyq\.(?:LeasedKeyQueue\.)?(\w+)$"
    shown = set(re.findall(directive, page, re.MULTILINE))
    public = {name for name in subject.__all__ if name not in {"PACKAGE", "module"}}
    assert shown == public | set(METHODS)
    assert len(METHODS) == 37


@each_method
def test_method_states_its_cost(name: str) -> None:
    assert re.search(r"\bO\([^)]+\)", doc(name))


@each_method
def test_method_states_its_errors(name: str) -> None:
    errors = re.search(r"Raises|Error|QueueFull|QueueEmpty", doc(name))
    refers = doc(name).startswith(f"`{name.removesuffix('_nowait')}`")  # to the coroutine's
    assert bool(errors or refers) != (name in NEVER_RAISE)


@each_method
def test_method_names_its_place_in_the_spec(name: str) -> None:
    (said,) = re.findall(r"Spec: (.*?)\.(?:\s|$)", doc(name).replace("\n", " "))
    named = set(re.findall(r"``(\w+)``", said))
    assert named or said.startswith("no action")
    assert named <= {*assurance.spec_actions(), *sources.spec_definitions()}


AS_ACK = [
    name
    for name in METHODS
    if "Raises as `ack` does" in doc(name).replace("\n", " ") and name != "ack_many"
]


async def acked(queue: Queue, lease: Lease[str]) -> None:
    await queue.ack(lease)


async def released(queue: Queue, lease: Lease[str]) -> None:
    await queue.release(lease)


async def expired(queue: Queue, lease: Lease[str]) -> None:
    await asyncio.sleep(2)


async def closed(queue: Queue, lease: Lease[str]) -> None:
    await queue.close()


@pytest.mark.req("NEW-4")
@pytest.mark.parametrize("name", AS_ACK)
@pytest.mark.parametrize("end", [acked, released, expired, closed])
def test_what_raises_as_ack_does(name: str, end: Callable[..., Awaitable[None]]) -> None:
    async def main() -> None:
        queue = Queue(default_lease_timeout=1)
        await queue.put("key", "value")
        _, _, lease = await queue.get()
        await end(queue, lease)
        errors = []
        for use in (queue.ack, getattr(queue, name)):
            with pytest.raises(subject.LeasedKeyQError) as raised:
                await use(lease)
            errors.append(type(raised.value))
        assert errors[0] is errors[1]

    virtual.run(main())


def test_those_that_look_at_a_lease_raise_as_ack_does() -> None:
    assert {"refresh", "superseded", "deadline"} <= set(AS_ACK)
