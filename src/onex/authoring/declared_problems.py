"""What is wrong in a declaration: recorded with its place, never raised, so that a file shows all its mistakes at once."""

from __future__ import annotations

from datetime import timedelta
from types import FunctionType

from ..kernel.errors import ValidationError
from ..kernel.retry import BreakerPolicy
from ..kernel.target_policy import NO_POLICY, TargetPolicy
from .intents import Problem, SourcePlace


class DeclaredProblems:
    """Checks of what an author may give, whatever its annotation says."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def _check_span(self, span: object, place: SourcePlace) -> None:
        if span is not None and not isinstance(span, timedelta):
            message = f"{span!r} is no span of time"
            self._problem("not_a_span", place, message, "write timedelta(seconds=30)")

    def _check_function(self, function: object, decorator: str, place: SourcePlace) -> None:
        if not isinstance(function, FunctionType):
            message = f"{decorator} decorates {type(function).__name__}, which is no plain function"
            self._problem("not_a_function", place, message, f"write @NAME.{decorator}(...) above a def of its own")

    def _policy(
        self, rate_per_s: float | None, burst: int | None, breaker: BreakerPolicy | None, place: SourcePlace
    ) -> TargetPolicy:
        try:
            return TargetPolicy(None, rate_per_s, burst, breaker)
        except ValidationError as error:
            message, _, fix = error.message.partition("; ")
            self._problem("not_a_policy", place, message, fix)
            return NO_POLICY

    def _problem(self, code: str, place: SourcePlace, message: str, fix: str) -> None:
        self.problems.append(Problem(code, place, message, fix))
