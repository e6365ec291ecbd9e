"""User code that misbehaves: it raises anything, returns anything, never ends, or ends its process.

It is a kind of fault: each seed draws which of these happen, and how often, from a random stream of its own. So a run without
misbehaviour is the same run as before. User code has no parameter for it and asks ``current_misbehaviour()``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import ClassVar, Final

from onex.kernel.errors import KilledItsProcess
from onex.ports import Rejection
from onex.simulation.host import Host
from onex.simulation.raised_errors import KINDS, raises, running_engine
from tests.engine_sim.seeded_faults import SeededFaults

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
"""Processes that user code may end in one run: three actions, three times each. Then enough is left to check."""
DEADLY: Final = 3
COUNTED: Final = DEADLY + 1
"""Crashes of one row at the most: three that are counted, and one together with others, or in a time when none is."""


class Misbehaviour(SeededFaults):
    """One seed's draw of how user code misbehaves. After ``stop`` it behaves, as after a fix."""

    points: ClassVar = POINTS
    levels: ClassVar = (0.3, 0.6, 1.0)

    def __init__(self, chance: Random, counted: Counter[str]) -> None:
        super().__init__(chance, counted)
        self.migrates = self._strength["migration misbehaves"] > 0
        """Whether this run ends with a release that migrates."""
        self.stopped = False
        self.generation = 1
        """The release whose code runs now. The second one may fail to read rows that the first one wrote."""
        self.unreadable = 0
        """Stored rows that could not be read so far."""
        self.in_inbox: set[bytes] = set()
        """Ids of actions that stand in a row of the inbox: crashes over them can be counted."""
        self.killed: Counter[bytes] = Counter()
        """By action: the processes it has ended since it was last refused for that."""
        self.too_often: set[bytes] = set()
        self._kills = 0
        self._deadly: set[bytes] = set()
        self.migrating = False
        """The third release runs. Its state has another schema, and its migration is not fixed yet."""

    def kind(self) -> str:
        """What is raised this time."""
        return self.chance.choice(KINDS)

    def stop(self) -> None:
        super().stop()
        self.stopped = True

    # --- what ends its process --------------------------------------------------------------------------------------------

    def step(self, action_id: bytes, point: str) -> None:
        """A handler begins. Raises HostCrashed when it ends its process, as ``os._exit`` in it would.

        An action that did so does it again each time. Where no stored row counts its crashes, it does it once only.
        """
        host = running_engine()
        if host is None or self.stopped:
            return
        if action_id not in self._deadly and self.hits(point):
            self._deadly.add(action_id)
        if action_id in self._deadly:
            counted = point != "action kills its process" or action_id in self.in_inbox
            self._kill(host, action_id, once=not counted)

    def validator_kills(self, action_id: bytes) -> None:
        host = running_engine()
        if host is not None and not self.stopped:
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
        """The engine was closed in order: the store keeps no record of what ran, so crashes are counted from 0 again."""
        self.killed.clear()

    def refused(self, refusal: Rejection) -> None:
        """A refusal is durable. One for killing its process ends the count: who re-drives it says that it is fixed."""
        if refusal.code == KilledItsProcess.code and self.killed.pop(refusal.action_id, 0) >= DEADLY:
            self.counted["met: three crashes of user code"] += 1

    # --- what is stored ---------------------------------------------------------------------------------------------------

    def fail_to_read(self, kind: str) -> None:
        """A validator of the second release reads what the first one accepted. Raises what ``kind`` names."""
        if not self.stopped and self.generation == 2 and running_engine() is not None:
            self.unreadable += 1
            self.counted["met: unreadable row"] += 1
            raises(kind)


_current: list[Misbehaviour | None] = []


def current_misbehaviour() -> Misbehaviour | None:
    """How the user code that runs now misbehaves. None: it behaves."""
    return _current[-1] if _current else None


@contextmanager
def use_misbehaviour(misbehaviour: Misbehaviour | None) -> Iterator[None]:
    """Inside, user code misbehaves as this says. None: it behaves."""
    _current.append(misbehaviour)
    try:
        yield
    finally:
        _current.pop()
