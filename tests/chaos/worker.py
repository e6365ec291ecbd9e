"""``onex worker`` that says on SIGUSR1 what it waits for: ``python -m tests.chaos.worker worker APP ...``, words as of ``onex``.

A run that stands still is given up after two minutes, and its processes with it. So each worker is asked first, and its answer
stands in its log: what waits in its writer, its inbox, its messages to others, what its intake from the bus holds, and
where each of its tasks stands. Nothing of it is in the engine: its parts are found as the ``self`` of its tasks.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from types import FrameType

from onex.cli.start import start
from onex.engine.bus.intake import BusIntake
from onex.engine.dispatch import ReducerService
from onex.engine.inbox import Inbox
from onex.engine.messenger import Messenger

END = "--- that is what it waits for"
FRAMES = 4


def waits_for() -> Iterator[str]:
    """Lines. Called in the thread of the event loop, between two of its steps."""
    try:
        tasks = sorted(asyncio.all_tasks(), key=lambda one: one.get_name())
    except RuntimeError:  # there is no loop yet, or no more
        return
    stacks = {task: _frames(task) for task in tasks}
    found = {
        id(one): one for frames in stacks.values() for at in frames if (one := at.f_locals.get("self")) is not None
    }
    intakes = [one for one in found.values() if isinstance(one, BusIntake)]
    for part in (*found.values(), *(one._others for one in intakes)):
        yield from _part(part)
    for task, frames in stacks.items():
        stack = " < ".join(f"{at.f_code.co_name}:{at.f_lineno}" for at in reversed(frames[-FRAMES:]))
        yield f"task {task.get_name()}: {stack}"


def _part(part: object) -> Iterator[str]:
    """What one part of an engine holds; nothing for any other object."""
    if isinstance(part, ReducerService):
        yield f"writer: shards {dict(part.fences)}, {part._waiting} wait, {part._failures} failures, closed {part.closed}"
        yield f"writer: gives {sorted(part._leaving)}, loses {sorted(part._lost)}, backs off {part._backoff.busy}"
        for entry in part._mailboxes.waiting():
            ids = [(one.kind, one.id.hex(), one.ticket) for one in entry.inflight.values()]
            yield f"mailbox {entry.key}: {len(entry.queue)} queued, in its turn {entry.queued}, in flight {ids}"
    elif isinstance(part, Inbox):
        gained = sorted(part._gained)
        yield f"inbox: taken {part._taken}, known {part._known}, current {part._current}, gained {gained}"
    elif isinstance(part, Messenger):
        yield f"messages: tickets {sorted(part._waiting)}, somebody asks {part._asks}"
    elif isinstance(part, BusIntake):
        for at, one in part._open._partitions.items():
            yield f"bus {at.topic}/{at.partition}: next {one.next}, committed {one.committed}, open {list(one.open)}"
        for key, lane in part._lanes.items():
            yield f"lane {key!r}: {[(ask.message.partition, ask.message.offset) for ask in lane]}"


def _frames(task: asyncio.Task[object]) -> list[FrameType]:
    """Of its coroutine and of those that this one awaits, outermost first."""
    found: list[FrameType] = []
    awaited: object = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None)
        if isinstance(frame, FrameType):
            found.append(frame)
        awaited = getattr(awaited, "cr_await", None)
    return found


def _tell(*_: object) -> None:
    for line in (*waits_for(), END):
        print(line, file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    sys.exit(start())
