"""`Lease` as a value; what a queue makes of it is in test_queue.py."""

import copy
import dataclasses
import gc
import json
import os
import pickle
import runpy
import subprocess
import sys
import textwrap
import typing
import uuid
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import pytest

from tests.subject import PACKAGE, Lease, LeasedKeyQueue, module
from tests.unit.steps import put_leased

lease_module: Any = module("lease")


async def granted() -> Lease[str]:
    return await put_leased(LeasedKeyQueue[str, int](), "k", 1)


# -- the token ------------------------------------------------------------------


@pytest.mark.req("LEASE-1")
async def test_a_token_is_a_uuid_of_version_8() -> None:
    token = (await granted()).token
    assert type(token) is str
    parsed = uuid.UUID(token)
    assert str(parsed) == token
    assert parsed.variant == uuid.RFC_4122
    assert parsed.version == 8


@pytest.mark.req("LEASE-1")
def test_tokens_differ_from_queue_to_queue_and_from_process_to_process() -> None:
    program = (
        "import asyncio, importlib\n"
        f"queues = importlib.import_module({PACKAGE!r})\n"
        "async def main():\n"
        "    for _ in range(100):\n"
        "        queue = queues.LeasedKeyQueue()\n"
        "        await queue.put('k', 1)\n"
        "        print((await queue.get())[2].token)\n"
        "asyncio.run(main())\n"
    )
    tokens = [
        subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert len({*tokens[0], *tokens[1]}) == 200


@pytest.mark.req("LEASE-1")
@pytest.mark.parametrize("looked_at", [False, True])
def test_two_processes_after_a_fork_grant_different_tokens(looked_at: bool) -> None:
    """And the parent does not take what the child grants for its own. (Version 1 did.)

    A lease that both have inherited is still what it was, in each of them.
    """
    program = textwrap.dedent(
        f"""
        import asyncio, importlib, os

        queues = importlib.import_module({PACKAGE!r})
        loop = asyncio.new_event_loop()  # which does not run when the process forks
        run = loop.run_until_complete
        queue = queues.LeasedKeyQueue()
        for key in "abc":
            run(queue.put(key, 1))
        inherited = run(queue.get())[2]
        untouched = run(queue.take("c"))[2]
        {looked_at} and inherited.token
        out, into = os.pipe()
        child = os.fork()
        granted = run(queue.get())[2]
        if child == 0:
            run(queue.ack(inherited))
            os.write(into, granted.token.encode() + untouched.token.encode())
            os._exit(0)
        os.close(into)
        token, same = os.read(out, 36).decode(), os.read(out, 36).decode()
        assert os.waitpid(child, 0)[1] == 0
        assert token != granted.token
        assert same == untouched.token
        try:
            run(queue.ack(queues.Lease(token, "b")))
        except queues.InvalidLeaseError:
            print(len(token), run(queue.inflight_size()))
        run(queue.ack(inherited))
        run(queue.ack(queues.Lease(granted.token, "b")))
        loop.close()
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (done.stderr, done.stdout) == ("", "36 3\n")


@pytest.mark.req("LEASE-1")
@pytest.mark.parametrize("forks", [True, False])
def test_the_issuers_of_a_child_are_renewed_where_a_process_can_fork(
    forks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks: list[Callable[[], None]] = []
    if forks:
        monkeypatch.setattr(
            os, "register_at_fork", lambda after_in_child: hooks.append(after_in_child)
        )
    else:
        monkeypatch.delattr(os, "register_at_fork")
    path = Path(lease_module.__file__).with_name("_tokens.py")
    issuer = runpy.run_path(str(path))["Issuer"]()
    before = issuer.prefix
    for hook in hooks:
        hook()
    assert (issuer.prefix == before) is not forks


@pytest.mark.req("LEASE-1")
async def test_every_random_bit_of_a_token_is_random() -> None:
    """The twelve digits of the number apart, all bits but version and variant take both values."""
    tokens = [uuid.UUID((await granted()).token).int for _ in range(400)]
    for position in range(48, 128):
        values = {token >> position & 1 for token in tokens}
        assert len(values) == (1 if position in (62, 63, *range(76, 80)) else 2), position
    assert {token % 2**48 for token in tokens} == {1}


@pytest.mark.req("LEASE-2")
def test_tokens_sort_as_their_numbers_do() -> None:
    tokens = module("_tokens")
    prefix = tokens.Issuer().prefix
    numbers = [1, 2, 9, 10, 15, 16, 255, 256, 10**6, 2**40, 2**48 - 1]
    made = [tokens.token(prefix, number) for number in numbers]
    assert made == sorted(made)
    assert {len(token) for token in made} == {36}


# -- the value --------------------------------------------------------------------


@pytest.mark.req("LEASE-3")
@pytest.mark.parametrize("original", [False, True])
async def test_a_lease_is_immutable(original: bool) -> None:
    lease: Any = await granted() if original else Lease(token="t", key="k")
    before = lease.token, lease.attempt
    for name in ("token", "key", "attempt"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(lease, name, "other")
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            delattr(lease, name)
    with pytest.raises(AttributeError):
        lease.extra = 1
    with pytest.raises(AttributeError, match="no attribute 'extra'"):
        _ = lease.extra
    assert (lease.token, lease.attempt, lease.key) == (*before, "k")


@pytest.mark.req("LEASE-3")
async def test_leases_are_equal_by_value() -> None:
    lease = await granted()
    rebuilt = Lease(token=lease.token, key="k")
    assert lease == rebuilt
    assert hash(lease) == hash(rebuilt)
    assert len({lease, rebuilt}) == 1
    assert lease != Lease(token=lease.token, key="other")
    assert lease != Lease(token="other", key="k")
    other: Any
    for other in ((lease.token, "k"), "k", None):
        assert lease != other


@pytest.mark.req("LEASE-12", "ATT-1")
async def test_the_attempt_is_told_and_takes_no_part_in_equality() -> None:
    lease = await granted()
    rebuilt, other = Lease(lease.token, "k"), Lease(lease.token, "k", 7)
    assert (lease.attempt, rebuilt.attempt, other.attempt) == (1, 0, 7)
    assert lease == rebuilt == other
    assert len({lease, rebuilt, other}) == 1


@pytest.mark.req("LEASE-3")
def test_a_lease_is_hashable_when_its_key_is() -> None:
    assert isinstance(hash(Lease(token="t", key=(1, 2))), int)
    with pytest.raises(TypeError, match="unhashable"):
        hash(Lease(token="t", key=[1, 2]))


@pytest.mark.req("LEASE-3")
async def test_a_lease_stays_the_same_value_when_it_has_ended() -> None:
    queue = LeasedKeyQueue[str, int]()
    lease = await put_leased(queue, "k", 1)
    before = (lease.token, lease.key, hash(lease), repr(lease))
    await queue.ack(lease)
    assert (lease.token, lease.key, hash(lease), repr(lease)) == before


async def test_a_lease_shows_its_fields() -> None:
    lease = await granted()
    assert repr(lease) == f"Lease(token={lease.token!r}, key='k', attempt=1)"
    assert eval(repr(lease), {"Lease": Lease}) == lease


def plainly(lease: Any) -> Any:
    return lease


def when_looked_at(lease: Any) -> Any:
    assert [lease.token, lease.key, lease.attempt]
    return lease


@pytest.mark.req("LEASE-3")
@pytest.mark.parametrize("prepared", [plainly, when_looked_at])
async def test_a_lease_is_a_frozen_dataclass_to_every_tool(prepared: Any) -> None:
    """Whether its fields have been asked for or not. (Version 1 had a disguise.)"""
    names = ["token", "key", "attempt"]
    assert type(prepared(await granted())) is Lease
    looks_like_one: bool = dataclasses.is_dataclass(Lease)
    assert looks_like_one
    hints = {"token": str, "key": lease_module.K, "attempt": int}
    assert typing.get_type_hints(Lease) == hints
    assert [field.name for field in dataclasses.fields(prepared(await granted()))] == names
    of: Any = vars(Lease)["__dataclass_params__"]
    assert (of.frozen, of.eq, of.order) == (True, True, False)
    for as_values in (dataclasses.astuple, lambda lease: tuple(dataclasses.asdict(lease).values())):
        token, key, attempt = as_values(prepared(await granted()))
        assert (uuid.UUID(token).version, key, attempt) == (8, "k", 1)
    for replace in (dataclasses.replace, getattr(copy, "replace", dataclasses.replace)):
        lease = prepared(await granted())
        other = replace(lease, key="other")
        assert (other.token, other.key, other.attempt) == (lease.token, "other", 1)
    match prepared(await granted()):
        case Lease(token, key, attempt):
            assert (uuid.UUID(token).version, key, attempt) == (8, "k", 1)
        case _:
            pytest.fail("a lease matches the pattern of its fields")


class Envelope(pydantic.BaseModel):
    """A message that carries a lease to another process."""

    lease: Lease[str]


async def test_pydantic_takes_a_lease_for_a_dataclass() -> None:
    lease = await granted()
    text = Envelope(lease=lease).model_dump_json()
    assert json.loads(text) == {"lease": {"token": lease.token, "key": "k", "attempt": 1}}
    back = Envelope.model_validate_json(text).lease
    assert (type(back), back, back.attempt) == (Lease, lease, 1)
    with pytest.raises(pydantic.ValidationError):
        Envelope.model_validate({"lease": {"token": 7}})


@pytest.mark.req("LEASE-4")
async def test_copies_and_pickles_of_a_lease_are_equal_to_it() -> None:
    for lease in (await granted(), Lease(token="t", key=("a", 1), attempt=1)):
        copies = [pickle.loads(pickle.dumps(lease, number)) for number in range(6)]
        copies += [copy.copy(lease), copy.deepcopy(lease)]
        assert {(type(one), one, one.attempt) for one in copies} == {(Lease, lease, 1)}


def test_a_lease_can_be_referenced_weakly() -> None:
    lease = Lease(token="t", key="k")
    watched = weakref.ref(lease)
    assert watched() is lease
    del lease
    assert watched() is None


def test_lease_is_generic() -> None:
    assert Lease[str](token="t", key="k") == Lease(token="t", key="k")


def test_lease_comes_from_its_own_module_too() -> None:
    assert lease_module.Lease is Lease
    assert Lease.__module__ == f"{PACKAGE}.lease"


@pytest.mark.req("COST-5")
async def test_an_ended_lease_keeps_nothing_of_the_queue_alive() -> None:
    """Neither the value, nor one that another copy of the key holds, nor the queue."""

    class Value:
        pass

    gc.disable()
    try:
        queue = LeasedKeyQueue[str, Value]()
        values = [Value(), Value(), Value()]
        watched = [weakref.ref(thing) for thing in (*values, queue)]
        lease = await put_leased(queue, "k", values[0])
        await queue.put("k", values[1], if_in_flight="buffer")
        other = (await queue.get())[2]
        await queue.put("k", values[2], if_in_flight="defer")
        await queue.ack(lease)
        await queue.release(other)
        values.clear()
        del queue
        assert [thing() for thing in watched] == [None] * 4
        assert lease.key == other.key == "k"
    finally:
        gc.enable()


@pytest.mark.req("COST-4")
async def test_a_lease_has_no_dictionary() -> None:
    assert not hasattr(await granted(), "__dict__")
