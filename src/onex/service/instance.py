"""One instance: how it stands or stood, and why; its intents, causes, refusals; which of its versions are proven.

``GET /api/instance`` answers in bounded time. A moment near a snapshot is folded in milliseconds; a first pass over a
long history may take longer than WAIT_S. Then the answer is 202 with how far the pass is, and the same question is asked again.
"""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Response

from ..engine.awaited_status import TERMINAL
from ..kernel.errors import NotFound, OnexError, UnknownWorkflow
from ..ports import EnumOutboxState, OutboxRow, Stored
from ..processes.moment_process import ExplainedMoment, TriedTransition
from ..views.causes import causes_of
from ..views.hidden import HiddenFields
from ..views.intent_story import intent_stories, intent_story_json
from ..views.plan_rows import plan_rows
from ..views.stored_rows import open_intent_json, rejection_json
from ..views.stored_value import is_running, iso, parse_json
from .answers import (
    AskedKey,
    CodeAnswer,
    OpenIntentAnswer,
    RejectionAnswer,
    Rows,
    TimerAnswer,
    changes_between,
    key_of,
    log_entry,
)
from .first_passes import AskedPass
from .instance_answers import (
    CausesAnswer,
    InstanceAnswer,
    IntentsAnswer,
    IntentStoryAnswer,
    PassAnswer,
    ProofAnswer,
    RejectionsAnswer,
    StretchAnswer,
    TaskAnswer,
    TransitionAnswer,
    WaitAnswer,
    WaitingAnswer,
)
from .policy import GuardedRoute
from .served_store import Asking, Served, ServedStore

routes = APIRouter(route_class=GuardedRoute, tags=["instance"])

OPEN: Final = 200
STORIES: Final = 200
LOOKS: Final = 5
"""An instance that changes while it is read is read again, so often."""


@routes.get(
    "/api/instance", responses={202: {"model": PassAnswer, "description": "a first pass is under way; ask again"}}
)
async def instance(
    served: Served,
    asking: Asking,
    response: Response,
    asked: AskedKey,
    version: Annotated[
        int | None, Query(ge=1, le=2**53, description="the version after which it is shown; the newest unless given")
    ] = None,
) -> InstanceAnswer | PassAnswer:
    """Show one instance, now or at a version: state, what changed, the action, its intents, and why."""
    key = key_of(asked)
    for _ in range(LOOKS):
        stored = await served.stored(key)
        at = stored.version if version is None else version
        if at > stored.version:
            raise NotFound(f"{key} is at version {stored.version}; version {at} does not exist yet")
        waiting = await _waiting(served, stored) if at == stored.version else None
        now = (await served.reader.load([key])).get(key)
        if now is not None and now.version == stored.version:
            break
    explained = await _explained(served, stored, at)
    if isinstance(explained, int):
        response.status_code = 202
        return PassAnswer(folded=explained, of=at)
    return await _told(served, served.hide(asking), stored, at, explained, waiting)


async def _explained(served: ServedStore, stored: Stored, version: int) -> ExplainedMoment | int | OnexError | None:
    """The moment; how far the pass is; why there is none; None where no app says how it is folded."""
    if served.moments is None or served.workflow(stored.key.workflow_type) is None:
        return None
    if version <= stored.cut:
        return NotFound(
            f"the history of {stored.key} begins behind version {stored.cut} here; the archive of onex gc has what is before"
        )
    try:
        found = await served.passes.of(served.moments, AskedPass(False, stored.key, version))
    except UnknownWorkflow:
        return None
    except OnexError as error:
        if version == stored.version:  # the state of now is stored: it is shown although it cannot be folded
            return error
        raise
    assert isinstance(found, ExplainedMoment | int), "the question was about a moment"
    return found


async def _told(
    served: ServedStore,
    hide: HiddenFields,
    stored: Stored,
    version: int,
    found: ExplainedMoment | OnexError | None,
    waiting: WaitingAnswer | None,
) -> InstanceAnswer:
    key = stored.key
    workflow = served.workflow(key.workflow_type)
    state, before, unknown, unproven = b"", b"", "", ""
    tried: list[TransitionAnswer] = []
    if isinstance(found, ExplainedMoment):
        moment = found.moment
        entry, state, before, unknown, unproven = moment
        tried = [_transition(one) for one in found.tried]
    else:
        rows = await served.reader.history(key, version - 1, 1)
        if not rows:
            raise NotFound(f"the log has no {key} version {version}: it was cut, or archived")
        entry = rows[0]
        unknown = found.message if found is not None else "no app here folds this workflow: onex serve STORE --app APP"
    if version == stored.version:
        state, unknown = stored.state, "" if isinstance(found, ExplainedMoment) else unknown
    elif not state:
        kept = await served.reader.snapshot(key, version)
        if kept is not None and kept.version == version:
            state = kept.state
    now, was = parse_json(state), parse_json(before)
    shown = hide.hide(now)
    changes = changes_between(was, now, hide) if state and before else None
    earlier = None if not isinstance(was, dict) else was.get("status")
    codes = await served.reader.codes()
    code = codes.get(entry.code_id)
    ends = workflow is not None and any(one.terminal and one.name == entry.row.status for one in workflow.statuses)
    return InstanceAnswer(
        key=str(key),
        version=version,
        last_version=stored.version,
        first_version=stored.cut + 1,
        status=entry.row.status,
        status_before=earlier if isinstance(earlier, str) and before else None,
        terminal=stored.terminal if version == stored.version else ends,
        changed_at=iso(entry.row.issued_us),
        state=shown if state else None,
        state_is_known=bool(state),
        unknown=unknown,
        unproven=unproven,
        is_folded=isinstance(found, ExplainedMoment),
        changes=changes,
        action=log_entry(entry, hide),
        tried=tried,
        accepts=[] if workflow is None else workflow.accepts(entry.row.status),
        public=[] if workflow is None else [
            one for one in workflow.accepts(entry.row.status) if one not in workflow.internal
        ],
        code=None if code is None else CodeAnswer(version=code.contract_version, digest=code.digest.hex()),
        tasks=[TaskAnswer(**row._asdict()) for row in plan_rows(shown)] if state else [],
        state_schema=stored.state_schema if code is None else code.state_schema,
        is_app_code=None if workflow is None or code is None else code.digest.hex() == workflow.code,
        waiting=waiting,
    )  # fmt: skip


def _transition(one: TriedTransition) -> TransitionAnswer:
    told = {**one.edge._asdict(), "guards": list(one.edge.guards)}
    return TransitionAnswer(**told, taken=one.taken, failed=one.failed)


async def _waiting(served: ServedStore, stored: Stored) -> WaitingAnswer:
    """What it waits for: intents, timers, a lease, a person."""
    now_us = served.now_us()
    owned = await served.figures.engine_is_there()
    rows = await served.reader.outbox(tuple(EnumOutboxState), stored.key, None, OPEN)
    open_rows = [row for row in rows if not row.timer or row.state != "waiting" or row.error]
    leased = stored.lease_id is not None and stored.lease_until_us >= now_us
    return WaitingAnswer(
        intents=[_open(row, owned=owned, now_us=now_us) for row in open_rows],
        timers=[TimerAnswer(name=name, due_at=iso(due)) for name, (_, due) in sorted(stored.timers.items())],
        leased_until=iso(stored.lease_until_us) if leased else None,
        epoch=stored.epoch,
        held=stored.held or None,
        failures=stored.failures,
        engine_runs=owned,
    )


def _open(row: OutboxRow, *, owned: bool, now_us: int) -> OpenIntentAnswer:
    running = is_running(row, owned=owned, now_us=now_us)
    return OpenIntentAnswer.model_validate(open_intent_json(row, running))


@routes.get("/api/instance/intents")
async def intents(served: Served, asked: AskedKey) -> IntentsAnswer:
    """What became of the intents of its last 200 actions: each try, its outcome, and how long that took."""
    key = key_of(asked)
    stored = await served.stored(key)
    history = await served.reader.history(key, max(stored.cut, stored.version - STORIES), STORIES)
    rows = list(await served.reader.outbox(tuple(EnumOutboxState), key, None, OPEN))
    attempts = list(await served.reader.attempts(key, 1000))
    refused = await served.reader.rejections(str(key), None, 0, 1)
    stories = intent_stories(
        history, rows, attempts, ended_at=stored.version if stored.terminal else 0, all_accepted=not refused
    )
    return IntentsAnswer(
        intents=[IntentStoryAnswer.model_validate(intent_story_json(one)) for one in stories],
        first_version=history[0].version if history else 1,
    )


@routes.get("/api/instance/causes")
async def causes(
    served: Served, asking: Asking, asked: AskedKey, version: Annotated[int, Query(ge=1, le=2**53)]
) -> CausesAnswer:
    """Follow an action back to its first cause, across instances."""
    key = key_of(asked)
    found = await causes_of(served.reader, key, version)
    if found is None:
        raise NotFound(f"the log has no {key} version {version}")
    hide = served.hide(asking)
    return CausesAnswer(chain=[log_entry(entry, hide) for entry in found.chain], broken=found.broken)


@routes.get(
    "/api/instance/proof", responses={202: {"model": PassAnswer, "description": "the pass is under way; ask again"}}
)
async def proof(served: Served, response: Response, asked: AskedKey) -> ProofAnswer | PassAnswer:
    """Fold the whole history, and say which versions this code does not make as they were recorded."""
    key = key_of(asked)
    stored = await served.stored(key)
    served.known_workflow(key.workflow_type)
    found = await served.passes.of(served.folding(), AskedPass(True, key, stored.version))
    if isinstance(found, int):
        response.status_code = 202
        return PassAnswer(folded=found, of=stored.version)
    assert not isinstance(found, ExplainedMoment), "the question was about stretches"
    stretches = found
    return ProofAnswer(
        up_to=stored.version, stretches=[StretchAnswer(**one._asdict()) for one in stretches], proven=not stretches
    )


@routes.get("/api/instance/wait")
async def wait(
    served: Served,
    asked: AskedKey,
    until: Annotated[
        str, Query(min_length=1, max_length=200, description="a status, or terminal: any that ends it")
    ] = TERMINAL,
    wait_s: Annotated[float, Query(ge=0, le=30, description="how long to wait")] = 10.0,
) -> WaitAnswer:
    """Wait until it has a status, or has ended. Not reached in time is an answer, too: ask again."""
    key = key_of(asked)
    try:
        found = await served.client.wait(key, until, wait_s)
    except TimeoutError:
        there = await served.client.stored(key)
        standing = there is not None and there.version > 0
        return WaitAnswer(
            reached=False, status=there.status if there and standing else None, version=there.version if there else 0
        )
    return WaitAnswer(reached=True, status=found.status, version=found.version)


@routes.get("/api/rejections", tags=["waiting for a person"])
async def rejections(
    served: Served,
    asking: Asking,
    key: Annotated[str | None, Query(max_length=265, description="only of this instance")] = None,
    skip: Annotated[int, Query(ge=0, le=1_000_000, description="skip so many of the newest")] = 0,
    limit: Rows = 50,
) -> RejectionsAnswer:
    """List refused actions, the newest first."""
    rows = list(await served.reader.rejections(key, None, skip, limit + 1))
    hide = served.hide(asking)
    return RejectionsAnswer(
        rejections=[RejectionAnswer.model_validate(rejection_json(row, hide)) for row in rows[:limit]],
        more=len(rows) > limit,
    )
