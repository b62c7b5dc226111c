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


class State:
    """What the queue holds of a key; the table is at the head of this file."""

    __slots__ = ("delayed", "held", "lined", "moves", "name")

    def __init__(
        self, name: str, lined: bool = False, delayed: bool = False, held: bool = False
    ) -> None:
        self.name = name
        self.lined = lined  # the waiting value is in the line
        self.delayed = delayed  # the waiting value is delayed
        self.held = held or delayed  # the waiting value is delayed or deferred
        self.moves: list[Move] = []  # by the number of the event: the state's row of `TABLE`


class Effect(Enum):
    """What an event does to the values of a key, where the event alone does not say it."""

    ADD = "the value becomes the waiting one, and one item more"
    SET = "the value becomes the waiting one, in the place of what waits already"
    REVISE = "the newest copy in flight takes the value"
    REFUSE = "KeyAlreadyInFlightError"
    DROP = "the leased copy is gone, and one item less"
    PROMOTE = "the leased copy is gone, and the deferred value has its slot"
    RETURN = "the leased copy becomes the waiting one"
    ADOPT = "the leased copy takes the deferred value and becomes the waiting one"
    MERGE = "the waiting copy takes the newer of the two values, and one item less"
    DISCARD = "the waiting copy is gone, and one item less"
    FORGET = "the deferred value is gone"
    MOVE = "what the event says, in whichever state"


class Move:
    """What an event does, and the state that it leads to."""

    __slots__ = ("effect", "later", "next")

    def __init__(self, effect: Effect, next: State, later: State) -> None:  # noqa: A002
        self.effect = effect
        self.next = next  # if the time of the waiting value has come, or there is none,
        self.later = later  # and if it has not


ABSENT: Final = State("ABSENT")
AVAILABLE: Final = State("AVAILABLE", lined=True)
DELAYED: Final = State("DELAYED", delayed=True)
LEASED: Final = State("LEASED")
DEFERRED: Final = State("DEFERRED", held=True)
BUFFERED: Final = State("BUFFERED", lined=True)
BUFFERED_DELAYED: Final = State("BUFFERED_DELAYED", delayed=True)

# Bound once: until 3.12, to look a member up in its class takes as long as to work with it.
ADD, SET, REVISE, REFUSE, DROP, PROMOTE, RETURN, ADOPT, MERGE, DISCARD, FORGET, MOVE = Effect


NEVER: Final = cast(State, None)  # a move can't lead here: no time is to come, or none has

# "last" means that no other lease on the key is live. "return" is a release, an expiry, a cancelled
# reservation or a close: they differ in the place in the line.
POLICIES: Final = ("update", "reject", "buffer", "defer")
EVENTS: Final = (
    *(f"put {policy}" for policy in POLICIES),
    *("grant", "ack", "ack last", "return", "return last", "ripen", "discard"),
)
# The numbers of the events; those of the puts are the places of their policies.
ON_GRANT, ON_ACK, ON_ACK_LAST, ON_RETURN, ON_RETURN_LAST, ON_RIPEN, ON_DISCARD = range(4, 11)


def _put(effect: Effect, state: State, later: State) -> dict[str, Move]:
    """The same, whatever the policy."""
    return dict.fromkeys(EVENTS[:4], Move(effect, state, later))


# The life of a key, whole: what an event does in each state, and where it leads. What is not here
# cannot happen.
TABLE: Final[dict[State, dict[str, Move]]] = {
    ABSENT: _put(ADD, AVAILABLE, DELAYED),
    AVAILABLE: {
        **_put(SET, AVAILABLE, NEVER),
        "grant": Move(MOVE, LEASED, NEVER),
        "discard": Move(DISCARD, ABSENT, NEVER),
    },
    DELAYED: {
        **_put(SET, AVAILABLE, DELAYED),
        "ripen": Move(MOVE, AVAILABLE, NEVER),
        "discard": Move(DISCARD, ABSENT, NEVER),
    },
    LEASED: {
        "put update": Move(REVISE, LEASED, NEVER),
        "put reject": Move(REFUSE, NEVER, NEVER),
        "put buffer": Move(ADD, BUFFERED, BUFFERED_DELAYED),
        "put defer": Move(SET, DEFERRED, DEFERRED),
        "ack": Move(DROP, LEASED, NEVER),
        "ack last": Move(DROP, ABSENT, NEVER),
        "return": Move(RETURN, BUFFERED, BUFFERED_DELAYED),
        "return last": Move(RETURN, AVAILABLE, DELAYED),
    },
    DEFERRED: {
        "put update": Move(SET, DEFERRED, DEFERRED),
        "put reject": Move(REFUSE, NEVER, NEVER),
        "put buffer": Move(ADD, BUFFERED, BUFFERED_DELAYED),
        "put defer": Move(SET, DEFERRED, DEFERRED),
        "ack": Move(DROP, DEFERRED, DEFERRED),
        "ack last": Move(PROMOTE, AVAILABLE, DELAYED),
        "return": Move(ADOPT, BUFFERED, BUFFERED_DELAYED),
        "return last": Move(ADOPT, AVAILABLE, DELAYED),
        "ripen": Move(MOVE, DEFERRED, NEVER),
        "discard": Move(FORGET, LEASED, NEVER),
    },
    BUFFERED: {
        **_put(SET, BUFFERED, NEVER),
        "put reject": Move(REFUSE, NEVER, NEVER),
        "grant": Move(MOVE, LEASED, NEVER),
        "ack": Move(DROP, BUFFERED, NEVER),
        "ack last": Move(DROP, AVAILABLE, NEVER),
        "return": Move(MERGE, BUFFERED, NEVER),
        "return last": Move(MERGE, AVAILABLE, NEVER),
        "discard": Move(DISCARD, LEASED, NEVER),
    },
    BUFFERED_DELAYED: {
        **_put(SET, BUFFERED, BUFFERED_DELAYED),
        "put reject": Move(REFUSE, NEVER, NEVER),
        "ripen": Move(MOVE, BUFFERED, NEVER),
        "ack": Move(DROP, NEVER, BUFFERED_DELAYED),
        "ack last": Move(DROP, NEVER, DELAYED),
        "return": Move(MERGE, BUFFERED, BUFFERED_DELAYED),
        "return last": Move(MERGE, AVAILABLE, DELAYED),
        "discard": Move(DISCARD, LEASED, NEVER),
    },
}

IMPOSSIBLE: Final = cast(Move, None)
for _state, _row in TABLE.items():
    _state.moves = [_row.get(_event, IMPOSSIBLE) for _event in EVENTS]
