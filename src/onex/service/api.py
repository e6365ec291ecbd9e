"""The API as one ASGI application: all routes, one form of error, one document that says the truth about both.

``make_api`` checks that each route has a policy, and that each policy has a route. The document (OpenAPI) is made from routes;
``_finish`` adds what FastAPI cannot know: errors are ``application/problem+json``, which role a route needs, and the header
that a change needs where no token is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp

from . import (
    commands,
    demonstration,
    histories,
    instance,
    instance_list,
    instance_log,
    overview,
    page,
    system,
    waiting,
    whatif_branches,
    whatif_runs,
)
from .defence import Defence
from .policy import ANYONE, POLICIES, GuardedRoute, PolicyMissing
from .problem import MEDIA, ProblemAnswer, add_problems
from .served_store import ServedStore

ROOMS: Final = (
    overview, system, waiting, instance_list, instance, instance_log, histories, commands, whatif_runs, whatif_branches,
    demonstration, page,
)  # fmt: skip
ERRORS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"model": ProblemAnswer, "description": words}
    for status, words in {
        400: "the body cannot be read",
        401: "no token, or an unknown one",
        403: "the role may not, or another origin asks",
        404: "there is no such thing",
        409: "refused: the instance, or the code, says no",
        413: "more than a body may have",
        422: "the request does not fit this document",
        429: "too much at once: see Retry-After",
        503: "the store, the engine or the process that folds does not answer",
    }.items()
}
ABOUT: Final = (
    "Commands and questions about the workflows of one ONEX store. Every error is a problem document. On the loopback no token is "
    "needed; then a request that changes something sends the csrf of /api/session as X-CSRF-Token."
)


def make_api(served: ServedStore, names: Iterable[str] = (), page_folder: Path | None = None) -> ASGIApp:
    """``names``: host names under which the service is known. Raises PolicyMissing."""
    api = _routed()
    api.state.served = served
    api.state.whatifs = whatif_runs.WhatIfBoard()
    api.state.page = page.page_files(page_folder)
    document = openapi_document(api)

    @api.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Mapping[str, Any]:
        return document

    routers = (api.router, *(room.routes for room in ROOMS))
    guarded = [route for router in routers for route in router.routes if isinstance(route, GuardedRoute)]
    made = {(method, route.path) for route in guarded for method in route.methods or ()}
    if made != set(POLICIES):
        raise PolicyMissing(f"policies without a route: {sorted(set(POLICIES) - made)}")
    return Defence(api, served.tokens, served.csrf, served.audit, names)


def _routed() -> FastAPI:
    api = FastAPI(
        title="ONEX", version="1", description=ABOUT, docs_url=None, redoc_url=None, openapi_url=None, responses=ERRORS
    )
    api.router.route_class = GuardedRoute
    for room in ROOMS:
        api.include_router(room.routes)
    add_problems(api)
    return api


async def close_api(made: ASGIApp) -> None:
    """Ends what the API began by itself: what-if runs."""
    assert isinstance(made, Defence), "what make_api gave"
    assert isinstance(made.inner, FastAPI), "what make_api wrapped"
    await made.inner.state.whatifs.close()


def openapi_document(api: FastAPI | None = None) -> dict[str, Any]:
    """The document. Without ``api`` it is that of every service."""
    api = api or _routed()
    document = get_openapi(title=api.title, version=api.version, description=api.description, routes=api.routes)
    schemas = document["components"].setdefault("securitySchemes", {})
    schemas["token"] = {"type": "http", "scheme": "bearer", "description": "onex token NAME --role ROLE makes one"}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _finish(operation, method.upper(), path)
    return document


def _finish(operation: dict[str, Any], method: str, path: str) -> None:
    role = POLICIES[method, path]
    operation["x-onex-role"] = role.value
    if role is not ANYONE:
        operation["security"] = [{"token": []}, {}]
    for status, response in operation["responses"].items():
        content = response.get("content", {})
        told = content.get("application/json", {}).get("schema", {}).get("$ref", "")
        if int(status) >= 400 and told.endswith("/ProblemAnswer"):
            response["content"] = {MEDIA: content["application/json"]}
    if method not in ("GET", "HEAD"):
        operation.setdefault("parameters", []).append(
            {
                "name": "X-CSRF-Token",
                "in": "header",
                "required": False,
                "description": "the csrf of /api/session, where no token is sent",
                "schema": {"type": "string"},
            }
        )
