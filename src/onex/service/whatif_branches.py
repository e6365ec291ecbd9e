"""One instance of a what-if: the recorded branch and that of the other code, aligned by version.

Theory of operation. The what-if has told where the two part, and from where the branch is open. A request shows a window of
versions around that place. Recorded states come from the process that folds the app. Those of the other code come from a process
of their own, which loads that code, folds this instance, and ends. It is one at a time, and for FOLD_S at most: a reducer that
hangs costs one answer. A folder is read as it is when the branch is asked for; a revision does not change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from pydantic import Field, JsonValue

from ..engine.encode import ordinals
from ..kernel.errors import NotFound, OnexError
from ..kernel.user_trace import HIDDEN
from ..ports import LogEntry
from ..processes.branch_steps import AskBranch, BranchStep, BranchSteps
from ..processes.child_process import FoldingBroken
from ..processes.moment_process import ExplainedMoment, MomentProcess
from ..processes.moments import Moment
from ..repository.git_revision import checkout
from ..views.hidden import HiddenFields
from ..views.stored_value import intent_names, iso, parse_json
from ..whatif.value_diff import RecordedIntent, recorded_intents
from .answers import Answered, AskedKey, ChangesAnswer, changes_between, key_of
from .first_passes import AskedPass
from .instance_answers import PassAnswer
from .policy import GuardedRoute
from .served_store import Asking, NoApp, Served, ServedStore
from .whatif_runs import AskedBoard, EnumWhatIf, Number, ServedWhatIf

routes = APIRouter(route_class=GuardedRoute, tags=["what-if"])

STEPS: Final = 200
BEFORE: Final = 5
"""Versions before the first difference that the first window shows."""
FOLD_S: Final = 60.0


class BranchSideAnswer(Answered):
    """One action on one side. ``changes`` is what it changed in the state; null: that is not known."""

    status: str
    intents: list[str]
    changes: ChangesAnswer | None


class BranchStepAnswer(Answered):
    """One version on both sides. ``other`` is null where the branch is open: what would have come is not known.

    ``state`` and ``emitted`` are what differs between the two sides; null where one of them is not known.
    ``refused`` is the code of a refusal by the other code, '' for none.
    """

    version: int
    trigger: str
    issued_at: str
    recorded: BranchSideAnswer
    other: BranchSideAnswer | None
    refused: str
    why: str
    state: ChangesAnswer | None
    emitted: ChangesAnswer | None


class BranchesAnswer(Answered):
    """Both branches of one instance. ``first``: the version where they part; ``opened``: from there on the other one is open."""

    number: int
    against: str
    key: str
    first: int | None
    what: str
    why: str
    opened: int | None
    opened_why: str
    steps: list[BranchStepAnswer]
    first_version: int
    last_version: int
    next: int | None = Field(description="the version to ask behind; null: these are the newest")
    effects_fired: int


@routes.get(
    "/api/whatif/{number}/branch",
    responses={202: {"model": PassAnswer, "description": "a first pass is under way; ask again"}},
)
async def branch(
    served: Served,
    board: AskedBoard,
    asking: Asking,
    response: Response,
    number: Number,
    asked: AskedKey,
    after: Annotated[
        int | None, Query(ge=0, le=2**53, description="only behind this version; else around the first difference")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=STEPS, description="how many versions at most")] = 100,
) -> BranchesAnswer | PassAnswer:
    """Show one instance of a what-if on both sides: as recorded, and as the other code makes it."""
    key = key_of(asked)
    run = board.of(number)
    line = told_of(run, str(key))
    first, opened = _part(line, "first"), _part(line, "open")
    stored = await served.stored(key)
    parts, open_at = _int(first, "version"), _int(opened, "from")
    part = min(one for one in (parts, open_at, stored.version) if one)
    begin = max(stored.cut, part - BEFORE - 1) if after is None else max(after, stored.cut)
    rows = await served.reader.history(key, begin, limit)
    end = rows[-1].version if rows else begin
    if rows:
        passed = await _passed(served, rows[-1])
        if isinstance(passed, int):
            response.status_code = 202
            return PassAnswer(folded=passed, of=end)
    last = min(end, open_at - 1 if open_at else end)
    found = BranchSteps(b"", (), 0, "", "")
    if rows and last > begin:
        at = AskBranch(key, max(stored.cut + 1, min(part, begin + 1)), begin + 1, last)
        async with board.branches:
            found = await _folded(served, run.asked.against, at)
    hide = served.hide(asking)
    opens = found.opened or open_at or None
    whys = {"why": str(first.get("why", "")), "opened_why": found.why or str(opened.get("why", ""))}
    return BranchesAnswer(
        number=number,
        against=run.asked.against,
        key=str(key),
        first=parts or None,
        what=str(first.get("what", "")),
        opened=opens,
        steps=await _steps(served, rows, found, hide, payloads=asking.payloads),
        first_version=stored.cut + 1,
        last_version=max(stored.version, end),
        next=end if end < stored.version else None,
        effects_fired=found.effects_fired,
        **{name: text if asking.payloads or not text else HIDDEN for name, text in whys.items()},
    )


def told_of(run: ServedWhatIf, key: str) -> Mapping[str, JsonValue]:
    """What the run told of one instance. Raises NotFound."""
    number = run.answer.number
    if run.answer.state is not EnumWhatIf.DONE:
        raise NotFound(f"what-if {number} has no result: it is {run.answer.state.value}")
    for one in run.answer.instances:
        if one.get("key") == key:
            return one
    raise NotFound(f"what-if {number} tells of no difference in {key}")


def _part(line: Mapping[str, JsonValue], name: str) -> Mapping[str, JsonValue]:
    found = line.get(name)
    return found if isinstance(found, dict) else {}


def _int(told: Mapping[str, JsonValue], name: str) -> int:
    found = told.get(name, 0)
    return found if isinstance(found, int) else 0


async def _passed(served: ServedStore, entry: LogEntry) -> int | None:
    """How far a first pass up to this version is; None when it is done, or when there is none to make."""
    if served.moments is None:
        raise NoApp("recorded states are folded by the app's code; start the service with --app APP")
    try:
        found = await served.passes.of(served.moments, AskedPass(False, entry.key, entry.version))
    except OnexError:
        return None
    return found if isinstance(found, int) else None


async def _folded(served: ServedStore, against: str, asked: AskBranch) -> BranchSteps:
    """Raises FoldingBroken, RevisionUnreadable, and what the other code's process raises."""
    assert served.app is not None, "a run was made with it"
    with ExitStack() as held:
        other: Path = await asyncio.to_thread(held.enter_context, checkout(against, served.app))
        folding = MomentProcess(served.source, other)
        try:
            async with asyncio.timeout(FOLD_S):
                return await folding.branch(asked)
        except TimeoutError as error:
            raise FoldingBroken(
                f"the other code did not come to version {asked.last} within {FOLD_S:.0f} s; ask for earlier versions"
            ) from error
        finally:
            await folding.close()


async def _steps(
    served: ServedStore, rows: Sequence[LogEntry], found: BranchSteps, hide: HiddenFields, *, payloads: bool
) -> list[BranchStepAnswer]:
    made: list[BranchStepAnswer] = []
    folded: dict[int, BranchStep] = {one.step.version: one for one in found.steps}
    before = found.before
    for entry in rows:
        moment = await _moment(served, entry)
        recorded = None if moment is None else moment.state
        step = folded.get(entry.version)
        other = None
        if step is not None:
            other = BranchSideAnswer(
                status=step.step.status, intents=[*step.step.intents], changes=_between(before, step.state, hide)
            )
            before = step.state
        made.append(
            BranchStepAnswer(
                version=entry.version,
                trigger=entry.row.kind,
                issued_at=iso(entry.row.issued_us),
                recorded=BranchSideAnswer(
                    status=entry.row.status if step is None else step.step.recorded_status,
                    intents=intent_names(entry.row.intents),
                    changes=None if moment is None else _between(moment.before, moment.state, hide),
                ),
                other=other,
                refused="" if step is None else step.step.refused,
                why="" if step is None else step.step.why if payloads or not step.step.why else HIDDEN,
                state=None if step is None or not recorded else _between(recorded, step.state, hide),
                emitted=None if step is None else _emitted(entry, step.emitted, hide),
            )
        )
    return made


async def _moment(served: ServedStore, entry: LogEntry) -> Moment | None:
    """The recorded one; None where the app's code does not make it as recorded."""
    try:
        found: ExplainedMoment = await served.folding().moment(entry.key, entry.version, lambda rows: None)
    except OnexError:
        return None
    return None if found.moment.unproven or not found.moment.state else found.moment


def _between(old: bytes, new: bytes, hide: HiddenFields) -> ChangesAnswer:
    return changes_between(parse_json(old) if old else {}, parse_json(new) if new else {}, hide)


def _emitted(entry: LogEntry, emitted: Sequence[RecordedIntent], hide: HiddenFields) -> ChangesAnswer:
    return changes_between(_by_name(recorded_intents(entry.row.intents)), _by_name(emitted), hide)


def _by_name(items: Sequence[RecordedIntent]) -> dict[str, JsonValue]:
    """``[name, or name and number] -> what was written of it``: a path of a difference begins with the intent's name."""
    numbers = ordinals([item.name for item in items])
    return {f"{item.name} {n + 1}" if n else item.name: dict(item.said) for item, n in zip(items, numbers, strict=True)}
