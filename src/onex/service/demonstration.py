"""The demo that is watched, where the service runs inside one: how far it is, and the button that kills its engine.

Only the parent process of ``onex demo`` gives the service a ``Demonstration``. Any other service has none: its answer to both
routes is that there is no such thing. The kill is a real one (SIGKILL), of a process that this parent started.
"""

from __future__ import annotations

from fastapi import APIRouter

from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound
from .answers import Answered
from .demo_answers import DemoAnswer, Demonstration
from .policy import GuardedRoute
from .served_store import Served, ServedStore

routes = APIRouter(route_class=GuardedRoute, tags=["demo"])


class KillAnswer(Answered):
    """``killed`` is false where no engine took work just then."""

    killed: bool


class NoDemo(NotFound):
    """This service runs beside an engine, not inside ``onex demo``: it cannot kill anything."""

    code = "no_demo"


@routes.get("/api/demo")
async def demo(served: Served) -> DemoAnswer:
    """How far the demo is that this service belongs to."""
    told = _of(served).told()
    keys = {one.key: WorkflowKey.parse(one.key) for one in told.examples}
    stored = await served.reader.load(list(keys.values())) if keys else {}
    for one in told.examples:
        found = stored.get(keys[one.key])
        one.status = found.status if found is not None and found.version else None
    return told


@routes.post("/api/demo/kill")
async def kill(served: Served) -> KillAnswer:
    """Kill the demo's engine with SIGKILL. It is started again at once, and goes on where it was."""
    return KillAnswer(killed=await _of(served).kill())


def _of(served: ServedStore) -> Demonstration:
    if served.demonstration is None:
        raise NoDemo("this service belongs to no demo; onex demo opens a page that does")
    return served.demonstration
