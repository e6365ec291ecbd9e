"""A commit whose answer was lost may stand: then its refusals stand too, and are not judged again on what came behind them.

Found by seed 159 of the campaign: an action refused in the inbox, and answered so, was applied a moment later.
"""

from __future__ import annotations

import json

import pytest

from onex.kernel.action import ModelAction
from onex.kernel.errors import CommitUnknown, InvalidStateTransitionError
from onex.ports import Applied, Commit, Conflict
from tests.engine.jobs import Finished, Start
from tests.engine.test_store_faults import K, Unreliable, engine_on, run


class Lost(Unreliable):
    """The first commit is lost together with its answer."""

    async def commit(self, commit: Commit) -> list[Applied | Conflict]:
        if self._fails("lost"):
            raise CommitUnknown("it never came")
        return list(await super().commit(commit))


def wire(kind: str, **payload: str) -> bytes:
    action = ModelAction.model_validate({"workflow_key": K, "kind": kind, "command_payload": payload})
    return action.model_dump_json(exclude_none=True).encode()


def test_what_was_refused_before_its_neighbour_was_applied_stays_refused() -> None:
    async def go() -> None:
        async with engine_on(Unreliable(answer=1)) as engine:
            early, begun = await engine.submit_many(
                [(K, "finished", Finished(text="too early")), (K, "start", Start(text="slow"))]
            )
            assert isinstance(early, InvalidStateTransitionError)
            assert not isinstance(begun, Exception) and begun.version == 1
            assert "finished" not in [entry.row.kind for entry in await engine.reader.history(K, 0, 10)]
            (row,) = await engine.reader.rejections(None, None, 0, 10)
            assert (row.code, row.times) == (early.code, 1)

    run(go())


def test_when_the_commit_was_lost_too_all_of_it_is_judged_again_in_order() -> None:
    async def go() -> None:
        async with engine_on(Lost(lost=1)) as engine:
            early, begun = await engine.submit_many(
                [(K, "finished", Finished(text="too early")), (K, "start", Start(text="slow"))]
            )
            assert isinstance(early, InvalidStateTransitionError)
            assert not isinstance(begun, Exception) and begun.version == 1
            assert len(await engine.reader.rejections(None, None, 0, 10)) == 1

    run(go())


@pytest.mark.parametrize("fault", ["answer", "lost"])
def test_an_answer_that_stands_in_the_inbox_is_the_answer(fault: str) -> None:
    async def go() -> None:
        store = Lost(**{fault: 1})
        tickets = [
            await store.send(wire("finished", text="too early"), 0),
            await store.send(wire("start", text="s"), 0),
        ]
        async with engine_on(store) as engine:
            await engine.service.quiet()
            early, begun = [json.loads(await store.answer(ticket) or b"{}") for ticket in tickets]
            assert early["error"]["code"] == InvalidStateTransitionError.code
            assert begun["version"] == 1
            assert "finished" not in [entry.row.kind for entry in await store.history(K, 0, 10)]

    run(go())
