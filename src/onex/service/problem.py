"""Errors as problem documents (RFC 9457): what happened, where, why, and what to do next.

``ANSWERS`` maps classes of errors to HTTP statuses, the most exact class first. An error that is not listed is a 409: the request
was understood, and the store or the engine says no. Only a defect of ours is a 500.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field, JsonValue
from starlette.exceptions import HTTPException

from ..kernel.errors import (
    ContractError,
    DatabaseConnectionError,
    EngineClosed,
    NotFound,
    OnexError,
    Overloaded,
    PayloadTooLarge,
    Refused,
    StatusUnreachable,
    TransactionError,
    UnknownWorkflow,
    ValidationError,
)
from ..processes.child_process import FoldingBroken
from .access import NotAllowed, NotAuthenticated
from .audit import CommandAudit

MEDIA: Final = "application/problem+json"
ANSWERS: Final[tuple[tuple[type[OnexError], HTTPStatus], ...]] = (
    (NotAuthenticated, HTTPStatus.UNAUTHORIZED),
    (NotAllowed, HTTPStatus.FORBIDDEN),
    (NotFound, HTTPStatus.NOT_FOUND),
    (UnknownWorkflow, HTTPStatus.NOT_FOUND),
    (PayloadTooLarge, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (Overloaded, HTTPStatus.TOO_MANY_REQUESTS),
    (ContractError, HTTPStatus.CONFLICT),
    (StatusUnreachable, HTTPStatus.CONFLICT),
    (Refused, HTTPStatus.CONFLICT),
    (ValidationError, HTTPStatus.UNPROCESSABLE_ENTITY),
    (DatabaseConnectionError, HTTPStatus.SERVICE_UNAVAILABLE),
    (TransactionError, HTTPStatus.SERVICE_UNAVAILABLE),
    (EngineClosed, HTTPStatus.SERVICE_UNAVAILABLE),
    (FoldingBroken, HTTPStatus.SERVICE_UNAVAILABLE),
)
NEXT: Final[Mapping[HTTPStatus, str]] = {
    HTTPStatus.UNAUTHORIZED: "send Authorization: Bearer TOKEN; onex token makes one",
    HTTPStatus.FORBIDDEN: "ask somebody whose role may do this",
    HTTPStatus.NOT_FOUND: "look at GET /api/instances and /openapi.json for what there is",
    HTTPStatus.CONFLICT: "read the instance again, and decide again",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "send less; large data belongs into a Blob",
    HTTPStatus.UNPROCESSABLE_ENTITY: "correct what is named in place, and send it again",
    HTTPStatus.TOO_MANY_REQUESTS: "send it again after the seconds of Retry-After, with the same Idempotency-Key",
    HTTPStatus.SERVICE_UNAVAILABLE: "send it again in a moment, with the same Idempotency-Key",
}

NEXT_OF: Final[Mapping[str, str]] = {
    "illegal_transition": "send a trigger that this status takes: detail names them; or wait for another status",
    "internal_trigger": "the app's own intents, timers and messages bring this trigger; send one that clients may send",
    "duplicate_action": "this Idempotency-Key was used for another body at this instance; take a new one",
    "guard_failed": "the condition in detail does not hold; change the payload, or wait until the state is another one",
    "instance_finished": "it takes nothing more; begin another instance",
    "store_takes_no_commands": "look at it here; to go on, run the app on another store",
    "instance_held": "find out why it is held; POST /api/release lets it take actions again",
}
"""By code, where more can be said than its status says."""


class ProblemAnswer(BaseModel):
    """What went wrong. ``code`` never changes and is for programs; the other texts are for people."""

    type: str = Field(description="urn:onex:error:CODE")
    title: str
    status: int
    detail: str = Field(description="what happened, with which values")
    code: str
    place: str = Field(description="which part of the request or which instance it is about; '' for none")
    cause: str = Field(description="what was behind it; '' where nothing more is known")
    next: str = Field(description="what to do now")
    retryable: bool = False
    context: dict[str, JsonValue] = Field(default_factory=dict)


def status_of(error: OnexError) -> HTTPStatus:
    return next((status for kind, status in ANSWERS if isinstance(error, kind)), HTTPStatus.CONFLICT)


def problem_response(error: OnexError, place: str = "", status: HTTPStatus | None = None) -> JSONResponse:
    status = status or status_of(error)
    shown = error.as_json()
    context = shown.get("context")
    findings = getattr(error, "findings", ())
    cause = str(shown.get("cause", "")) or "; ".join(str(one) for one in list(findings)[:5])
    found = ProblemAnswer(
        type=f"urn:onex:error:{error.code}",
        title=status.phrase,
        status=status,
        detail=error.message,
        code=error.code,
        place=place,
        cause=cause,
        next=NEXT_OF.get(error.code) or NEXT.get(status, "read detail"),
        retryable=error.retryable,
        context=context if isinstance(context, dict) else {},
    )
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, Overloaded):
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(found.model_dump(), status, headers, MEDIA)


class BadRequest(ValidationError):
    """The request does not fit what the API's document says."""

    code = "bad_request"


def _is_read_by_a_person(request: Request) -> bool:
    """A browser that was led to an address which there is not. Programs, and all that is below /api, get a problem document."""
    path, accepts = request.url.path, request.headers.get("accept", "")
    return request.method == "GET" and not path.startswith(("/api/", "/page/")) and "text/html" in accepts


def add_problems(api: FastAPI) -> None:
    """Every error of the API is answered as a problem."""

    async def of_ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, OnexError), "registered for these only"
        if isinstance(error, NotAllowed | NotAuthenticated):
            audit: CommandAudit = request.app.state.served.audit
            audit.denied(request.scope["onex.principal"], request.method, request.url.path, error.code)
        return problem_response(error, request.query_params.get("key", ""))

    async def of_input(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError), "registered for these only"
        told = error.errors()
        first = told[0] if told else {}
        place = ".".join(str(part) for part in first.get("loc", ()))
        detail = "; ".join(f"{'.'.join(map(str, one.get('loc', ())))}: {one.get('msg', '')}" for one in told[:5])
        return problem_response(BadRequest(detail or "the request cannot be read"), place)

    async def of_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "registered for these only"
        status = HTTPStatus(error.status_code)
        if status is HTTPStatus.NOT_FOUND and _is_read_by_a_person(request):
            there: Mapping[str, Path] = request.app.state.page
            if (index := there.get("index.html")) is not None:  # the page says that it has no such screen
                return FileResponse(index, status, {"Cache-Control": "no-store"}, "text/html")
        answer = problem_response(BadRequest(f"{request.method} {request.url.path}: {error.detail}"), status=status)
        answer.headers.update(error.headers or {})
        return answer

    api.add_exception_handler(OnexError, of_ours)
    api.add_exception_handler(RequestValidationError, of_input)
    api.add_exception_handler(HTTPException, of_http)
