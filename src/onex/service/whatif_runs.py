"""What-if runs: recorded histories folded on other code, started by a request, watched, and cancelled.

Theory of operation. A run is a thread that hands pages to processes which fold (``processes.whatif_run``); the service imports
none of the other code. One run at a time: it may use all cores for a while, and the engine's process is beside it. The last KEPT
results can be read again. A run that is cancelled, or whose service ends, kills its processes.

The other code is named by a path or a git revision, as ``onex whatif --against`` takes it. Whoever names it lets this machine run
it, so only an admin may, and a path must lie below the folder that the service was started in.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from ..kernel.errors import NotFound, OnexError, Overloaded
from ..kernel.user_trace import HIDDEN
from ..processes.replay_work import processes_for
from ..processes.whatif_run import WhatIfRun, extent_of
from ..processes.whatif_work import WhatIfTask
from ..repository.git_revision import checkout, is_revision
from ..views.hidden import HiddenFields
from ..views.what_if import what_if_summary_json
from .access import NotAllowed, Principal
from .answers import Answered
from .policy import GuardedRoute
from .served_store import Asking, NoApp, Served, ServedStore

routes = APIRouter(route_class=GuardedRoute, tags=["what-if"])

KEPT: Final = 20
LINES: Final = 500
"""Instances that are told one by one."""


class EnumWhatIf(StrEnum):
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class WhatIfBody(BaseModel):
    """``against``: a folder or file below where the service was started, a git revision, or REV:PATH."""

    model_config = ConfigDict(extra="forbid")

    against: str = Field(min_length=1, max_length=500)
    type: str | None = Field(default=None, max_length=64, description="only this workflow")


class WhatIfAnswer(Answered):
    """One run. ``summary`` and ``instances`` are those of ``onex whatif --json``, there when it is done.

    ``effects_fired`` is counted at the boundary of the processes that fold, and is 0 unless ONEX has a defect.
    """

    number: int
    state: EnumWhatIf
    against: str
    type: str | None
    folded: int
    of: int
    round: int
    error: str
    effects_fired: int | None
    summary: dict[str, JsonValue] | None
    instances: list[dict[str, JsonValue]]
    more: bool


class WhatIfRuns(Answered):
    """The last runs, the newest first, without their results."""

    runs: list[WhatIfAnswer]


class _Cancelled(Exception):
    """The run is to end: raised where it reports how far it is."""


def without_secrets(told: dict[str, JsonValue], hide: HiddenFields) -> dict[str, JsonValue]:
    """One instance of a result. Where a secret field differs, its values are hidden, and so is the sentence that tells them."""
    hidden_one = False

    def shown(changes: JsonValue) -> JsonValue:
        nonlocal hidden_one
        if not isinstance(changes, list):
            return changes
        found: list[JsonValue] = []
        for one in changes:
            secret = isinstance(one, dict) and hide.hides(str(one.get("path")))
            hidden_one = hidden_one or secret
            found.append({**one, "recorded": HIDDEN, "now": HIDDEN} if secret and isinstance(one, dict) else one)
        return found

    intents = told.get("intents")
    made: dict[str, JsonValue] = {**told, "state": shown(told.get("state"))}
    made["intents"] = [
        {
            **one,
            "changes": shown(one.get("changes")),
            "recorded": hide.hide(one.get("recorded")),
            "now": hide.hide(one.get("now")),
        }
        for one in (intents if isinstance(intents, list) else ())
        if isinstance(one, dict)
    ]
    first = told.get("first")
    if hidden_one and isinstance(first, dict):
        made["first"] = {**first, "why": HIDDEN}
    return made


class ServedWhatIf:
    """One run. ``answer`` is read in the event loop; the thread changes plain fields of it."""

    def __init__(self, served: ServedStore, asking: Principal, number: int, asked: WhatIfBody) -> None:
        self._served, self._asking, self.asked = served, asking, asked
        self.answer = WhatIfAnswer(
            number=number, state=EnumWhatIf.RUNNING, against=asked.against, type=asked.type, folded=0, of=0, round=1,
            error="", effects_fired=None, summary=None, instances=[], more=False,
        )  # fmt: skip
        self._stop = False
        self.task = asyncio.create_task(self._run())

    async def cancel(self) -> None:
        self._stop = True
        await asyncio.wait((self.task,))

    async def _run(self) -> None:
        try:
            await asyncio.to_thread(self._fold)
            self.answer.state = EnumWhatIf.DONE
        except _Cancelled:
            self.answer.state = EnumWhatIf.CANCELLED
        except (OnexError, OSError) as error:
            self.answer.state, self.answer.error = EnumWhatIf.FAILED, str(error)

    def _went(self, actions: int) -> None:
        self.answer.folded += actions
        if self._stop:
            raise _Cancelled

    def _again(self, number: int) -> None:
        self.answer.round, self.answer.folded = number, 0

    def _fold(self) -> None:
        app = self._served.app
        assert app is not None, "asked before the run was made"
        types, actions = asyncio.run(extent_of(self._served.source, self.asked.type))
        self.answer.of = actions
        with ExitStack() as held:
            other = held.enter_context(checkout(self.asked.against, app))
            task = WhatIfTask(self._served.source, str(other), kept=3, each=True)
            record = task._replace(app=str(app))
            processes = max(1, processes_for(actions, None) - 1)
            outcome = WhatIfRun(task, record, types, processes=processes, went=self._went, again=self._again).run()
        lines = [orjson.loads(line) for _, line in zip(range(LINES + 1), outcome.lines, strict=False)]
        hide = self._served.hide(self._asking)
        self.answer.instances = [without_secrets(line, hide) for line in lines[:LINES]]
        self.answer.more = len(lines) > LINES
        self.answer.effects_fired = outcome.fired
        words: dict[str, object] = {"against": self.asked.against, "type": self.asked.type, "rounds": outcome.rounds}
        self.answer.summary = orjson.loads(
            orjson.dumps(what_if_summary_json(outcome.tally, outcome.fired, [], words), default=str)
        )


class WhatIfBoard:
    """The runs of one service."""

    def __init__(self) -> None:
        self._runs: OrderedDict[int, ServedWhatIf] = OrderedDict()
        self._number = 0
        self.branches = asyncio.Lock()
        """Held while one branch is folded: each takes a process."""

    def begin(self, served: ServedStore, asking: Principal, asked: WhatIfBody) -> WhatIfAnswer:
        """Raises Overloaded while another run is under way."""
        if any(one.answer.state is EnumWhatIf.RUNNING for one in self._runs.values()):
            raise Overloaded("another what-if is under way; wait for it, or cancel it", retry_after_s=5.0)
        self._number += 1
        one = self._runs[self._number] = ServedWhatIf(served, asking, self._number, asked)
        while len(self._runs) > KEPT:
            self._runs.popitem(last=False)
        return one.answer

    def of(self, number: int) -> ServedWhatIf:
        """Raises NotFound."""
        if number not in self._runs:
            raise NotFound(f"there is no what-if {number} any more; the last {KEPT} are kept")
        return self._runs[number]

    def runs(self) -> Sequence[ServedWhatIf]:
        return [*reversed(self._runs.values())]

    async def close(self) -> None:
        await asyncio.gather(*(one.cancel() for one in self._runs.values() if not one.task.done()))


def _board(request: Request) -> WhatIfBoard:
    found: WhatIfBoard = request.app.state.whatifs
    return found


Number = Annotated[int, InPath(ge=1, le=2**53)]
AskedBoard = Annotated[WhatIfBoard, Depends(_board)]


@routes.post("/api/whatif", status_code=202)
async def begin(served: Served, board: AskedBoard, asking: Asking, body: WhatIfBody) -> WhatIfAnswer:
    """Fold what was recorded on other code. The answer comes at once; ask for the run by its number."""
    if served.app is None:
        raise NoApp("a what-if needs the code that made the record; start the service with --app APP")
    _check_place(body.against)
    answer = board.begin(served, asking, body)
    served.audit.tell(asking, "whatif", body.type or "*", body.against, None, "begun")
    return answer


@routes.get("/api/whatif")
async def runs(board: AskedBoard) -> WhatIfRuns:
    """List the last what-if runs."""
    bare: dict[str, object] = {"summary": None, "instances": []}
    return WhatIfRuns(runs=[one.answer.model_copy(update=bare) for one in board.runs()])


@routes.get("/api/whatif/{number}")
async def run(
    board: AskedBoard,
    asking: Asking,
    number: Number,
    wait_s: Annotated[float, Query(ge=0, le=30, description="wait so long for its end")] = 0.0,
) -> WhatIfAnswer:
    """How far a what-if is, and what came of it."""
    one = board.of(number)
    await asyncio.wait((one.task,), timeout=wait_s)
    answer = one.answer
    return answer if asking.payloads else answer.model_copy(update={"instances": []})


@routes.delete("/api/whatif/{number}", status_code=204, response_class=Response)
async def cancel(served: Served, board: AskedBoard, asking: Asking, number: Number) -> Response:
    """Cancel a what-if that is under way."""
    one = board.of(number)
    await one.cancel()
    served.audit.tell(asking, "whatif-cancel", one.answer.type or "*", one.answer.against, None, "done")
    return Response(status_code=204)


def _check_place(against: str) -> None:
    """A path lies below here. A revision is the repository's own. Raises NotAllowed."""
    here, named = Path.cwd(), Path(against)
    if not is_revision(against) and not named.resolve().is_relative_to(here):
        raise NotAllowed(f"{against!r} is not below the folder that this service was started in")
