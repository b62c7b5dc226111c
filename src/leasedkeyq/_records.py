"""What the machine keeps, and what it tells others: one class for each role.

`Entry`, a key and its waiting value; `Grant`, a copy in flight; `Waiter`, a call that waits;
`Outbox`, what came of an operation for others; `Snapshot`, the whole state in the words of the
specification. Their fields are changed by the machine alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ._deadlines import Deadline
from ._linkedlist import LinkedList, Node
from ._table import State
from ._tokens import Issuer, token

COME: Final = -inf  # the time of a value that has none, or whose time has come


class Entry(Deadline):
    """What the queue holds of one key: its place in the line, or among what falls due."""

    __slots__ = (
        *("key", "state", "value", "version", "attempts"),
        *("since", "newest", "chain", "takers"),
    )

    key: object
    state: State
    # The waiting value (available, delayed or deferred; None if there is none), its version, and
    # the number of its deliveries.
    value: object
    version: int
    attempts: int
    since: float  # when it came to its place in the line
    newest: int  # the version of the newest value that was accepted for the key
    chain: Grant | None  # the copies in flight, the newest value first
    takers: Takers | None  # the takes of the key that have not gone on yet

    def order(self) -> tuple[float, int, int]:
        return self.time, 1, self.version  # after the leases that are due

    def grants(self) -> Iterator[Grant]:
        """The copies in flight, the newest value first."""
        grant = self.chain
        while grant is not None:
            yield grant
            grant = grant.older

    def admit(self, grant: Grant) -> None:
        """One more copy is in flight, next to others. O(leases on the key)."""
        newer, older = None, self.chain
        while older is not None and older.version > grant.version:
            newer, older = older, older.older
        grant.older = older
        if newer is None:
            self.chain = grant
        else:
            newer.older = grant

    def dismiss(self, grant: Grant) -> None:
        """One copy less is in flight, and not the newest. O(leases on the key)."""
        newer = next(one for one in self.grants() if one.older is grant)
        newer.older = grant.older


class Line(LinkedList):
    """A part of the line, front first."""

    __slots__ = ()

    first: Entry | None


class Calls(LinkedList):
    """Calls of one kind that wait, in the order of arrival."""

    __slots__ = ()

    first: Waiter | None


class Takers(Calls):
    """The takes of one key, of which those that wait are in the list."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.first = self.last = None
        self.count = 0  # of those that have not gone on yet; the wait of some may be over


class Phase(Enum):
    """How far the end of the queue has come."""

    OPEN = "open"
    SHUT = "shut"
    CLOSED = "closed"


class Place(Enum):
    """Where in the line a copy goes."""

    FRONT = "the front of the first part"
    END = "the end of the first part"
    BACK = "the back of the line"


class Standing(Enum):
    """What has become of a lease."""

    LIVE = "live"
    ACKED = "acknowledged"
    RELEASED = "released"
    EXPIRED = "expired"


class Grant(Deadline):
    """A copy in flight: under a lease, or reserved for a waiter that has not resumed.

    Its time is infinity while nothing ends it: a lease for ever, a reservation.
    """

    __slots__ = (
        *("number", "issuer", "prefix", "entry", "value", "version"),
        *("attempts", "attempt", "seen"),
        *("duration", "since", "waiter", "standing", "older"),
    )

    number: int  # of the grant, in the order of all grants of the queue
    issuer: Issuer
    prefix: str  # of the token: the issuer's when it was granted
    entry: Entry
    value: object
    version: int
    attempts: int  # deliveries of the value, as it stands
    attempt: int  # which of them the lease began with
    seen: int  # the version last seen through the lease
    duration: float  # as granted
    since: float  # when it was delivered, and until then: reserved
    waiter: Waiter | None  # for which it is reserved
    standing: Standing
    older: Grant | None  # the next of the key's live leases, by version

    def order(self) -> tuple[float, int, int]:
        return self.time, 0, self.number

    def token(self) -> str:
        return token(self.prefix, self.number)


class Handle:
    """Leads from the lease that a consumer holds to the queue's own record of it."""

    __slots__ = ("__weakref__", "_grant")

    if TYPE_CHECKING:  # or else it would be a field to tools, in one of the builds
        _grant: Grant | None


COMPILED: Final = not __file__.endswith((".py", ".pyc"))
_set_grant: Final[Callable[[Handle, Grant], None]] = vars(Handle)["_grant"].__set__


def lead_to(handle: Handle, grant: Grant) -> None:
    """Set what a lease leads to; it is frozen, so this goes past its own way of setting."""
    if COMPILED:
        handle._grant = grant  # a store into the object, as compiled code does it
    else:
        _set_grant(handle, grant)


class Caller(Protocol):
    """Whoever waits for a call, to the machine: an `asyncio.Future` is one."""

    def cancelled(self) -> bool:
        """True from the moment when nothing may be offered to the call any more."""

    def set_result(self, result: None, /) -> object:
        """The wait is over."""


class Patient:
    """A caller that never leaves: the machine's own, until the shell sets another."""

    def cancelled(self) -> bool:
        return False

    def set_result(self, result: None, /) -> None:
        """The wait is over before anybody waits: the shell looks when it sets another."""


class Outcome(Enum):
    """What has become of a call that waits."""

    WAITING = "waiting"
    RESERVED = "a copy or a slot is reserved for it until it resumes"
    DONE = "what it waited for has come about"
    TIMED_OUT = "its timeout ran out first"
    ENDED = "nothing can come to it any more"
    RESUMED = "it has gone on with what it came to"
    LEFT = "it was cancelled"


class Limit(Deadline):
    """The end of a wait."""

    __slots__ = ("waiter",)

    waiter: Waiter

    def __init__(self, waiter: Waiter) -> None:
        self.list = None
        self.waiter = waiter

    def order(self) -> tuple[float, int, int]:
        return self.time, 0, self.waiter.ticket


class Waiter(Node):
    """A get, take, put, join or drain that could not be carried out at once."""

    __slots__ = (
        *("ticket", "kind", "key", "entry", "put", "duration", "timeout", "limit"),
        *("caller", "outcome", "grant"),
    )

    ticket: int  # rises with the order of arrival
    kind: str
    key: object  # of a take or a put
    entry: Entry | None  # of a take that has not gone on yet
    put: tuple[object, int, float] | None  # what a put will do: value, event, delay
    duration: float  # of the lease that a get or take will have
    timeout: float  # infinity for none
    limit: Limit | None  # its place among the waits that end
    caller: Caller
    outcome: Outcome
    grant: Grant | None  # the copy that is reserved for it

    def __init__(self, ticket: int, kind: str, key: object, timeout: float) -> None:
        self.list = None
        self.ticket = ticket
        self.kind = kind
        self.key = key
        self.timeout = timeout
        self.entry = self.put = self.limit = self.grant = None
        self.duration = inf
        self.caller = PATIENT
        self.outcome = Outcome.WAITING


PATIENT = Patient()


# Bound once: until 3.12, to look a member up in its class takes as long as to work with it.
OPEN, SHUT, CLOSED = Phase
FRONT, END, BACK = Place
LIVE, ACKED, RELEASED, EXPIRED = Standing
WAITING, RESERVED, DONE, TIMED_OUT, ENDED, RESUMED, LEFT = Outcome


class Event(NamedTuple):
    """Something that happened to the queue: an operation, or a step of one.

    ``action`` is the specification's, in lower case, or a step of one: ``expire`` and ``ripen`` of
    a reap; ``reserve``, a hand-over to a waiter; ``gone``, a waiter is met that is being cancelled;
    ``shut`` and ``end``, what a drain begins and ends with. The first is ``init``. What does not
    apply is None.
    """

    action: str
    now: float
    key: object = None
    version: int | None = None  # of the value that it is about
    number: int | None = None  # of the grant
    ticket: int | None = None  # of the call that waits or resumes
    detail: object = None  # what else the action says of itself: `observing.named` has the names


class Outbox:
    """What came of an operation for others. Whoever drives the machine empties it."""

    __slots__ = ("alarm", "changed", "dropped", "events", "left", "woken")

    def __init__(self) -> None:
        self.changed = False  # something is in it; set back by whoever empties it
        self.woken: deque[Waiter] = deque()  # calls that can resume
        self.left: deque[Waiter] = deque()  # calls that left during an operation: cancel them
        self.alarm = inf  # when `Machine.time_out` wants to be called
        self.dropped: list[object] = []  # values, whose finalizers are the user's code
        self.events: list[Event] | None = None  # filled if it is a list


class Copy(NamedTuple):
    """A value in the line."""

    key: object
    value: object
    version: int
    attempts: int


class Held(NamedTuple):
    """A value that is delayed or deferred; its time is minus infinity if it has come."""

    key: object
    value: object
    version: int
    attempts: int
    time: float

    def order(self) -> tuple[float, int]:
        return self.time, self.version


class Flight(NamedTuple):
    """A copy in flight: reserved for the call with that ticket, or leased until the deadline."""

    number: int
    key: object
    value: object
    version: int
    attempts: int
    ticket: int | None
    deadline: float


class Wait(NamedTuple):
    """A call that waits, and until when."""

    ticket: int
    kind: str
    key: object
    deadline: float


class Holding(NamedTuple):
    """A lease, for people to look at: for how long it has been held, and how long it has left."""

    key: object
    attempt: int  # 0 while it is on its way to a call
    age: float
    left: float  # infinity for a lease that does not run out


class Overview(NamedTuple):
    """What there is to see of a queue besides its statistics."""

    phase: str
    maxsize: float
    leases: list[Holding]  # that were granted first


class Snapshot(NamedTuple):
    """The whole state, in the words of the specification."""

    phase: str  # "open", "shut" or "closed"
    puts: int  # how many values were accepted: the version of the newest
    returned: tuple[Copy, ...]  # the first part of the line, front first
    arrived: tuple[Copy, ...]  # the rest of it
    delayed: tuple[Held, ...]  # by time, then version
    deferred: tuple[Held, ...]
    flight: tuple[Flight, ...]  # by number
    waiting: tuple[Wait, ...]  # by ticket
    slots: tuple[int, ...]  # tickets of the puts that have a slot reserved
