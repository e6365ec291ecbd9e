"""Bugs where the code of a user is called: what it raises, gives back or ends goes further than its own row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import count

from pydantic import BaseModel

import onex.engine.batch
import onex.engine.effect_runs
import onex.engine.encode
import onex.engine.fold
import onex.engine.inbox
import onex.engine.intake
import onex.engine.isolate
import onex.engine.mailbox
import onex.kernel.intent
import onex.kernel.machine
import onex.kernel.migration
import onex.kernel.user_code
import onex.nodes.effect
import onex.nodes.isolated_call
from onex.engine.attempt import WRONG_RESULT, effect_error, timeout_error
from onex.engine.crash_counts import CrashCounts
from onex.engine.fold import Folded
from onex.engine.inbox import Inbox
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Pending
from onex.engine.projections import ProjectionMaterializerService
from onex.engine.task_supervisor import TaskSupervisor
from onex.kernel.errors import EffectFailed, EffectUnknown, OnexError, ReducerFailed
from onex.kernel.user_code import caught
from onex.ports import InboxRow, NewBlob
from tests.simulation.planting import planted, swapped


def exceptions_only(error: BaseException) -> str:
    """As somebody writes it who has ``except Exception`` in the fingers."""
    if not isinstance(error, Exception):
        raise error
    return caught(error)


# --- what it raises ---------------------------------------------------------------------------------------------------------


@planted
def exception_whose_text_raises() -> Iterator[None]:
    """``str`` of an exception is code of the user too."""

    def wrong(error: BaseException, most: int = 2000) -> str:
        return f"{type(error).__name__}: {error}"[:most]

    with swapped(onex.kernel.user_code, "describe", wrong):
        yield


@planted
def shared_exception_keeps_every_traceback() -> Iterator[None]:
    """One object that many raise holds every frame, and every local, of all of them."""
    with swapped(onex.kernel.user_code, "_cut_earlier_raises", lambda error: None):
        yield


@planted
def handler_that_raises_a_base_exception_ends_the_engine() -> Iterator[None]:
    """Neither the reducer nor the fold around it catches what is no ``Exception``; the net under both is gone too."""

    with (
        swapped(onex.kernel.machine, "caught", exceptions_only),
        swapped(onex.engine.fold, "caught", exceptions_only),
        swapped(onex.engine.mailbox, "caught", exceptions_only),
        swapped(onex.engine.isolate, "caught", exceptions_only),
    ):
        yield


@planted
def effect_that_raises_a_base_exception_gets_no_outcome() -> Iterator[None]:
    """Its task dies with what it raised, and the row waits for an answer that nobody will write."""

    def wrong(error: BaseException) -> EffectFailed | EffectUnknown:
        if not isinstance(error, Exception):
            raise error
        return effect_error(error)

    with (
        swapped(onex.nodes.isolated_call, "effect_error", wrong),
        swapped(onex.engine.effect_runs, "effect_error", wrong),
    ):
        yield


@planted
def migration_that_raises_a_base_exception_ends_the_start() -> Iterator[None]:
    with (
        swapped(onex.kernel.migration, "caught", exceptions_only),
        swapped(onex.engine.fold, "caught", exceptions_only),
        swapped(onex.engine.mailbox, "caught", exceptions_only),
        swapped(onex.engine.isolate, "caught", exceptions_only),
    ):
        yield


@planted
def time_out_of_the_effect_reported_as_the_engines() -> Iterator[None]:
    """Whoever reads the outcome looks for a far side that hangs, and there is none."""

    def wrong(error: BaseException) -> EffectFailed | EffectUnknown:
        return timeout_error(error, 1.0) if isinstance(error, TimeoutError) else effect_error(error)

    with swapped(onex.nodes.isolated_call, "effect_error", wrong):
        yield


@planted
def neighbours_of_a_raising_action_refused_with_it() -> Iterator[None]:
    """One of the batch fails, and those behind it for the same instance are answered that they failed."""
    right = Folded._refuse

    def wrong(self: Folded, pending: Pending, error: OnexError) -> None:
        right(self, pending, error)
        if isinstance(error, ReducerFailed):
            later = list(self.pendings)[list(self.pendings).index(pending) + 1 :]
            self._refusals = {**dict.fromkeys(later, error), **self._refusals}

    with swapped(Folded, "_refuse", wrong):
        yield


@planted
def failed_projection_not_reported() -> Iterator[None]:
    """It stands still, nobody is told why, and so nobody fixes it."""

    def wrong(self: ProjectionMaterializerService, error: OnexError) -> None:
        return None

    with swapped(ProjectionMaterializerService, "_stand_still", wrong):
        yield


# --- what it gives back -----------------------------------------------------------------------------------------------------


@planted
def wrong_result_reported_as_failed() -> Iterator[None]:
    """It acted, and gave back what it should not: that is no word of its not having acted."""

    def wrong(message: str, code: str = WRONG_RESULT) -> EffectFailed:
        return EffectFailed(message, code=code)

    with swapped(onex.nodes.effect, "wrong_result", wrong):
        yield


@planted
def first_attempt_gets_the_value_in_memory() -> Iterator[None]:
    """A validator that multiplies: the first try is told 500, the second, read back, 50,000 under the same key."""
    with swapped(onex.kernel.intent, "detached", lambda value: value):
        yield


@planted
def receiver_of_a_message_not_checked() -> Iterator[None]:
    """``send`` to a number or a UUID: committed as it is, and then there is nobody of that name."""
    with swapped(onex.kernel.intent, "_receiver", lambda spec, to: to):
        yield


@planted
def integers_checked_every_hundredth_time() -> Iterator[None]:
    """What a state or an intent may hold depends on how many were written before it."""
    numbers, right = count(1), onex.engine.encode.check_kept

    def wrong(data: bytes, value: BaseModel) -> None:
        if next(numbers) % 100 == 0:
            right(data, value)

    with swapped(onex.engine.encode, "check_kept", wrong):
        yield


@planted
def payload_changed_in_place_folded_as_changed() -> Iterator[None]:
    """A bug of ours until these runs showed it: an action folded a second time has the payload that its handler left."""
    with swapped(Folded, "_payload_again", lambda self, pending: pending.payload):
        yield


@planted
def held_outcome_without_its_blobs() -> Iterator[None]:
    """A bug of ours until run 132 showed it: what an outcome names is written only where the outcome is taken."""

    def wrong(folded: Folded) -> list[NewBlob]:
        return []

    with swapped(onex.engine.batch, "_held_blobs", wrong):
        yield


# --- who sends it -----------------------------------------------------------------------------------------------------------


@planted
def rollback_accepted_from_clients() -> Iterator[None]:
    """An action of the engine's own kinds is taken from whoever sends it, with the state that it brings along."""
    with swapped(onex.engine.intake, "_check_reserved", lambda kind, ours: None):
        yield


@planted
def lease_read_from_memory() -> Iterator[None]:
    """A bug of ours until run 33 showed it: a lease that ended in the store kept everybody out until its time was over."""
    right = Folded._refuse

    def wrong(self: Folded, pending: Pending, error: OnexError) -> None:
        right(self, pending, error)
        self._lease_ended = False

    with swapped(Folded, "_refuse", wrong):
        yield


@planted
def store_kept_after_a_failed_start() -> Iterator[None]:
    """Who could not start has nothing to close, somebody thought: the lock stays with a process that does nothing."""
    right = ReducerPatternEngine.close

    async def wrong(self: ReducerPatternEngine) -> None:
        if self.service._task is not None:
            await right(self)

    with swapped(ReducerPatternEngine, "close", wrong):
        yield


# --- what it ends -----------------------------------------------------------------------------------------------------------


@planted
def crashes_in_a_handler_not_counted() -> Iterator[None]:
    """A timer, an outcome or an action whose handler ends the process does so at every start."""
    with swapped(onex.engine.isolate, "action_name", lambda pending: b""):
        yield


@planted
def crashes_in_a_validator_not_counted() -> Iterator[None]:
    """An inbox row whose validator ends the process does so at every start."""
    judging = CrashCounts.running
    with (
        swapped(onex.engine.inbox, "reading_name", lambda ticket: b""),
        swapped(CrashCounts, "running", lambda self, names: judging(self, [name for name in names if name])),
    ):
        yield


@planted
def crashes_counted_from_one_each_time() -> Iterator[None]:
    """What the owner before had counted is not read: nobody ever comes to three."""
    recall = CrashCounts.read_last_run

    async def wrong(self: CrashCounts) -> int:
        found = await recall(self)
        self.crashes = dict.fromkeys(self.crashes, 1)
        return found

    with swapped(CrashCounts, "read_last_run", wrong):
        yield


@planted
def crash_counts_forgotten_while_another_action_runs() -> Iterator[None]:
    """The record holds who is judged now, and no longer who had crashed before and still waits."""

    def wrong(self: CrashCounts, running: Sequence[bytes]) -> None:
        crashes = self.crashes
        self.crashes = {name: n for name, n in crashes.items() if name in running}
        write(self, running)
        self.crashes = crashes

    write = CrashCounts._write
    with swapped(CrashCounts, "_write", wrong):
        yield


@planted
def loop_that_ends_without_a_report() -> Iterator[None]:
    """An inbox row that cannot be read ends the loop that reads it, and nobody begins it again or says that it is gone."""
    take = Inbox._take

    async def wrong(self: Inbox, row: InboxRow) -> None:
        if b'"how":"before:' in row.body and self._supervisor._tasks:  # the look at a start is another
            raise AttributeError("a validator's own")
        await take(self, row)

    async def once(self: TaskSupervisor, turn: Callable[[], Awaitable[None]], name: str) -> None:
        try:
            while True:
                await turn()
        except Exception:
            return

    with swapped(Inbox, "_take", wrong), swapped(TaskSupervisor, "_keep", once):
        yield


@planted
def row_that_raises_stops_the_whole_inbox() -> Iterator[None]:
    """The same row again and again, until the engine gives up: those behind it are never read."""
    take = Inbox._take

    async def wrong(self: Inbox, row: InboxRow) -> None:
        if b'"how":"before:' in row.body and self._supervisor._tasks:  # the look at a start is another
            raise AttributeError("a validator's own")
        await take(self, row)

    with swapped(Inbox, "_take", wrong):
        yield
