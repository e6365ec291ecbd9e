"""Misbehaviour: a user's code that misbehaves. It raises anything, gives back anything, never ends, or takes its process with it.

It is a kind of fault like any other: each seed draws which of these there are and how bad they are, from a stream of its
own, so that a run without them is what it was. What misbehaves asks ``current_misbehaviour()``: user code has no other way to know.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from random import Random
from typing import Final, Never

from ..kernel.errors import KilledItsProcess
from ..ports import Rejection
from .host import HOST, Host

POINTS: Final = {
    "validator misbehaves": 0.30,
    "validator of stored rows misbehaves": 0.20,
    "what is emitted does not reload": 0.15,
    "reducer raises anything": 0.15,
    "reducer gives back anything": 0.15,
    "reducer emits anything": 0.20,
    "reducer writes what no store takes": 0.10,
    "reducer changes what it was given": 0.20,
    "reducer never ends": 0.08,
    "guard misbehaves": 0.10,
    "client sends no payload": 0.08,
    "client sends no arguments": 0.10,
    "client sends what is not its own": 0.08,
    "inbox is sent anything": 0.10,
    "effect is a plain function": 0.30,
    "effect raises anything before": 0.15,
    "effect raises anything after": 0.15,
    "effect gives back anything": 0.15,
    "effect gives back nothing": 0.08,
    "effect gives back what cannot be kept": 0.10,
    "effect raises its own time-out": 0.35,
    "effect raises what others raise too": 0.35,
    "effect swallows its cancellation": 0.08,
    "computing raises anything": 0.20,
    "computing gives back anything": 0.15,
    "projection raises anything": 0.03,
    "projection gives back anything": 0.02,
    "migration misbehaves": 0.60,
    "action kills its process": 0.04,
    "timer kills its process": 0.10,
    "outcome kills its process": 0.04,
    "validator kills its process": 0.10,
}
"""Chance of each at full strength: per act of a client, per call of an effect, per row of a projection, per step."""

KILLS: Final = 9
"""Processes of one run that user code may take with it: three times three, and nothing is left to drive."""
DEADLY: Final = 3
COUNTED: Final = DEADLY + 1
"""Crashes of one row at the most: three that are counted, and one together with others, or in a time when none is."""
DEEP: Final = 5_000


class Fatal(BaseException):
    """What a library raises that wants nobody to catch it."""


class Untellable(Exception):
    """It cannot be told what it says."""

    def __str__(self) -> str:
        raise RuntimeError("no words for it")


def _deeper(n: int) -> int:
    return 1 + _deeper(n + 1) if n < DEEP else n


def _recursion() -> BaseException:
    try:
        _deeper(0)
    except RecursionError as error:
        return error.with_traceback(None)
    return RecursionError("this deep it ended by itself")


HOSTILE: Final = "caf\udce9\x00"
RAISED: Final[Mapping[str, Callable[[], BaseException]]] = {
    "AttributeError": lambda: AttributeError("'NoneType' object has no attribute 'strip'"),
    "KeyError": lambda: KeyError("no such column"),
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": lambda: StopIteration("no more of it"),
    "StopAsyncIteration": StopAsyncIteration,
    "Fatal": lambda: Fatal("this process is beyond help"),
    "Untellable": Untellable,
    "Hostile": lambda: ValueError(HOSTILE),
    "Group": lambda: BaseExceptionGroup("several at once", [SystemExit(1), Untellable()]),
    "MemoryError": MemoryError,
    "RecursionError": _recursion,
    "TimeoutError": lambda: TimeoutError("my own patience is at its end"),
}
"""What user code raises, by the name a client or a seed knows it by."""
KINDS: Final = tuple(RAISED)


def raises(kind: str) -> Never:
    """Raises it, by a ``raise`` of this code: no signal of the system looks like this."""
    error = RAISED[kind]()
    raise error


class Misbehaviour:
    """One seed's draw of how user code misbehaves. After ``heal`` it does not, as after a fix."""

    def __init__(self, chance: Random, counted: Counter[str]) -> None:
        self.chance, self.counted = chance, counted
        self._strength = {
            point: p * chance.choice((0.3, 0.6, 1.0)) if chance.random() < 0.5 else 0.0 for point, p in POINTS.items()
        }
        self.healed = False
        self.generation = 1
        """The release whose code runs now. The second one cannot read what the first one wrote, where rows are unreadable."""
        self.unreadable = 0
        """Stored rows that could not be read so far."""
        self.in_inbox: set[bytes] = set()
        """Ids of actions that stand in a row of the inbox: what judges them can count how often it died over them."""
        self.killed: Counter[bytes] = Counter()
        """Processes that an action has taken with it since it was last refused for that."""
        self.too_often: set[bytes] = set()
        self._kills = 0
        self._deadly: set[bytes] = set()

        self.migrating = False
        """A third release is there whose state has another schema, and its migration is not fixed yet."""

    def hits(self, point: str) -> bool:
        p = self._strength[point]
        if self.healed or not p or self.chance.random() >= p:
            return False
        self.counted[point] += 1
        return True

    @property
    def migrates(self) -> bool:
        """Whether this run ends with a release that migrates."""
        return self._strength["migration misbehaves"] > 0

    def kind(self) -> str:
        """What is raised this time."""
        return self.chance.choice(KINDS)

    def heal(self) -> None:
        self.healed = True

    # --- what takes its process with it -----------------------------------------------------------------------------------

    def step(self, action_id: bytes, point: str) -> None:
        """A handler begins. Raises HostCrashed when it ends its process, as ``os._exit`` in it would.

        What has done so does it again each time. Without a row there is nobody who could count: then once is enough.
        """
        host = running()
        if host is None or self.healed:
            return
        if action_id not in self._deadly and self.hits(point):
            self._deadly.add(action_id)
        if action_id in self._deadly:
            counted = point != "action kills its process" or action_id in self.in_inbox
            self._kill(host, action_id, once=not counted)

    def validator_kills(self, action_id: bytes) -> None:
        host = running()
        if host is not None and not self.healed:
            self._kill(host, action_id, once=action_id not in self.in_inbox)

    def _kill(self, host: Host, who: bytes, *, once: bool) -> None:
        if self._kills >= KILLS or (once and self.killed[who]):
            return
        self._kills += 1
        self.killed[who] += 1
        if self.killed[who] > COUNTED:
            self.too_often.add(who)
        host.crash()

    def orderly_end(self) -> None:
        """Somebody ended the engine in order: a store keeps no record of it, and what has crashed counts anew."""
        self.killed.clear()

    def hears_of(self, refusal: Rejection) -> None:
        """A refusal for that is durable: whoever drives it again says that it is fixed, and it counts anew."""
        if refusal.code == KilledItsProcess.code and self.killed.pop(refusal.action_id, 0) >= DEADLY:
            self.counted["met: three crashes of user code"] += 1

    # --- what is stored ---------------------------------------------------------------------------------------------------

    def fail_to_read(self, kind: str) -> None:
        """A validator of the second release is asked about what the first one took. Raises anything."""
        if not self.healed and self.generation == 2 and running() is not None:
            self.unreadable += 1
            self.counted["met: unreadable row"] += 1
            raises(kind)


_current: list[Misbehaviour | None] = []


def current_misbehaviour() -> Misbehaviour | None:
    """Whoever decides over the user code that runs; None: it behaves."""
    return _current[-1] if _current else None


@contextmanager
def use_misbehaviour(misbehaviour: Misbehaviour | None) -> Iterator[None]:
    """For as long as that user code asks this one; None: it behaves."""
    _current.append(misbehaviour)
    try:
        yield
    finally:
        _current.pop()


def running() -> Host | None:
    """The engine whose code runs; None where a checker looks at what the code of the app says."""
    host = HOST.get(None)
    return host if host is not None and host.name.startswith("engine") else None
