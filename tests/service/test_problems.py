"""Every error of ONEX is a problem document with a status of its own kind, and none but a defect is a 500."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from onex.kernel.errors import (
    CommitUnknown,
    ConcurrentModificationError,
    DatabaseConnectionError,
    InstanceHeld,
    InvalidKey,
    NotFound,
    OnexError,
    Overloaded,
    PayloadTooLarge,
    TemporaryDatabaseError,
    UnknownWorkflow,
)
from onex.processes.child_process import FoldingBroken
from onex.service.access import NotAllowed, NotAuthenticated
from onex.service.problem import NEXT, problem_response, status_of

EXPECTED: dict[type[OnexError], int] = {
    NotAuthenticated: 401,
    NotAllowed: 403,
    NotFound: 404,
    UnknownWorkflow: 404,
    ConcurrentModificationError: 409,
    InstanceHeld: 409,
    PayloadTooLarge: 413,
    InvalidKey: 422,
    Overloaded: 429,
    DatabaseConnectionError: 503,
    TemporaryDatabaseError: 503,
    CommitUnknown: 503,
    FoldingBroken: 503,
}


def below(base: type[OnexError]) -> Iterator[type[OnexError]]:
    yield base
    for one in base.__subclasses__():
        yield from below(one)


@pytest.mark.parametrize(("kind", "status"), EXPECTED.items(), ids=lambda one: getattr(one, "__name__", str(one)))
def test_an_error_has_the_status_of_its_kind(kind: type[OnexError], status: int) -> None:
    assert status_of(kind("no")) == status


def test_no_error_of_ours_is_a_defect_and_each_says_what_to_do_next() -> None:
    ours = [one for one in below(OnexError) if one.__module__.startswith("onex.")]  # others are of tests and apps
    kinds = [one for one in ours if one.__init__ is OnexError.__init__]
    assert len(kinds) > 40
    for kind in kinds:
        answer = problem_response(kind("it went wrong", key="orders:1"), "orders:1")
        told = json.loads(bytes(answer.body))
        assert answer.status_code in NEXT, kind
        assert answer.media_type == "application/problem+json"
        assert (told["code"], told["detail"], told["place"]) == (kind.code, "it went wrong", "orders:1")
        assert told["next"]
        assert told["retryable"] is kind.retryable


def test_too_much_at_once_says_when_to_come_back() -> None:
    answer = problem_response(Overloaded("a queue is full", retry_after_s=1.2))
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "2")


def test_what_was_behind_an_error_is_told() -> None:
    try:
        try:
            raise ValueError("the disk is full")
        except ValueError as error:
            raise TemporaryDatabaseError("it cannot be written") from error
    except OnexError as error:
        told = json.loads(bytes(problem_response(error).body))
    assert "the disk is full" in told["cause"]
