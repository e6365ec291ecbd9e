"""The whole store at a glance: who asks, figures of now and as they change, the app, and the health of this service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from ..kernel.errors import OnexError
from .access import EnumRole
from .answers import Answered
from .events import EVENTS, event, stream
from .policy import GuardedRoute
from .served_store import Asking, Served, ServedStore
from .summary import SummaryAnswer, summary_of
from .workflow_answers import (
    WorkflowAnswer,
    WorkflowsAnswer,
    workflow_answer,
    workflows_answer,
)

routes = APIRouter(route_class=GuardedRoute, tags=["overview"])

BETWEEN_S: Final = 0.25
"""Live figures come at most four times a second."""
AGAIN_S: Final = 2.0


class SessionAnswer(Answered):
    """Who asks, and what the page needs to know before its first screen."""

    name: str
    role: EnumRole
    sees_payloads: bool
    csrf: str = Field(
        description="send it as X-CSRF-Token with every request that changes something, unless a token is sent"
    )
    store: str
    app: str | None
    version: str
    demo: bool = Field(description="this service is part of onex demo: see /api/demo")


class HealthAnswer(Answered):
    """``alive``, ``ready`` or ``not_ready``, and why."""

    status: str
    why: str


@routes.get("/api/session")
async def session(served: Served, asking: Asking) -> SessionAnswer:
    """Say who asks, and give the secret that a page sends back with each change."""
    from importlib.metadata import version

    return SessionAnswer(
        name=asking.name,
        role=asking.role,
        sees_payloads=asking.payloads,
        csrf=served.csrf,
        store=served.shown,
        app=None if served.facts is None else served.facts.name,
        version=version("onex"),
        demo=served.demonstration is not None,
    )


@routes.get("/api/summary")
async def summary(served: Served) -> SummaryAnswer:
    """The figures that matter now."""
    return await summary_of(served)


@routes.get("/api/summary/live", response_class=StreamingResponse, responses=EVENTS)
async def live(served: Served) -> StreamingResponse:
    """The same as it changes: an event ``summary`` (SummaryAnswer) at once, then after changes, at most four times a second."""
    return stream(_figures(served), served.ending)


async def _figures(served: ServedStore) -> AsyncIterator[bytes]:
    last: SummaryAnswer | None = None
    while True:
        seen = served.changes.count
        told = await summary_of(served)
        if last is None or told.model_copy(update={"counted_ago_s": last.counted_ago_s}) != last:
            yield event("summary", told)
            last = told
        await asyncio.sleep(BETWEEN_S)
        try:  # a rate falls to 0 without any change of the store
            async with asyncio.timeout(AGAIN_S):
                await served.change(seen)
        except TimeoutError:
            continue


@routes.get("/api/workflows")
async def workflows(served: Served) -> WorkflowsAnswer:
    """List the workflows of the app."""
    return workflows_answer(served.facts)


@routes.get("/api/workflow")
async def workflow(
    served: Served, name: Annotated[str, Query(min_length=1, max_length=64, description="the workflow type")]
) -> WorkflowAnswer:
    """One workflow: its diagram, triggers and intents, with the lines of its contract."""
    return workflow_answer(served.known_workflow(name))


@routes.get("/health/live", tags=["health"])
async def health_live() -> HealthAnswer:
    """The service answers."""
    return HealthAnswer(status="alive", why="")


@routes.get("/health/ready", tags=["health"], responses={503: {"model": HealthAnswer, "description": "not ready"}})
@routes.get("/health", tags=["health"], responses={503: {"model": HealthAnswer, "description": "not ready"}})
async def health(served: Served, response: Response) -> HealthAnswer:
    """The service can read its store. Whether an engine runs there is told beside it, and does not make it unready."""
    try:
        await served.figures.counted()
        there = await served.figures.engine_is_there()
    except OnexError as error:
        response.status_code = 503
        return HealthAnswer(status="not_ready", why=error.message)
    return HealthAnswer(status="ready", why="" if there else "no engine runs on the store")


@routes.get(
    "/metrics",
    tags=["health"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(served: Served) -> Response:
    """What the engine tells Prometheus, passed on."""
    return Response(await served.figures.health.metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")
