"""`Lease` as a value; what a queue makes of it is in test_queue.py."""

import copy
import dataclasses
import gc
import pickle
import re
import subprocess
import sys
import uuid
import weakref
from typing import Any

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
def test_every_random_bit_of_a_token_is_random() -> None:
    """The twelve digits of the number apart, all bits but version and variant take both values."""
    prefixes = [lease_module.new_prefix() for _ in range(400)]
    bits = [int((prefix + "0" * 12).replace("-", ""), 16) for prefix in prefixes]
    for position in range(48, 128):
        values = {bit >> position & 1 for bit in bits}
        assert len(values) == (1 if position in (62, 63, *range(76, 80)) else 2), position
    assert len(set(prefixes)) == 400


@pytest.mark.req("LEASE-2")
def test_tokens_sort_as_their_numbers_do() -> None:
    prefix = lease_module.new_prefix()
    numbers = [1, 2, 9, 10, 15, 16, 255, 256, 10**6, 2**40, 2**48 - 1]
    tokens = [lease_module.make_token(prefix, number) for number in numbers]
    assert tokens == sorted(tokens)
    assert {len(token) for token in tokens} == {36}
    for number, token in zip(numbers, tokens, strict=True):
        assert lease_module.parse_token(prefix, token) == number


@pytest.mark.req("LEASE-5")
@pytest.mark.parametrize(
    "digits",
    ["", "1", "0x0000000001", "+00000000001", "00000000000G", " 00000000001", "0_0000000001"],
)
def test_nothing_but_a_token_parses_as_one(digits: str) -> None:
    prefix = lease_module.new_prefix()
    assert lease_module.parse_token(prefix, prefix + digits) is None


@pytest.mark.req("LEASE-5")
@pytest.mark.parametrize("token", [None, 7, b"0" * 36, ("token",)])
def test_what_is_no_string_is_no_token(token: object) -> None:
    assert lease_module.parse_token(lease_module.new_prefix(), token) is None


# -- the value --------------------------------------------------------------------


@pytest.mark.req("LEASE-3")
@pytest.mark.parametrize("original", [False, True])
async def test_a_lease_is_immutable(original: bool) -> None:
    lease: Any = await granted() if original else Lease(token="t", key="k")
    token = lease.token
    for name in ("token", "key"):
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            setattr(lease, name, "other")
        with pytest.raises(dataclasses.FrozenInstanceError, match=name):
            delattr(lease, name)
    with pytest.raises(AttributeError):
        lease.extra = 1
    assert (lease.token, lease.key) == (token, "k")


@pytest.mark.req("LEASE-3")
async def test_leases_are_equal_by_value() -> None:
    lease = await granted()
    rebuilt = Lease(token=lease.token, key="k")
    assert lease == rebuilt
    assert hash(lease) == hash(rebuilt)
    assert len({lease, rebuilt}) == 1
    assert lease != Lease(token=lease.token, key="other")
    assert lease != Lease(token="other", key="k")
    assert lease != (lease.token, "k")
    assert (lease == "k") is False


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


async def test_a_lease_shows_its_two_fields() -> None:
    lease = await granted()
    assert repr(lease) == f"Lease(token={lease.token!r}, key='k')"
    assert eval(repr(lease), {"Lease": Lease}) == lease


@pytest.mark.req("LEASE-3")
async def test_a_lease_is_a_dataclass_to_look_at() -> None:
    lease: Any = await granted()
    looks_like_one: bool = dataclasses.is_dataclass(Lease)
    assert looks_like_one
    assert [field.name for field in dataclasses.fields(lease)] == ["token", "key"]
    assert dataclasses.asdict(lease) == {"token": lease.token, "key": "k"}
    assert dataclasses.astuple(lease) == (lease.token, "k")
    assert dataclasses.replace(lease, key="other") == Lease(token=lease.token, key="other")
    match lease:
        case Lease(token, key):
            assert (token, key) == (lease.token, "k")
        case _:
            pytest.fail("a lease matches the pattern of its fields")


@pytest.mark.req("LEASE-4")
def test_copies_and_pickles_of_a_lease_are_equal_to_it() -> None:
    lease = Lease(token="t", key=("a", 1))
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(lease, protocol)) == lease
    assert copy.copy(lease) == copy.deepcopy(lease) == lease


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


def test_a_standing_shows_its_name() -> None:
    assert re.fullmatch(r"<leased>", repr(lease_module.Standing("leased", "prefix")))
