"""The life of one key: its states, and the table that moves it from one to another.

    state             waiting value   live leases
    ABSENT            none            none         (known only while a take waits for the key)
    AVAILABLE         in the line     none
    DELAYED           delayed         none
    LEASED            none            one or more
    DEFERRED          deferred        one or more
    BUFFERED          in the line     one or more
    BUFFERED_DELAYED  delayed         one or more

Nothing here knows of other keys, of calls or of time.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, cast


class State(Enum):
    """What the queue holds of a key; the table is at the head of this file."""

    ABSENT = "absent"
    AVAILABLE = "available"
    DELAYED = "delayed"
    LEASED = "leased"
    DEFERRED = "deferred"
    BUFFERED = "buffered"
    BUFFERED_DELAYED = "buffered and delayed"

    __hash__ = object.__hash__  # members are single objects: no need to hash their names


class Effect(Enum):
    """What an event does to the values of a key."""

    ADD = "the value becomes the waiting one, and one item more"
    REPLACE = "the waiting copy takes the value; one in the line keeps its place"
    REVISE = "the newest copy in flight takes the value"
    DEFER = "the value becomes the deferred one"
    REFUSE = "KeyAlreadyInFlightError"
    GRANT = "the copy at its place in the line is leased, or reserved"
    DROP = "the leased copy is gone"
    PROMOTE = "the leased copy is gone, and the deferred value has its slot"
    RETURN = "the leased copy becomes the waiting one"
    ADOPT = "the leased copy takes the deferred value and becomes the waiting one"
    MERGE = "the waiting copy takes the newer of the two values, and one item less"
    RIPEN = "the time of the waiting value has come"
    DISCARD = "the waiting value is gone"


class Move:
    """What an event does, and the state that it leads to."""

    __slots__ = ("effect", "later", "next")

    def __init__(self, effect: Effect, next: State, later: State) -> None:  # noqa: A002
        self.effect = effect
        self.next = next  # if the time of the waiting value has come, or there is none,
        self.later = later  # and if it has not


# Bound once: until 3.12, to look a member up in its class takes as long as to work with it.
ABSENT, AVAILABLE, DELAYED, LEASED, DEFERRED, BUFFERED, BUFFERED_DELAYED = State
ADD, REPLACE, REVISE, DEFER, REFUSE, GRANT, DROP, PROMOTE, RETURN, ADOPT, MERGE, RIPEN, DISCARD = (
    Effect
)


ACK_LAST: Final = "ack last"  # this very object is the key in the table, and so found at once
RETURN_LAST: Final = "return last"
NEVER: Final = cast(State, None)  # a move can't lead here: no time is to come, or none has

PUT: Final = {  # the event that a put is, by its policy
    policy: f"put {policy}" for policy in ("update", "reject", "buffer", "defer")
}


def _put(effect: Effect, state: State, later: State) -> dict[str, Move]:
    """The same, whatever the policy."""
    return dict.fromkeys(PUT.values(), Move(effect, state, later))


# The life of a key, whole: what an event does in each state, and where it leads. "last" means that
# no other lease on the key is live. "return" is a release, an expiry, a cancelled reservation or a
# close: they differ in the place in the line. What is not here cannot happen.
TABLE: Final[dict[State, dict[str, Move]]] = {
    ABSENT: _put(ADD, AVAILABLE, DELAYED),
    AVAILABLE: {
        **_put(REPLACE, AVAILABLE, NEVER),
        "grant": Move(GRANT, LEASED, NEVER),
        "discard": Move(DISCARD, ABSENT, NEVER),
    },
    DELAYED: {
        **_put(REPLACE, AVAILABLE, DELAYED),
        "ripen": Move(RIPEN, AVAILABLE, NEVER),
        "discard": Move(DISCARD, ABSENT, NEVER),
    },
    LEASED: {
        "put update": Move(REVISE, LEASED, NEVER),
        "put reject": Move(REFUSE, NEVER, NEVER),
        "put buffer": Move(ADD, BUFFERED, BUFFERED_DELAYED),
        "put defer": Move(DEFER, DEFERRED, DEFERRED),
        "ack": Move(DROP, LEASED, NEVER),
        ACK_LAST: Move(DROP, ABSENT, NEVER),
        "return": Move(RETURN, BUFFERED, BUFFERED_DELAYED),
        RETURN_LAST: Move(RETURN, AVAILABLE, DELAYED),
    },
    DEFERRED: {
        "put update": Move(DEFER, DEFERRED, DEFERRED),
        "put reject": Move(REFUSE, NEVER, NEVER),
        "put buffer": Move(ADD, BUFFERED, BUFFERED_DELAYED),
        "put defer": Move(DEFER, DEFERRED, DEFERRED),
        "ack": Move(DROP, DEFERRED, DEFERRED),
        ACK_LAST: Move(PROMOTE, AVAILABLE, DELAYED),
        "return": Move(ADOPT, BUFFERED, BUFFERED_DELAYED),
        RETURN_LAST: Move(ADOPT, AVAILABLE, DELAYED),
        "ripen": Move(RIPEN, DEFERRED, NEVER),
        "discard": Move(DISCARD, LEASED, NEVER),
    },
    BUFFERED: {
        **_put(REPLACE, BUFFERED, NEVER),
        "put reject": Move(REFUSE, NEVER, NEVER),
        "grant": Move(GRANT, LEASED, NEVER),
        "ack": Move(DROP, BUFFERED, NEVER),
        ACK_LAST: Move(DROP, AVAILABLE, NEVER),
        "return": Move(MERGE, BUFFERED, NEVER),
        RETURN_LAST: Move(MERGE, AVAILABLE, NEVER),
        "discard": Move(DISCARD, LEASED, NEVER),
    },
    BUFFERED_DELAYED: {
        **_put(REPLACE, BUFFERED, BUFFERED_DELAYED),
        "put reject": Move(REFUSE, NEVER, NEVER),
        "ripen": Move(RIPEN, BUFFERED, NEVER),
        "ack": Move(DROP, NEVER, BUFFERED_DELAYED),
        ACK_LAST: Move(DROP, NEVER, DELAYED),
        "return": Move(MERGE, BUFFERED, BUFFERED_DELAYED),
        RETURN_LAST: Move(MERGE, AVAILABLE, DELAYED),
        "discard": Move(DISCARD, LEASED, NEVER),
    },
}
