"""Whatever can be driven through the specification's steps: the core, the model, the shell.

A machine carries out one labelled step after another and tells its state in the terms of
`graph.read_state`. Values are numbers that rise with every put, so of two values of a key the
greater is the newer.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any

from tests.conformance.graph import Label, Seen
from tests.model.model import ANY, Lease, Model
from tests.subject import module

LEASE_TIME = {"c1": 1, "c2": 2}
WAIT_TIME = {"c1": None, "c2": 1}
TIMES = {"Same": None, "Never": inf, "2": 2}


class Machine(ABC):
    """Drives something with the core's operations."""

    make: Any  # the class of what is driven

    def __init__(self) -> None:
        self.it = self.make()
        self.now = 0.0
        self.puts = 0
        self.calls: dict[str, Any] = {}
        self.leases: dict[str, Any] = {}

    def do(self, label: Label) -> None:
        """Carry out one step; raises what the operation raises."""
        operation, *arguments = label
        getattr(self, operation)(*arguments)

    def follow(self, labels: Iterable[Label]) -> Machine:
        for label in labels:
            self.do(label)
        return self

    def put(self, key: str, policy: str) -> None:
        self.it.put(key, self.puts + 1, policy, self.now)
        self.puts += 1

    def get(self, call: str) -> None:
        self._called(call, self.it.get(WAIT_TIME[call], LEASE_TIME[call], self.now))

    def take(self, call: str, key: str) -> None:
        self._called(call, self.it.take(key, WAIT_TIME[call], LEASE_TIME[call], self.now))

    def _called(self, call: str, outcome: Any) -> None:
        if type(outcome) is tuple:
            self.leases[call] = outcome[2]
        else:
            self.calls[call] = outcome

    def resume(self, call: str) -> None:
        self.leases[call] = self.it.resume(self.calls.pop(call), self.now)[2]

    def cancel(self, call: str) -> None:
        self.it.cancel(self.calls.pop(call), self.now)
        self.it.expire(self.now)  # a call that only waited leaves that to whoever looks next

    def time_out(self) -> None:
        self.it.time_out(self.now)
        self._ends_with("TimeoutError")

    def ack(self, lease: str) -> None:
        self.it.ack(self._lease(lease), self.now)

    def release(self, lease: str, place: str) -> None:
        self.it.release(self._lease(lease), place == "front", self.now)

    def extend(self, lease: str, time: str) -> None:
        self.it.extend(self._lease(lease), TIMES[time], self.now)

    def expire(self) -> None:
        self.it.expire(self.now)

    def close(self) -> None:
        self.it.close(self.now)
        self._ends_with("QueueClosedError")

    def tick(self) -> None:
        self.now += 1

    def _lease(self, call: str) -> Any:
        """The last lease of a call; if it never had one, a lease of another queue."""
        return self.leases[call] if call in self.leases else self.stranger()

    def _ends_with(self, error: str) -> None:
        """The calls whose wait has just ended raise this when they resume."""
        for name, call in [*self.calls.items()]:
            if self.is_over(call):
                del self.calls[name]
                try:
                    self.it.resume(call, self.now)
                except Exception as raised:  # noqa: BLE001 (it is compared)
                    came_to = type(raised).__name__
                else:
                    came_to = "a lease"
                assert came_to == error, f"{name} came to {came_to}, and not to {error}"

    def introspection(self) -> str:
        def in_order(keys: set[str]) -> str:
            return "{" + ", ".join(sorted(keys)) + "}"

        it, now = self.it, self.now
        return (
            f"<<{in_order(it.available_keys(now))}, {in_order(it.inflight_keys(now))}, "
            f"{it.qsize(now)}, {it.inflight_size(now)}>>"
        )

    @property
    def seen(self) -> Seen:
        """The state, with each value replaced by its rank among those of its key."""
        returned, arrived = [*self.returned()], [*self.arrived()]
        flight, deferred = [*self.flight()], self.deferred()
        values: dict[str, set[int]] = {}
        for key, value in (*returned, *arrived, *((f[1], f[3]) for f in flight), *deferred.items()):
            values.setdefault(key, set()).add(value)

        def rank(key: str, value: int) -> int:
            return sorted(values[key]).index(value) + 1

        return (
            tuple((key, rank(key, value)) for key, value in returned),
            tuple((key, rank(key, value)) for key, value in arrived),
            tuple((call, key, left, rank(key, value)) for call, key, left, value in flight),
            {key: rank(key, value) for key, value in deferred.items()},
            tuple(self.waiting()),
            self.is_open(),
        )

    def _names(self, named: dict[str, Any]) -> dict[int, str]:
        return {id(thing): name for name, thing in named.items()}

    def _left(self, deadline: float) -> object:
        return "Never" if deadline == inf else int(deadline - self.now)

    def check(self) -> None:  # noqa: B027 (there may be nothing to check)
        """Whatever it can check about itself."""

    @abstractmethod
    def stranger(self) -> Any:
        """A lease of another queue."""

    @abstractmethod
    def is_over(self, call: Any) -> bool: ...
    @abstractmethod
    def is_open(self) -> bool: ...
    @abstractmethod
    def returned(self) -> Iterator[tuple[str, int]]: ...
    @abstractmethod
    def arrived(self) -> Iterator[tuple[str, int]]: ...
    @abstractmethod
    def flight(self) -> Iterator[tuple[str, str, object, int]]: ...
    @abstractmethod
    def deferred(self) -> dict[str, int]: ...
    @abstractmethod
    def waiting(self) -> Iterator[tuple[str, object, str]]: ...


class CoreMachine(Machine):
    """The implementation's core, looked into."""

    make = module("_core").Core

    def stranger(self) -> Any:
        other = self.make()
        other.put("k1", 0, "update", 0)
        return other.get(None, None, 0)[2]

    def is_over(self, call: Any) -> bool:
        return call.outcome.name in ("TIMED_OUT", "CLOSED")

    def is_open(self) -> bool:
        return not self.it._closed

    def returned(self) -> Iterator[tuple[str, int]]:
        return ((copy._key, copy._value) for copy in self.it._returned)

    def arrived(self) -> Iterator[tuple[str, int]]:
        return ((copy._key, copy._value) for copy in self.it._arrived)

    def flight(self) -> Iterator[tuple[str, str, object, int]]:
        calls, leases = self._names(self.calls), self._names(self.leases)
        for lease in self.it._leases.values():
            if lease._standing is self.it._leased:
                deadline = inf if lease._list is None else lease._deadline
                yield leases[id(lease)], lease._key, self._left(deadline), lease._value
            else:
                yield calls[id(lease._standing)], lease._key, "Reserved", lease._value

    def deferred(self) -> dict[str, int]:
        items = {key: anchor._item for key, anchor in self.it._keys.items()}
        return {
            key: item.deferred
            for key, item in items.items()
            if item is not None and isinstance(item.deferred, int)
        }

    def waiting(self) -> Iterator[tuple[str, object, str]]:
        names = self._names(self.calls)
        for call in self.it._calls.values():
            left = "Never" if call.alarm is None else max(0, int(call.alarm._deadline - self.now))
            yield names[id(call)], left, "AnyKey" if call.item is None else call.item.key

    def check(self) -> None:
        self.it.check_invariants()


class ModelMachine(Machine):
    """The reference model."""

    make = Model

    def stranger(self) -> Any:
        return Lease(-1, "k1")

    def is_over(self, call: Any) -> bool:
        return call.error is not None

    def is_open(self) -> bool:
        return not self.it.closed

    def returned(self) -> Iterator[tuple[str, int]]:
        return ((copy.key, copy.value) for copy in self.it.returned)

    def arrived(self) -> Iterator[tuple[str, int]]:
        return ((copy.key, copy.value) for copy in self.it.arrived)

    def flight(self) -> Iterator[tuple[str, str, object, int]]:
        calls = {id(call.grant): name for name, call in self.calls.items()}
        leases = {lease: name for name, lease in self.leases.items()}
        for grant in self.it.grants.values():
            if id(grant) in calls:
                yield calls[id(grant)], grant.copy.key, "Reserved", grant.copy.value
            else:
                name = leases[grant.lease]
                yield name, grant.copy.key, self._left(grant.deadline), grant.copy.value

    def deferred(self) -> dict[str, int]:
        return {key: copy.value for key, copy in self.it.deferred.items()}

    def waiting(self) -> Iterator[tuple[str, object, str]]:
        names = self._names(self.calls)
        for call in self.it.calls:
            if not call.grant and not call.error:
                left = "Never" if call.deadline == inf else max(0, int(call.deadline - self.now))
                yield names[id(call)], left, "AnyKey" if call.key is ANY else call.key
