"""Crash counts: what was running when a process ended, counted like an effect that kills its process (promise 29).

User code can end the whole process: ``os._exit``, a crash in C, a loop in C that only ``kill -9`` ends. If what came out of the
store did that, it would do it again at every start. So what comes back by itself (an inbox row, a timer, an outcome, a message of
an instance or of a bus) is written into a record before user code sees it, and taken out as soon as user code has returned. The
record survives the process, not the machine: a power cut is not the fault of anything that ran. So it costs a write to memory
and no wait for a disk.

At a start, whatever stands in the record was running at the end. If there were several, one of them may have caused it: each
is counted once, however often that happens. If it was alone, it is counted once more. What has a count runs alone; at
``CRASHES_REFUSED`` it is refused or held, and its neighbours go on.

A step that is stuck in a call into C is ended by the watchdog, with its process, and the record says so (``STUCK``). That is no
crash that may happen once: what was alone in such a record is stopped at the next start, and its instance is held.

What is killed from outside looks the same as a crash. It is refused by mistake only if it was running alone at two such moments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from ..kernel.errors import EngineClosed, KilledItsProcess, OwnershipLost, ReducerFailed
from ..ports import STUCK, Pointer, Store
from .action_checks import TimerMoved
from .pending import Pending

CRASHES_REFUSED = 3
CRASHES_STUCK = 255
"""The count of what is known to be stuck."""
_NAME = 17  # a letter for its kind, and 16 bytes
_KEPT = 1500


def action_name(pending: Pending) -> bytes:
    """The name under which it is found again after a crash; b'' for what does not come back by itself."""
    if pending.ticket:
        return b"t" + pending.ticket.to_bytes(16)
    if pending.comes_again:
        return message_name(pending.id)
    return b"a" + pending.id if pending.settles is not None else b""


def message_name(message_id: bytes) -> bytes:
    """A message of a bus, which its partition brings again, by the id of its action or of where it stands."""
    return b"m" + message_id


def reading_name(ticket: int) -> bytes:
    """An inbox row whose payload is read: apart from its action, which runs later and is counted for itself."""
    return b"i" + ticket.to_bytes(16)


def row_name(pointer: Pointer) -> bytes:
    """An outbox row that is read back."""
    return b"r%b%b%b" % (pointer.shard.to_bytes(4), pointer.n.to_bytes(8), pointer.ordinal.to_bytes(4))


class CrashCounts:
    """One record per store, kept by its owner. ``crashes[name]`` holds only what crashed and has not returned since."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.crashes: dict[bytes, int] = {}
        self.owned: Callable[[], None] = _nothing
        """Called when the store is ours, before any user code runs."""
        self.stuck_at = ""
        """Where the last process was stuck and ended; '' when it was not."""

    async def read_last_run(self) -> int:
        """Read what the owner before left and count it. Returns how many names have a count."""
        self.owned()
        record = await self._store.judged()
        if record.startswith(STUCK):
            where, _, record = record[len(STUCK) :].partition(b"\n")
            self.stuck_at = where.decode("utf-8", "replace")
        crashes, running = _read(record)
        for name in running:
            before, alone = crashes.get(name, 0), len(running) == 1
            crashes[name] = min(before + 1, CRASHES_STUCK - 1) if alone else max(before, 1)
            if alone and self.stuck_at:
                crashes[name] = CRASHES_STUCK
        self.crashes = crashes
        self._write(())
        return len(crashes)

    @contextmanager
    def running(self, names: Sequence[bytes]) -> Iterator[set[bytes]]:
        """User code sees these while the body runs. What returns from it, also by an exception, loses its count.

        The body may put those that user code did not see after all into the set that it gets: they keep theirs.
        """
        unseen: set[bytes] = set()
        if not names:
            yield unseen
            return
        self._write(names)
        try:
            yield unseen
        finally:
            for name in names:
                if name not in unseen:
                    self.crashes.pop(name, None)
            self._write(())

    def any_crashed(self, names: Sequence[bytes]) -> bool:
        """Whether one of them has a count, and so must run alone."""
        return bool(self.crashes) and any(name in self.crashes for name in names)

    def refusal(self, name: bytes) -> KilledItsProcess | None:
        """Its refusal, when it has crashed too often. Its count stays until ``forget``: the refusal is not durable yet."""
        crashes = self.crashes.get(name, 0)
        if crashes < CRASHES_REFUSED:
            return None
        if crashes == CRASHES_STUCK:
            return KilledItsProcess(
                f"it did not return, and its process was ended{self._at}; fix the code, then send or drive it again"
            )
        return KilledItsProcess(
            f"it was running when the process ended, {crashes} times in a row: the code of its reducer, guards or "
            "payload ends or hangs the process. Fix the code, then send or drive it again",
            crashes=crashes,
        )

    def step_refusal(self, pending: Pending) -> KilledItsProcess | ReducerFailed | None:
        """The same for an action that is about to be stepped. One that was stuck holds its instance."""
        name = action_name(pending)
        if self.crashes.get(name) != CRASHES_STUCK:
            return self.refusal(name)
        return ReducerFailed(
            f"{pending.kind!r} did not return from a call into C, and its process was ended{self._at}",
            trigger=pending.kind,
            stuck=True,
        )

    @property
    def _at(self) -> str:
        return f" ({self.stuck_at})" if self.stuck_at else ""

    def answered(self, pending: Pending, answer: object) -> None:
        """It is over, and its count is forgotten, unless it comes back: because the engine ended before it was durable, or
        because it is a held timer that came at another version."""
        if not isinstance(answer, EngineClosed | OwnershipLost | TimerMoved):
            self.forget(action_name(pending))
            self.forget(reading_name(pending.ticket))

    def forget(self, name: bytes) -> None:
        """Its end is durable, or an operator drives it again because its code was fixed: what comes now counts from 0."""
        if self.crashes.pop(name, None) is not None:
            self._write(())

    def _write(self, running: Sequence[bytes]) -> None:
        if not running and not self.crashes:
            self._store.judging(b"")
            return
        kept = list(self.crashes.items())[:_KEPT]
        counted = b"".join([name + bytes((min(crashes, 255),)) for name, crashes in kept])
        self._store.judging(len(kept).to_bytes(4) + counted + b"".join(running[:_KEPT]))


def _nothing() -> None:
    """Nobody wants to know."""


def _read(record: bytes) -> tuple[dict[bytes, int], list[bytes]]:
    if len(record) < 4:
        return {}, []
    end = 4 + int.from_bytes(record[:4]) * (_NAME + 1)
    counted, running = record[4:end], record[end:]
    crashes = {counted[at : at + _NAME]: counted[at + _NAME] for at in range(0, len(counted), _NAME + 1)}
    return crashes, [running[at : at + _NAME] for at in range(0, len(running), _NAME)]
