"""Sessions without a client: requests as they are on the wire, and ears that may be closed."""

from __future__ import annotations

from itertools import count
from random import Random
from typing import Any

from redis import Redis

from tests.engine.server import Server

NUMBERS = count(1)


class Session:
    """One session of a queue; nothing here waits."""

    def __init__(self, server: Server, name: str, maxsize: int = 0, ttl: str = "inf") -> None:
        self.base = f"lkq:{{{name}}}"
        self.session = f"{next(NUMBERS):016x}"
        self.commands: Redis = server.admin
        self.ears: Any = server.admin.pubsub()  # type: ignore[no-untyped-call]
        self.ears.subscribe(f"{self.base}:{self.session}")
        self.ears.get_message(timeout=10)
        self.request = 0
        self.waits: dict[int, bytes] = {}  # calls that wait or have not resumed: what they put
        self.leases: list[tuple[bytes, bytes]] = []
        self.alive = True
        self.ask("open", "2", maxsize, ttl, "50000")

    def send(self, request: int, op: str, *args: object) -> Any:
        done = max(0, self.request - 3)
        words = (self.base, self.session, request, done, op, *args)
        return self.commands.execute_command("FCALL", "leasedkeyq2", 1, *words)  # type: ignore[no-untyped-call]

    def ask(self, op: str, *args: object) -> Any:
        """A changing request, sent again as long as there is more to do before it."""
        self.request += 1
        while (reply := self.send(self.request, op, *args))[0] == b"again":
            pass
        return reply

    def look(self, op: str, *args: object) -> Any:
        return self.send(0, op, *args)

    def call(self, op: str, *args: object, value: bytes = b"") -> None:
        """A request whose outcome may be that it waits, or a lease."""
        reply = self.ask(op, *args)
        if reply[0] == b"wait":
            self.waits[self.request] = value
        elif reply[0] == b"ok" and len(reply) == 5:
            self.leases.append((reply[1], reply[2]))
        elif reply[0] == b"gone":
            self.close()

    def resume(self, op: str, number: int) -> None:
        value = self.waits.pop(number)
        reply = self.ask(op, number, *([value] if value else []))
        if reply[0] == b"wait":
            self.waits[number] = value
        elif reply[0] == b"ok" and len(reply) == 5:
            self.leases.append((reply[1], reply[2]))

    def close(self) -> None:
        """Without a word, as if killed."""
        if self.alive:
            self.alive = False
            self.ears.close()
            self.commands.close()


KEYS = ("a", "b", "c", "d")
POLICIES = ("update", "reject", "buffer", "defer")


class Crowd:
    """Sessions that do what comes to their mind."""

    def __init__(self, server: Server, name: str, seed: int) -> None:
        self.server = server
        self.name = name
        self.random = Random(seed)
        self.maxsize = self.random.choice([0, 2, 4])
        self.sessions: list[Session] = []
        self.puts = 0

    def run(self, steps: int) -> None:
        for _ in range(steps):
            while len(self.sessions) < 4:
                ttl = self.random.choice(["inf", "100000"])
                self.sessions.append(Session(self.server, self.name, self.maxsize, ttl))
            session = self.random.choice(self.sessions)
            self.step(session)
            self.sessions = [one for one in self.sessions if one.alive]
        self.end()

    def end(self) -> None:
        """The last words of the queue."""
        one = self.random.choice(self.sessions)
        if self.random.random() < 0.5:
            one.ask("shutdown")
            for _ in range(20):
                self.step(self.random.choice([one for one in self.sessions if one.alive] or [one]))
        if one.alive:
            one.ask(*self.random.choice([("close",), ("drain", "0")]))
            one.look("snapshot")
        for session in self.sessions:
            session.close()

    def little(self, *more: str) -> str:
        """A duration in microseconds, short as a rule."""
        return self.random.choice(["300", "2000", "10000", *more])

    def step(self, one: Session) -> None:
        if not one.alive:
            return
        random = self.random
        key = random.choice(KEYS)
        if one.leases and random.random() < 0.5:
            self.use(one, *random.choice(one.leases))
            return
        if one.waits and random.random() < 0.5:
            number = random.choice([*one.waits])
            op = random.choice(["resume", "resume", "give_up", "cancel"])
            if op == "cancel":
                one.waits.pop(number)
                one.ask("cancel", number)
            else:
                one.resume(op, number)
            return
        wait = self.little("0", "0", "inf", "inf")
        match random.randrange(24):
            case n if n < 7:
                self.puts += 1
                value = f"value {self.puts}".encode()
                delay = random.choice(["0", "0", self.little()])
                one.call("put", key, value, random.choice(POLICIES), delay, wait, value=value)
            case n if n < 12:
                one.call("get", wait, self.little("inf"))
            case n if n < 15:
                one.call("take", key, wait, self.little("inf"))
            case 15:
                one.ask("discard", key)
            case 16:
                one.call("join", wait)
            case 17:
                one.ask("tick")
            case 18:
                one.look(random.choice(["qsize", "inflight_size", "delayed_size"]))
            case 19:
                paged = ["available_keys", "available_items", "inflight_keys", "delayed_keys"]
                one.look(random.choice(paged), 0)
            case 20:
                one.look(random.choice(["peek", "contains"]), key)
            case 21:
                one.look("snapshot")
            case 22:
                one.ask("hello", "100000", *one.waits)
            case 23 if random.random() < 0.2:
                if random.random() < 0.5:
                    one.ask("bye")
                one.close()

    def use(self, one: Session, number: bytes, key: bytes) -> None:
        random = self.random
        match random.randrange(8):
            case 0 | 1:
                one.ask("ack", number, key)
                one.leases.remove((number, key))
            case 2:
                front = random.choice("01")
                delay = "0" if front == "1" else random.choice(["0", self.little()])
                one.ask("release", number, key, front, delay)
                one.leases.remove((number, key))
            case 3 | 4:
                one.ask("extend", number, key, random.choice(["same", self.little("inf")]))
            case 5:
                one.ask("refresh", number, key)
            case 6:
                one.look(random.choice(["superseded", "deadline"]), number, key)
            case 7:
                other = random.choice(KEYS)  # not of this lease, perhaps
                one.ask("ack", number, other)
