"""The life of one key: its states, its transitions, and what the queue holds of it.

    state       waiting value   live leases   copy in the line
    ABSENT      none            none          no    (known only while a take waits)
    AVAILABLE   one             none          yes
    LEASED      none            one or more   no
    DEFERRED    one             one or more   no
    BUFFERED    one             one or more   yes

Nothing here knows of other keys, of calls or of time.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, cast

from ._linkedlist import LinkedList, Node
from .lease import Copy, Lease

if TYPE_CHECKING:
    from ._call import Call

K = TypeVar("K")
V = TypeVar("V")


class KeyState(Enum):
    """What the queue holds of a key; the table is at the head of this file."""

    ABSENT = "absent"
    AVAILABLE = "available"
    LEASED = "leased"
    DEFERRED = "deferred"
    BUFFERED = "buffered"

    __hash__ = object.__hash__  # members are single objects: no need to hash their names


class Step(Enum):
    """What an event does to the copies of a key."""

    ADD = "the value becomes a copy at the back of the line"
    REPLACE = "the available copy takes the value and keeps its place"
    REVISE = "the newest in-flight copy takes the value"
    DEFER = "the value becomes the deferred one"
    REFUSE = "KeyAlreadyInFlightError"
    GRANT = "the available copy is leased, or reserved"
    DROP = "the leased copy is gone"
    PROMOTE = "the leased copy is gone; the deferred value goes to the back of the line"
    RETURN = "the leased copy becomes available"
    ADOPT = "the leased copy takes the deferred value and becomes available"
    MERGE = "the available copy takes the newer of the two values and keeps its place"


# Bound once: until 3.12, to look a member up in its class takes as long as to work with it.
ABSENT, AVAILABLE, LEASED, DEFERRED, BUFFERED = KeyState
ADD, REPLACE, REVISE, DEFER, REFUSE, GRANT, DROP, PROMOTE, RETURN, ADOPT, MERGE = Step

# The life of a key, whole: what an event does in each state, and where it leads.
# "last" means that no other lease on the key is live. "return" is a release, an
# expiry, a cancelled reservation or a close: they differ in the place in the line.
TRANSITIONS: Final[dict[KeyState, dict[str, tuple[Step, KeyState]]]] = {
    ABSENT: {
        "put update": (ADD, AVAILABLE),
        "put reject": (ADD, AVAILABLE),
        "put buffer": (ADD, AVAILABLE),
        "put defer": (ADD, AVAILABLE),
    },
    AVAILABLE: {
        "put update": (REPLACE, AVAILABLE),
        "put reject": (REPLACE, AVAILABLE),
        "put buffer": (REPLACE, AVAILABLE),
        "put defer": (REPLACE, AVAILABLE),
        "grant": (GRANT, LEASED),
    },
    LEASED: {
        "put update": (REVISE, LEASED),
        "put reject": (REFUSE, LEASED),
        "put buffer": (ADD, BUFFERED),
        "put defer": (DEFER, DEFERRED),
        "ack": (DROP, LEASED),
        "ack last": (DROP, ABSENT),
        "return": (RETURN, BUFFERED),
        "return last": (RETURN, AVAILABLE),
    },
    DEFERRED: {
        "put update": (DEFER, DEFERRED),
        "put reject": (REFUSE, DEFERRED),
        "put buffer": (ADD, BUFFERED),
        "put defer": (DEFER, DEFERRED),
        "ack": (DROP, DEFERRED),
        "ack last": (PROMOTE, AVAILABLE),
        "return": (ADOPT, BUFFERED),
        "return last": (ADOPT, AVAILABLE),
    },
    BUFFERED: {
        "put update": (REPLACE, BUFFERED),
        "put reject": (REFUSE, BUFFERED),
        "put buffer": (REPLACE, BUFFERED),
        "put defer": (REPLACE, BUFFERED),
        "grant": (GRANT, LEASED),
        "ack": (DROP, BUFFERED),
        "ack last": (DROP, AVAILABLE),
        "return": (MERGE, BUFFERED),
        "return last": (MERGE, AVAILABLE),
    },
}


class Nothing(Enum):
    """Stands where there is no value; every other object is one."""

    NOTHING = "nothing"


NOTHING: Final = Nothing.NOTHING


class Item(Generic[K, V]):
    """What the queue holds of one key, when that may be more than one copy."""

    __slots__ = (
        "available",
        "deferred",
        "durations",
        "forgotten",
        "key",
        "leases",
        "takers",
        "version",
    )

    def __init__(self, key: K) -> None:
        self.key = key
        self.available: Lease[K] | None = None
        self.deferred: V | Nothing = NOTHING
        self.version = 0  # of the deferred value
        self.leases: Lease[K] | Crowd[K] | None = None
        self.takers: LinkedList[Call[K, V]] | None = None
        # That a lease was granted with, by its number, once another has replaced it.
        self.durations: dict[int, float] = {}
        self.forgotten = False  # has left the map of keys

    def state(self) -> KeyState:
        """Which row of `TRANSITIONS` holds."""
        if self.available is not None:
            return AVAILABLE if self.leases is None else BUFFERED
        if self.leases is None:
            return ABSENT
        return LEASED if self.deferred is NOTHING else DEFERRED

    def newest(self) -> Lease[K]:
        """The live lease with the newest value."""
        return self.leases.newest() if isinstance(self.leases, Crowd) else cast(Any, self.leases)

    def admit(self, lease: Lease[K]) -> None:
        """The available copy is a live lease from now on."""
        self.available = None
        if self.leases is None:
            self.leases = lease
        elif isinstance(self.leases, Crowd):
            self.leases.enter(lease)
        else:
            self.leases = Crowd(self.leases, lease)


class Rank(Node, Generic[K]):
    """A place in the order of versions: a lease's, or the available copy's (None)."""

    __slots__ = ("lease",)

    def __init__(self, lease: Lease[K] | None) -> None:
        super().__init__()
        self.lease = lease


class Crowd(Generic[K]):
    """Two or more live leases on one key, which only "buffer" brings about.

    They stand in the order of their versions, so that `put` finds the newest in
    O(1). A copy that comes back and goes out again keeps its version, so the
    available copy keeps its place among them: the *mark*.
    """

    __slots__ = ("mark", "rank_of", "ranks")

    def __init__(self, one: Lease[K], other: Lease[K]) -> None:
        self.ranks: LinkedList[Rank[K]] = LinkedList()  # the oldest value first
        self.rank_of: dict[object, Rank[K]] = {}  # by grant number
        self.mark: Rank[K] | None = None
        for lease in sorted((one, other), key=_version):
            rank = self.rank_of[lease._number] = Rank(lease)
            self.ranks.link_last(rank)

    def newest(self) -> Lease[K]:
        """The lease with the newest value, when no copy is available."""
        return cast("Lease[K]", cast("Rank[K]", self.ranks.last).lease)

    def mark_newest(self) -> None:
        """The available copy is, or now becomes, the newest."""
        if self.mark is None:
            self.mark = Rank(None)
        else:
            self.ranks.unlink(self.mark)
        self.ranks.link_last(self.mark)

    def enter(self, lease: Lease[K]) -> None:
        """The available copy has been leased: its mark is now the lease's rank."""
        rank = cast("Rank[K]", self.mark)
        rank.lease = lease
        self.rank_of[lease._number] = rank
        self.mark = None

    def turn_back(self, lease: Lease[K]) -> None:
        """A lease's copy has become the available one: its rank is now the mark."""
        if self.mark is not None:
            self.ranks.unlink(self.mark)
        self.mark = self.rank_of.pop(lease._number)
        self.mark.lease = None

    def leave(self, lease: Lease[K]) -> None:
        """A lease's copy is gone."""
        self.ranks.unlink(self.rank_of.pop(lease._number))

    def remaining(self) -> Lease[K] | Crowd[K]:
        """The crowd, or the lease that is left when it is one no longer."""
        if len(self.rank_of) > 1:
            return self
        (rank,) = self.rank_of.values()
        self.ranks.clear()
        return cast("Lease[K]", rank.lease)


def _version(lease: Lease[Any]) -> int:
    return lease._version


def new_copy(item: Item[K, V], value: object, version: int) -> Lease[K]:
    """A copy that is yet to be lined up."""
    copy: Lease[K] = Copy()
    copy._key = item.key
    copy._value = value
    copy._version = version
    copy._item = item
    copy._standing = copy._list = None
    return copy
