"""What errors say, word for word: it is what somebody reads in a log at night."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import FrozenInstanceError
from math import inf, nan
from typing import Any

import pytest

from tests.subject import InvalidLeaseError, Lease, LeasedKeyQueue, QueueClosedError, module
from tests.unit.steps import put_leased
from tests.virtual import jump, run, ticks


async def says(operation: Awaitable[object]) -> str:
    try:
        await operation
    except Exception as error:  # noqa: BLE001 (its text is compared)
        return str(error)
    return "nothing"


async def test_what_a_lease_that_has_ended_is_told() -> None:
    queue, other = LeasedKeyQueue[str, int](), LeasedKeyQueue[str, int]()
    acked = await put_leased(queue, "a", 1)
    released = await put_leased(queue, "r", 1)
    expired = await put_leased(queue, "e", 1, lease_timeout=1)
    await queue.ack(acked)
    await queue.release(released)
    jump(1)
    live = await put_leased(queue, "live", 1)
    wrong = Lease(live.token, "k")
    never = Lease("no token", "k")
    texts = {
        acked: f"{acked!r} was acknowledged already: there is nothing left to do",
        released: f"{released!r} was released already: get or take its item anew",
        expired: f"{expired!r} ran out before this call: its item went back to the queue and may be"
        " with another consumer; discard the work, or make it safe to repeat",
        await put_leased(other, "f", 1): "{!r} is another queue's: use it there",
        never: f"{never!r} is not live in this queue: it has ended, or was never granted here",
        wrong: f"{wrong!r} names another key than the one its token was granted for",
    }
    for lease, text in texts.items():
        for use in (queue.ack, queue.release, queue.extend):
            assert await says(use(lease)) == text.format(lease)
    nothing: Any = 3
    assert await says(queue.ack(nothing)) == ("a Lease is needed, as get and take return it, not 3")


async def test_what_a_bad_argument_is_told() -> None:
    queue = LeasedKeyQueue[str, int]()
    lease = await put_leased(queue, "k", 1)
    text: Any = "1"
    uses: dict[str, Callable[[Any], Awaitable[object]]] = {
        "timeout": queue.get,
        "lease_timeout": lambda time: queue.get(lease_timeout=time),
        "default_lease_timeout": lambda time: made(time),
    }
    uses_of_take: dict[str, Callable[[Any], Awaitable[object]]] = {
        "timeout": lambda time: queue.take("k", time),
        "lease_timeout": lambda time: queue.take("k", lease_timeout=time),
    }
    extends = {"timeout": lambda time: queue.extend(lease, time)}
    for name, use in [*uses.items(), *uses_of_take.items(), *extends.items()]:
        assert await says(use(text)) == (f"{name} must be a number of seconds or None, not '1'")
        assert await says(use(nan)) == (f"{name} must be a number of seconds or None, not NaN")
        if name != "timeout" or use in extends.values():
            assert await says(use(0)) == (f"{name} must be more than zero seconds, not 0")
    policy: Any = "never"
    assert await says(queue.put("k", 1, if_in_flight=policy)) == (
        "if_in_flight must be one of ('update', 'reject', 'buffer', 'defer'), not 'never'"
    )


async def made(default: Any) -> object:
    return LeasedKeyQueue(default_lease_timeout=default)


async def test_what_an_operation_is_told_that_cannot_be_done_now() -> None:
    queue = LeasedKeyQueue[str, int]()
    await put_leased(queue, "k", 1)
    assert await says(queue.put("k", 2, if_in_flight="reject")) == (
        "key 'k' is in flight and if_in_flight is 'reject': put it again once its lease has ended,"
        " or choose another policy"
    )
    assert await says(queue.get(0)) == "nothing became available within 0.0 s"
    assert await says(queue.get(1.5)) == "nothing became available within 1.5 s"
    assert await says(queue.take("k", -1)) == ("no copy of key 'k' became available within -1.0 s")
    assert await says(queue.take("new", 2)) == (
        "no copy of key 'new' became available within 2.0 s"
    )
    waiting = asyncio.create_task(queue.get())
    await ticks(1)
    await queue.close()
    with pytest.raises(QueueClosedError) as told:
        await waiting
    assert str(told.value) == "the queue was closed while the call waited"
    assert await says(queue.start()) == (
        "the queue is closed: only the introspection methods still answer"
    )


async def test_what_a_key_is_told_that_calls_the_queue() -> None:
    queue = LeasedKeyQueue[Any, int]()
    told: list[str] = []

    class Key:
        def __hash__(self) -> int:
            with pytest.raises(RuntimeError) as refused:
                queue.put("k", 1).send(None)
            told.append(str(refused.value))
            return 1

    await queue.put(Key(), 1)
    text = (
        "the queue was called from within a key's own __hash__ or __eq__, for which it is waiting;"
        " nothing has changed"
    )
    assert set(told) == {text}


def test_what_another_loop_is_told() -> None:
    queue = LeasedKeyQueue[str, int]()
    run(queue.put("k", 1))
    assert run(says(queue.get())) == (
        f"{queue!r} belongs to the event loop in which it was first used, and this is another:"
        " use one queue for each loop"
    )
    with pytest.raises(TypeError) as refused:
        copy.copy(queue)
    assert (
        str(refused.value) == f"{queue!r} lives in one event loop and cannot be copied or pickled"
    )


def test_what_is_told_to_who_would_change_a_lease() -> None:
    lease: Any = Lease("token", "k")
    with pytest.raises(FrozenInstanceError) as refused:
        lease.key = "l"
    assert str(refused.value) == "cannot assign to field 'key'"
    with pytest.raises(FrozenInstanceError) as refused:
        del lease.token
    assert str(refused.value) == "cannot delete field 'token'"


async def test_a_lease_keeps_its_token_whatever_ends_it() -> None:
    queue = LeasedKeyQueue[str, int]()
    leases = [await put_leased(queue, key, 1, lease_timeout=1) for key in "arec"]
    tokens = [lease.token for lease in leases]
    await queue.ack(leases[0])
    await queue.release(leases[1])
    await queue.extend(leases[3], inf)
    jump(1)
    await queue.close()
    assert [lease.token for lease in leases] == tokens


# -- the parts, which say what went wrong to whoever works on them


def test_a_call_resumes_once() -> None:
    core = module("_core").Core()
    call = core.get(None, None, 0.0)
    with pytest.raises(RuntimeError, match=r"^the call has nothing to resume with: WAITING$"):
        core.resume(call, 0.0)
    core.put("k", 1, "update", 0.0)
    core.resume(call, 0.0)
    late = core.get(1, None, 0.0)
    core.time_out(1.0)
    with pytest.raises(TimeoutError):
        core.resume(late, 1.0)
    for done in (call, late):
        with pytest.raises(RuntimeError, match=r"^the call has nothing to resume with: LEFT$"):
            core.resume(done, 1.0)


def test_what_the_list_and_the_deadlines_say_of_a_node_that_is_not_where_it_should_be() -> None:
    module_of_list, module_of_deadlines = module("_linkedlist"), module("_deadlines")
    linked, node = module_of_list.LinkedList(), module_of_list.Node()
    linked.link_last(node)
    for link in (linked.link_last, linked.link_first):
        with pytest.raises(RuntimeError) as refused:
            link(node)
        assert str(refused.value) == f"{node!r} is linked already"
    stranger = module_of_list.Node()
    with pytest.raises(RuntimeError) as refused:
        linked.unlink(stranger)
    assert str(refused.value) == f"{stranger!r} is not linked here"
    deadlines, timed = module_of_deadlines.Deadlines(), module_of_deadlines.Timed()
    with pytest.raises(RuntimeError) as refused:
        deadlines.remove(timed)
    assert str(refused.value) == f"{timed!r} has no deadline"
    deadlines.add(timed, 1, 0.0)
    with pytest.raises(RuntimeError) as refused:
        deadlines.add(timed, 1, 0.0)
    assert str(refused.value) == f"{timed!r} is linked already"


def test_the_dump_tells_all_that_there_is() -> None:
    core = module("_core").Core()
    for key in ("plain", "waits", "held"):
        core.put(key, key.upper(), "update", 0.0)
    core.take("held", None, None, 0.0)
    core.put("held", "NEW", "defer", 0.0)
    core.take("held", 5, None, 0.0)
    core.put("crowd", 1, "buffer", 0.0)
    core.take("crowd", None, 3, 0.0)
    core.put("crowd", 3, "buffer", 0.0)
    core.release(core.take("waits", None, None, 0.0)[2], True, 0.0)
    assert core.dump().splitlines() == [
        "closed=False due=3.0 alarm=3.0",
        "returned=['waits']",
        "arrived=['plain', 'crowd']",
        "getters=[]",
        "'plain': AVAILABLE waiting='PLAIN' leases=[] takers=[] plain=True",
        "'waits': AVAILABLE waiting='WAITS' leases=[] takers=[] plain=False",
        "'held': DEFERRED waiting='NEW' leases=[(1, <leased>, 'HELD')] takers=[1] plain=False",
        "'crowd': BUFFERED waiting=3 leases=[(2, <leased>, 1)] takers=[] plain=False",
    ]


async def test_unknown_leases_are_all_refused_alike() -> None:
    """A token that looks like one of the queue's and is not."""
    queue = LeasedKeyQueue[str, int]()
    token = (await put_leased(queue, "k", 1)).token
    for other in (token[:-1], f"{token}0", token.upper() + "x", token[:-1] + "g", ""):
        with pytest.raises(InvalidLeaseError):
            await queue.ack(Lease(other, "k"))
    assert await queue.inflight_size() == 1
