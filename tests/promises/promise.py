"""Rows of the table of docs/concepts/promises.md that says what user code may do. A row is written at the test that shows it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., None])


class Promise(NamedTuple):
    """``shown_by`` is the module of the test."""

    code: str
    may: str
    comes: str
    shown_by: str


PROMISES: list[Promise] = []
"""In the order of the tests."""


def promise(code: str, may: str, comes: str) -> Callable[[F], F]:
    """The test shows this row."""

    def mark(test: F) -> F:
        PROMISES.append(Promise(code, may, comes, test.__module__))
        return test

    return mark
