"""The session of a client: what it has asked, what it waits for, and that it is still there.

Nothing here is a coroutine, and nothing does I/O. A request belongs to the session and not to the
task that made it: when the task is cancelled, the answer still comes, and whatever it brings is
given back.
"""

from __future__ import annotations

import secrets
from asyncio import AbstractEventLoop, TimerHandle, get_running_loop
from collections import deque
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Any, Final

from .._waiting import too_late
from ..errors import Certainty, QueueClosedError, QueueUnavailableError
from .leases import QUEUE_DIGITS, Held, Tokens
from .store import Reply, Request, Store

SCHEMA: Final = 2  # of what the machine keeps
MICRO: Final = 1_000_000
GRACE: Final = 0.5  # seconds: for the answer of a server to a call whose time is up
FOR_EVER: Final = 1e9  # seconds: more is never

ASKED, WAITING, ENDING, OVER = range(4)  # the phases of a call; ENDING: it has asked for its end

# What may be done again under another session, even if nobody knows any more whether it was done
# under the one that is lost: what it got there comes back by itself.
REPEATABLE: Final = (
    *("get", "take", "join", "drain", "shutdown", "close"),
    *("extend", "refresh", "superseded", "deadline"),
)


def micro(seconds: float) -> int | str:
    """A duration as the machine takes it."""
    return "inf" if seconds > FOR_EVER else round(seconds * MICRO)


def seconds_of(text: Any) -> float:
    """A moment or duration of the machine's."""
    return float(text) / MICRO


class Call(Request):
    """A request that the machine may have to put off until something happens."""

    __slots__ = ("duration", "early", "end", "given", "key", "phase", "timer", "value", "wait")

    given: tuple[Any, ...]  # the arguments before the wait
    key: Any  # of a take or put, for messages
    value: bytes | None  # of a put: sent again when it is carried out
    wait: float  # in seconds
    end: float  # loop time
    duration: float  # of the lease
    phase: int
    timer: TimerHandle | None
    early: bool  # the word that its wait is over came before the one that it waits


class Resume(Request):
    """What ends the wait of a call."""

    __slots__ = ("call",)

    call: Call


class Session:
    """Requests, calls and timers of one client of one queue. To be subclassed by `EngineQueue`."""

    def __init__(
        self,
        store: Store,
        name: str,
        maxsize: float,
        unavailable_timeout: float,
        session_ttl: float,
        claim_timeout: float,
    ) -> None:
        self.name = name
        self._store = store
        self._bound = 0 if maxsize == inf else int(maxsize)
        self._patience = unavailable_timeout
        self._ttl = session_ttl
        self._claim = claim_timeout
        self._loop: AbstractEventLoop | None = None  # once it has worked in one
        self._time: Callable[[], float] = monotonic  # until then
        self._entered = False  # the store has been asked to connect
        self._left = False
        self.session = secrets.token_hex(8)
        self.opened = False  # the machine knows this session
        self.known = False  # the queue has been seen, in this session or another
        self._tokens: Tokens | None = None
        self._offset = 0.0  # from the loop's clock to the machine's
        self._number = 0  # of the latest request
        self._asked: deque[Request] = deque()  # in order; those in front may be answered already
        self._calls: dict[int, Call] = {}  # that are not over, by their number
        self._held: dict[str, Held] = {}  # by token
        self._watch: TimerHandle | None = None  # for answers that do not come
        self._beat: TimerHandle | None = None
        self._alarm: TimerHandle | None = None
        self._counts = {"renewed": 0, "orphans": 0, "rings": 0, "again": 0}

    # -- asking ----------------------------------------------------------------------

    def _ready(self) -> None:
        """Check that this loop is the queue's and that the client has not left."""
        loop = get_running_loop()
        if loop is not self._loop:
            if self._loop is not None:
                raise RuntimeError(
                    f"{self!r} belongs to the event loop in which it was first used, and this is"
                    " another: use one queue for each loop"
                )
            self._loop, self._time = loop, loop.time
        if self._left:
            raise QueueClosedError(
                "this client has left the queue: make another to go on working with it"
            )

    def _submit(self, request: Request, changes: bool) -> None:
        """Send a request, now or as soon as there is a connection."""
        loop = self._loop
        assert loop is not None
        if not self._entered:
            self._entered = True
            self._store.enter(self, loop)
        self._enlist(request, changes)
        if self._watch is None:
            self._watch = loop.call_later(self._patience, self._look_after)
        self._store.send(request)

    def _enlist(self, request: Request, changes: bool) -> None:
        if request.asked != inf and request in self._asked:
            self._asked.remove(request)  # it is asked anew, behind all others
        request.session = self.session
        request.floor = self._number
        if changes:
            self._number = request.number = self._number + 1
        request.asked = self._time()
        self._asked.append(request)

    def _tell(
        self,
        op: str,
        *args: Any,
        then: Callable[[Any, bytes, Reply], None] | None = None,
        changes: bool = False,
    ) -> None:
        """Ask something that nobody waits for."""
        if not self._left:
            self._submit(Request(op, args, _ignore if then is None else then), changes)

    def done(self) -> int:
        """Every request of the session up to this number is answered."""
        asked = self._asked
        while asked and asked[0].answered:
            asked.popleft()
        if not asked:
            return self._number
        first = asked[0]
        return first.floor if first.session == self.session else 0

    # -- answers -----------------------------------------------------------------------

    def answered(self, request: Request, reply: Reply) -> None:
        """The machine has answered."""
        word: bytes = reply[0]
        if word == b"again":  # more is due than is done in one step: it goes on with the next
            self._counts["again"] += 1
            self._store.send(request)
            return
        if request.answered:
            return
        request.answered = True
        if word == b"gone" and type(request) is not Resume and not self._left:
            self._not_known(request)
        elif word == b"wait" and isinstance(request, Call):
            self._waits(request, reply)
        else:
            request.then(request, word, reply)

    def failed(self, request: Request, error: Exception) -> None:
        """A request is at its end without an answer of the machine."""
        request.answered = True
        if isinstance(request, Call):
            self._over(request)
        elif isinstance(request, Resume):
            self._over(request.call)
            request = request.call
        self._raise(request, error)

    def _return(self, request: Request, result: Any) -> None:
        """Hand a result to whoever waits for it, and do not keep it."""
        caller, request.caller = request.caller, None
        if caller is not None and not caller.done():
            caller.set_result(result)

    def _raise(self, request: Request, error: Exception) -> None:
        caller, request.caller = request.caller, None
        if caller is not None and not caller.done():
            caller.set_exception(error)

    def _not_known(self, request: Request) -> None:
        """The machine knows no such session.

        It keeps the answers of a session for as long as that may be silent. So the request has not
        been carried out, unless it is older than that.
        """
        if request.session == self.session:
            self._renew()
        if request.op == "hello":
            return
        old = request.sent > 1 and self._time() >= request.asked + self._ttl
        if old and request.op not in REPEATABLE:
            self.failed(request, self._unavailable("its session was lost meanwhile", "unknown"))
        elif isinstance(request, Call):
            self._ask_anew(request)
        elif request.op != "cancel":  # the call has gone with the session
            request.answered, request.sent = False, 0
            self._submit(request, request.number > 0)

    def _unavailable(self, why: str, outcome: Certainty) -> QueueUnavailableError:
        said = {
            "not done": "nothing was done; try again later",
            "unknown": "it may have been done: look before you do it again",
        }
        return QueueUnavailableError(
            f"no answer from the server of queue {self.name!r}: {why}; {said[outcome]}", outcome
        )

    # -- the session -------------------------------------------------------------------

    def greeting(self) -> Request:
        """What to send first on a new connection."""
        if self.opened:
            request = Request("hello", (micro(self._ttl), *self._waiting()), self._greeted)
        else:
            claim = micro(self._claim)
            args = (SCHEMA, self._bound, micro(self._ttl), claim)
            request = Request("open", args, self._welcomed)
        self._enlist(request, True)
        return request

    def _waiting(self) -> tuple[int, ...]:
        return tuple(n for n, call in self._calls.items() if call.phase == WAITING)

    def _welcomed(self, request: Request, word: bytes, reply: Reply) -> None:
        """The session is open."""
        if word != b"ok":
            why = b" is ".join(reply[1:]).decode(errors="replace")
            self.refused(self._unfit(f"its {why}, which this client is not made for"))
            return
        self._tokens = Tokens(reply[1].decode()[:QUEUE_DIGITS])
        self._offset = seconds_of(reply[2]) - request.asked
        self.opened = self.known = True
        self._beat_on()

    def _unfit(self, why: str) -> Exception:
        return QueueUnavailableError(
            f"queue {self.name!r} can't be used as it is: {why}; nothing was done", "not done"
        )

    def _greeted(self, request: Request, word: bytes, reply: Reply) -> None:
        """A hello is answered: it tells what became of the calls, should a message be lost."""
        if request.session != self.session or word != b"ok":
            return
        self._offset = seconds_of(reply[1]) - request.asked
        self._set_alarm(reply[2])
        for number, state in zip(request.args[1:], reply[3:], strict=False):
            call = self._calls.get(number)
            if call is not None and call.phase == WAITING:
                if state == b"ready":
                    self._end_wait(call, "resume")
                elif state == b"gone":
                    self._ask_anew(call)

    def _beat_on(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        assert self._loop is not None
        self._beat = self._loop.call_later(self._ttl / 4, self._say_hello)

    def _say_hello(self) -> None:
        """Tell the machine that this client is alive."""
        self._beat_on()
        if self._store.connected:
            calls = self._waiting()
            self._tell("hello", micro(self._ttl), *calls, then=self._greeted, changes=True)
            self._store.listen()

    def _renew(self) -> None:
        """The session is lost: begin another. Calls that wait go to the end."""
        self._counts["renewed"] += 1
        self.session = secrets.token_hex(8)
        self.opened = False
        self._number = 0
        calls, self._calls = [*self._calls.values()], {}
        self._store.greet()
        for call in calls:
            if call.phase == WAITING:
                self._ask_anew(call)

    def told(self, word: bytes, number: int) -> None:
        """The machine says something by itself."""
        if word == b"ready":
            call = self._calls.get(number)
            if call is None:
                return
            if call.phase == WAITING:
                self._end_wait(call, "resume")
            else:
                call.early = True
        elif word == b"alarm":
            self._set_alarm(number)
        elif word == b"dropped" and self.opened:
            self._renew()

    def refused(self, error: Exception) -> None:
        """The engine will not have this client. The next operation tries again."""
        calls = [call for call in self._calls.values() if call.answered]
        waiting = [request for request in self._asked if not request.answered] + calls
        self._entered = self.opened = False
        self._store.part()
        self._still()
        for request in waiting:
            self.failed(request, error)
        self._calls.clear()

    def _set_alarm(self, text: Any) -> None:
        """Something falls due that a call here may profit from, in so many microseconds.

        What was said before stays if it is sooner: the two connections have no common order, and to
        ring in vain costs nothing but the ring.
        """
        pause = seconds_of(text)
        if pause < inf and self._loop is not None and not self._left:
            when = self._time() + pause
            if self._alarm is not None:
                if self._alarm.when() <= when:
                    return
                self._alarm.cancel()
            self._alarm = self._loop.call_at(when, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        if self._calls:
            self._counts["rings"] += 1
            self._tell("tick", then=self._rung, changes=True)

    def _rung(self, request: Request, word: bytes, reply: Reply) -> None:
        self._set_alarm(reply[1])

    def _still(self) -> None:
        """No timer stays behind."""
        for timer in (self._beat, self._alarm, self._watch):
            if timer is not None:
                timer.cancel()
        self._beat = self._alarm = self._watch = None
        for call in self._calls.values():
            if call.timer is not None:
                call.timer.cancel()

    # -- calls that may wait -------------------------------------------------------------

    def _begin(
        self,
        op: str,
        args: tuple[Any, ...],
        wait: float,
        then: Callable[[Any, bytes, Reply], None],
        key: Any = None,
        duration: float = inf,
        value: bytes | None = None,
    ) -> Call:
        """Ask for something that may have to be waited for; ``args`` without the wait.

        The wait stands before the duration of a lease, and otherwise at the end.
        """
        call = Call(op, args, then)
        call.given = args
        call.key, call.value, call.duration, call.wait = key, value, duration, wait
        call.timer, call.early = None, False
        call.end = inf if wait == inf else self._time() + wait
        if 0 < wait < inf:
            assert self._loop is not None
            call.timer = self._loop.call_at(call.end, self._time_out, call)
        self._ask(call, wait)
        return call

    def _ask(self, call: Call, wait: float) -> None:
        call.phase = ASKED
        patient = micro(wait) if wait > 0 else 0
        if call.op in ("get", "take"):
            call.args = (*call.given, patient, micro(call.duration))
        else:
            call.args = (*call.given, patient)
        self._submit(call, True)
        if wait > 0:
            self._calls[call.number] = call

    def _ask_anew(self, call: Call) -> None:
        """Nobody knows of the call any more: it goes to the end, with what is left of its wait."""
        gone = call.phase == OVER
        self._over(call)
        if gone:
            return
        call.answered, call.early, call.sent = False, False, 0
        if 0 < call.wait < inf:
            assert self._loop is not None
            call.timer = self._loop.call_at(call.end, self._time_out, call)
        self._ask(call, call.wait if call.end == inf else call.end - self._time())

    def _over(self, call: Call) -> None:
        """The call is at its end, whatever that is."""
        call.phase = OVER
        if call.timer is not None:
            call.timer.cancel()
            call.timer = None
        if self._calls.get(call.number) is call:
            del self._calls[call.number]

    def _waits(self, call: Call, reply: Reply) -> None:
        """The machine has put the call off."""
        self._set_alarm(reply[2])
        if call.phase == OVER:
            self._leave(call)
        elif call.session != self.session:
            self._ask_anew(call)  # the session was lost before the answer came
        else:
            call.phase = WAITING
            if call.early:
                call.early = False
                self._end_wait(call, "resume")

    def _end_wait(self, call: Call, how: str) -> None:
        """Ask for what the wait has come to by now; ``how``: resume or give_up."""
        if call.session != self.session:
            return  # under which it asks no more: its own answer will tell
        if call.phase == WAITING:
            call.phase = ENDING
        args = (call.number,) if call.value is None else (call.number, call.value)
        request = Resume(how, args, self._resumed)
        request.call = call
        self._submit(request, True)

    def _resumed(self, request: Resume, word: bytes, reply: Reply) -> None:
        call = request.call
        if call.phase == OVER:
            if word == b"ok" and len(reply) > 2:  # cancelled, or too late, while it was on its way
                self._give_back(reply[1], reply[2])
        elif word == b"wait":
            self._waits(call, reply)
        elif word != b"gone":
            call.asked = request.asked
            call.then(call, word, reply)
        elif self._time() >= call.end:
            self._timed_out(call)
        elif call.phase == ENDING:
            self._ask_anew(call)

    def _time_out(self, call: Call) -> None:
        """The wait of a call has been long enough, by the clock of this loop."""
        call.timer = None
        if call.op == "drain":
            self._end_wait(call, "give_up")  # which closes the queue
        elif not self._store.connected:
            self._abandon(call)
            self._timed_out(call)
        else:
            if call.phase != ENDING:
                self._end_wait(call, "give_up")
            assert self._loop is not None
            grace = min(GRACE, self._patience)
            call.timer = self._loop.call_later(grace, self._timed_out, call)

    def _timed_out(self, call: Call) -> None:
        self._over(call)
        self._raise(call, too_late(call.op, call.key, None, call.wait))

    def _abandon(self, call: Call) -> None:
        """Nobody waits for the call any more: whatever it is given from now on goes back."""
        if call.phase == WAITING:
            self._over(call)
            self._leave(call)
        elif call.phase != OVER:
            if call.phase == ASKED and self._store.withdraw(call):
                call.answered = True
            self._over(call)

    def _leave(self, call: Call) -> None:
        """Have the machine forget a call that waits."""
        if call.session == self.session:
            self._tell("cancel", call.number, changes=True)

    def _give_back(self, number: Any, key: bytes) -> None:
        """A copy has come for a call that is not there any more: to the front with it."""
        self._counts["orphans"] += 1
        self._tell("release", number, key, 1, 0, changes=True)

    # -- when no answer comes --------------------------------------------------------------

    def _look_after(self) -> None:
        """Let nobody wait for an answer for ever."""
        assert self._loop is not None
        self._watch = None
        now = self._time()
        late, soonest = [], inf
        for request in self._asked:
            if not request.answered:
                if request.asked + self._patience <= now:
                    late.append(request)
                else:
                    soonest = min(soonest, request.asked)
        if any(request.sent for request in late) and self._store.connected:
            self._store.suspect()
        for request in late:
            self._give_up_on(request)
        if any(not request.answered for request in late):
            soonest = min(soonest, now)
        if soonest < inf:
            self._watch = self._loop.call_at(soonest + self._patience, self._look_after)
        self.done()

    def _give_up_on(self, request: Request) -> None:
        """No answer has come for too long."""
        if request.caller is None or request.caller.done():
            return
        if isinstance(request, Call) and request.op != "put" and request.wait > 0 and self.known:
            return  # it would wait anyway
        withdrawn = self._store.withdraw(request)
        error = self._unavailable(self._store.trouble, "not done" if withdrawn else "unknown")
        if withdrawn:
            self.failed(request, error)
        else:
            caller, request.caller = request.caller, None
            caller.set_exception(error)


def _ignore(request: Request, word: bytes, reply: Reply) -> None:
    """Nobody cares what came of it."""
