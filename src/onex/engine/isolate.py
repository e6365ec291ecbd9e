"""Fault isolation: a batch is taken, loaded and folded, and what goes wrong with one action or one instance stays there.

In this order:

1. ``take``: the next actions from the mailboxes. An action that was running when a process ended comes alone, so that a
   second crash is counted for it and for nobody else (``crash_counts``); one that crashed too often is refused here.
2. ``fold``: instances that are not in memory are loaded, in one query.
3. In one turn of the event loop, with the names of these actions written into the crash record: stored states are decoded and
   actions are folded. All user code of a step runs in this turn.
4. Where a step may go beyond its instance's quota of open intents, these are counted in the store, and it is folded again.

``Folded`` raises nothing for bad input, and what user code raises is a refusal by the time it gets there. What comes through
all the same is a fault of the engine's. It must cost one action, not the engine, and not again at each start. So ``_isolated``
loads that instance anew and looks by bisection for the shortest prefix of its actions that raises. The last of this prefix is
refused, and the rest is folded again, until nothing raises. If it raises with no action at all, the engine ends.

The store may fail while an instance is loaded: that error goes to the caller, which puts everything back.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from uuid import UUID

from ..kernel.errors import OnexError, ReducerFailed
from ..kernel.search import SearchPlan
from ..kernel.user_code import caught
from ..ports import Env, Store, Stored
from .action_checks import Rules
from .crash_counts import CrashCounts, action_name
from .fold import Folded, fold
from .mailbox import Entry, Mailboxes
from .metrics import Counters, Events
from .payload_reading import read_again
from .pending import Pending
from .quotas import CountOpen, CountOpenIntents
from .registry import ReducerRegistry, Workflow
from .versions import CodeNotAtHand

Taken = list[tuple[Entry, list[Pending]]]


class FaultIsolation:
    """``rules[workflow.rules]`` are given when the engine has its store, and with each version that it learns."""

    def __init__(
        self,
        store: Store,
        registry: ReducerRegistry,
        mailboxes: Mailboxes,
        crash_counts: CrashCounts,
        events: Events,
        count_open: CountOpen,
        counters: Counters,
    ) -> None:
        self._registry = registry
        self.rules: dict[str, Rules] = {}
        self.plans: Mapping[str, SearchPlan] = {}
        self._store, self._mailboxes, self._crash_counts, self._events = store, mailboxes, crash_counts, events
        self._count_open = count_open
        self.counters = counters

    async def number(self, workflow: Workflow, env: Env, *, check_all: bool) -> None:
        """The store's number for this code. Raises what the store raises."""
        code_id, env_id = await self._store.intern(workflow.code, env)
        self._registry.number(code_id, workflow)
        plan = self.plans.get(workflow.code.workflow_type)
        if plan is not None and workflow.variant:
            try:  # its states may have other fields than those that the store is searched by
                plan.read(workflow.reducer.initial())
            except AttributeError:
                plan = None
        self.rules[workflow.rules] = Rules(code_id, env_id, 0, check_all, plan)

    @property
    def looks_for_crashes(self) -> bool:
        """Whether some action has a crash count, so that actions may have to be folded alone."""
        return bool(self._crash_counts.crashes)

    def take(self, room: int, busy: Container[Entry] = ()) -> tuple[Taken, dict[Pending, OnexError]]:
        """The next actions, none of ``busy``. Only one, where one has a crash count; one that crashed too often is refused."""
        taken = self._mailboxes.take(room, busy)
        refusals: dict[Pending, OnexError] = {}
        if not self._crash_counts.crashes:
            return taken, refusals
        if self._crash_counts.any_crashed([action_name(one) for _, pendings in taken for one in pendings]):
            for entry, pendings in reversed(taken):
                self._mailboxes.put_back(entry, pendings)
            taken = self._mailboxes.take(1, busy)
        for _, pendings in taken:
            for one in pendings:
                refused = self._crash_counts.step_refusal(one)
                if refused is not None:
                    refusals[one] = refused
                    self._events("refused_after_crashes", **_named(one), error=refused.message)
        return taken, refusals

    async def fold(
        self,
        taken: Taken,
        refusals: Mapping[Pending, OnexError],
        now_us: int,
        *,
        postponed: set[Entry] | None = None,
    ) -> tuple[list[Entry], list[Folded]]:
        """The entries that are to be released with this batch, and each key's fold. Raises what the store raises.

        ``postponed`` is None when no commit is under way. Then an instance may be loaded again, to find the action that cannot be
        folded, or to count its intents. Else the fold's own exception is raised, and an instance that is to be counted is left out
        of ``taken`` and put there.
        """
        alone = postponed is None
        cold = [entry for entry, _ in taken if entry.loaded is None]
        stored = await self._store.load([entry.key for entry in cold]) if cold else {}
        self.counters.cache_hits += len(taken) - len(cold)
        self.counters.cache_misses += len(stored)
        rules = {name: rules._replace(now_us=now_us) for name, rules in self.rules.items()}
        refusals = dict(refusals)
        folds: list[Folded] = []
        failed: list[tuple[int, str]] = []
        uncounted: list[int] = []
        retries = self._mailboxes.retries
        with self._crash_counts.running(_names(taken, refusals)) as unseen:
            for entry in cold:
                self._load(entry, stored.get(entry.key))
            if self._registry.several:
                for entry, _ in taken:
                    self._choose(entry)
                self._read_again(taken, refusals)
            releasing = [entry for entry, _ in taken if entry.release]
            for at, (entry, pendings) in enumerate(taken):
                try:
                    folds.append(fold(entry, pendings, rules[entry.workflow.rules], refusals, retries))
                except CountOpenIntents:
                    uncounted.append(at)
                    folds.append(Folded(entry, (), rules[entry.workflow.rules], refusals, ()))
                except BaseException as error:
                    if not alone:
                        raise
                    failed.append((at, caught(error)))
                    folds.append(Folded(entry, (), rules[entry.workflow.rules], refusals, ()))
            if self._crash_counts.crashes:
                unseen.update([action_name(one) for folded in folds for one in folded.unseen])
        if postponed is not None:
            for at in reversed(uncounted):
                entry, pendings = taken.pop(at)
                del folds[at]
                self._postpone(entry, pendings, releasing)
                postponed.add(entry)
            uncounted.clear()
        for at in uncounted:
            entry, pendings = taken[at]
            again = await self._reload(entry, releasing)
            with self._crash_counts.running(_names([taken[at]], refusals)) as unseen:
                again()
                try:
                    folds[at] = fold(entry, pendings, rules[entry.workflow.rules], refusals, pendings)
                    unseen.update([action_name(one) for one in folds[at].unseen])
                except BaseException as error:
                    failed.append((at, caught(error)))
        for at, cause in failed:
            entry, pendings = taken[at]
            again = await self._reload(entry, releasing)
            with self._crash_counts.running(_names([taken[at]], refusals)):
                folds[at] = self._isolated(entry, pendings, refusals, again, cause)
        return releasing, folds

    def _postpone(self, entry: Entry, pendings: list[Pending], releasing: list[Entry]) -> None:
        """Back to its mailbox, with its release."""
        if entry in releasing:
            releasing.remove(entry)
            entry.release = True
        self._mailboxes.put_back(entry, pendings)

    async def _reload(self, entry: Entry, releasing: list[Entry]) -> Callable[[], None]:
        """What puts the entry back to what the store holds, with its open intents counted. Raises what the store raises.

        Its release may have come while the store was read: it joins ``releasing``, since the fold ends the hold.
        """
        stored = (await self._store.load([entry.key])).get(entry.key)
        limited = entry.workflow.limits.pending_intents is not None
        count = await self._count_open(entry.key) if limited else None

        def again() -> None:
            self._load(entry, stored)
            if entry.use is not None and entry.loaded is not None:
                entry.use.loaded(entry.loaded.version, count)
            if entry.release and entry not in releasing:
                releasing.append(entry)
            entry.release = entry in releasing

        return again

    def _isolated(
        self,
        entry: Entry,
        pendings: Sequence[Pending],
        refusals: Mapping[Pending, OnexError],
        reload: Callable[[], None],
        cause: str,
    ) -> Folded:
        """``fold`` without the actions with which it raises. Raises what it raises when it does so without any."""
        rules, refused = self.rules[entry.workflow.rules], dict(refusals)

        def again(some: Sequence[Pending]) -> Folded:
            reload()
            return fold(entry, some, rules, refused, pendings)

        while True:
            candidates = [one for one in pendings if one not in refused]
            least, most = 0, len(candidates)  # the shortest prefix that raises ends with the failing action
            while most - least > 1:
                middle = (least + most) // 2
                try:
                    again(candidates[:middle])
                    least = middle
                except BaseException as error:
                    cause = caught(error)
                    most = middle
            if most:
                failing = candidates[most - 1]
                refused[failing] = ReducerFailed(
                    f"{failing.kind!r} for {entry.key} could not be folded: {cause}", trigger=failing.kind
                )
                self._events("judging_failed", **_named(failing), error=cause)
            try:
                return again(pendings)
            except BaseException as error:
                cause = caught(error)
                if not most:
                    raise

    def _choose(self, entry: Entry) -> None:
        """The instance runs on its version (``versions``). One whose code is not at hand can be read by none."""
        loaded = entry.loaded
        assert loaded is not None, "what is folded was loaded"
        try:
            workflow = self._registry.chosen(entry.key, loaded.code_id if loaded.version else 0)
        except CodeNotAtHand as error:
            entry.loaded = loaded._replace(unreadable=error)
            return
        if workflow is not entry.workflow or isinstance(loaded.unreadable, CodeNotAtHand):
            entry.run_on(workflow)
            self._release_for_other_code(entry)

    def _read_again(self, taken: Taken, refusals: dict[Pending, OnexError]) -> None:
        """What came is read by the version that judges it. ``refusals`` gets what that cannot read."""
        for entry, pendings in taken:
            for one in pendings:
                if one.read_by is not entry.workflow and one not in refusals:
                    try:
                        read_again(one, entry.workflow)
                    except OnexError as error:
                        refusals[one] = error

    def _release_for_other_code(self, entry: Entry) -> None:
        """New code ends a hold; what fails under it is counted anew. One that waits for its own code stays held."""
        loaded = entry.loaded
        assert loaded is not None, "it was loaded"
        other = loaded.code_id != self.rules[entry.workflow.rules].code_id
        if other and (loaded.failures or loaded.held) and not isinstance(loaded.unreadable, CodeNotAtHand):
            entry.release = True

    def _load(self, entry: Entry, stored: Stored | None) -> None:
        """Decode what was loaded. One that cannot be read is refused what comes for it; its neighbours go on."""
        loaded = entry.load(stored)
        if entry.use is not None:
            entry.use.loaded(loaded.version)
        if loaded.unreadable is not None:
            self._events("state_unreadable", key=str(entry.key), error=loaded.unreadable.message)
        if self._registry.several:
            self._choose(entry)
        self._release_for_other_code(entry)


def _names(taken: Sequence[tuple[Entry, Sequence[Pending]]], refusals: Mapping[Pending, OnexError]) -> list[bytes]:
    """Of those that user code is about to see, the ones that would come back after a crash."""
    return [
        action_name(one)
        for _, pendings in taken
        for one in pendings
        if (one.ticket or one.comes_again or one.settles is not None) and one not in refusals
    ]


def _named(pending: Pending) -> dict[str, str | UUID]:
    return {"key": str(pending.key), "trigger": pending.kind, "correlation": UUID(bytes=pending.correlation)}
