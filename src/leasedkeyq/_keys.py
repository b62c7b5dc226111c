"""The keys that the queue knows: the only place where a key's own code runs.

`__hash__` and `__eq__` of a key are the user's. They may raise, and they may call the queue, which
refuses while an operation is under way; so an operation looks its key up before it changes
anything, and an error that passes through leaves the queue as it was.
"""

from __future__ import annotations

from collections.abc import Iterable

from ._records import Entry
from ._table import ABSENT


class KeyMap(dict):  # type: ignore[type-arg]  # (the compiler takes no subscript here)
    """The entries of the queue, by their keys. Each operation but iteration is O(1)."""

    __slots__ = ()

    def find(self, key: object) -> Entry | None:
        entry: Entry | None = dict.get(self, key)
        return entry

    def add(self, key: object) -> Entry:
        """The entry of a key that has none so far."""
        entry = Entry()
        entry.list = entry.time = entry.leases = entry.takers = entry.value = None
        entry.key = key
        entry.state = ABSENT
        entry.newest = 0
        self[key] = entry
        return entry

    def remove(self, entry: Entry) -> None:
        del self[entry.key]

    def distinct(self, keys: Iterable[object]) -> set[object]:
        return set(keys)
