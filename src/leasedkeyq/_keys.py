"""The keys that the queue knows: the only place where `__hash__` and `__eq__` of a key run.

They are the user's. They may raise, and they may call the queue, which refuses while an operation
is under way. So an operation looks its key up before it changes anything, and an error that passes
through leaves the queue as it was; where a call ends that has changed something, none passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ._checks import text
from ._records import COME, Entry
from ._table import ABSENT


class KeyMap:
    """The entries of the queue, by their keys. Each operation but iteration is O(1)."""

    __slots__ = ("_entries", "leftovers")

    def __init__(self) -> None:
        self._entries: dict[object, Entry] = {}
        self.leftovers = 0  # how often an entry could not be forgotten

    def find(self, key: object) -> Entry | None:
        return self._entries.get(key)

    def add(self, key: object) -> Entry:
        """The entry of a key that has none so far."""
        entry = Entry()
        entry.list = entry.chain = entry.takers = entry.value = None
        entry.key = key
        entry.state = ABSENT
        entry.time = COME
        entry.newest = 0
        if self._entries.setdefault(key, entry) is not entry:
            raise RuntimeError(
                f"key {text(key)} is equal to one of the queue's keys, and was not a moment before:"
                " nothing was changed; mend its __eq__"
            )
        return entry

    def remove(self, entry: Entry) -> None:
        del self._entries[entry.key]

    def forget(self, entry: Entry) -> None:
        """Remove an entry at the end of a call, whose outcome is no business of the key's.

        If the key's own code raises, the empty entry stays, and goes when the key is used again.
        """
        try:
            self.remove(entry)
        except BaseException as error:
            self.leftovers += 1
            if not isinstance(error, Exception):
                raise

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def distinct(self, keys: Iterable[object]) -> set[object]:
        return set(keys)
