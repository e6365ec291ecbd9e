"""Signals between a running effect and whoever runs it: it is told that its intent was cancelled, and tells that it goes on.

An effect may run in a thread: both are safe to use from there, and neither waits.
"""

from __future__ import annotations

from collections.abc import Callable

PROGRESS_CHARACTERS = 200

Beat = Callable[[str], None]
"""Takes the text of a progress; '' for a sign of life that says nothing new."""


class CancelSignal:
    """Tells a running effect that its intent was cancelled. ``call_when_set`` is for whoever runs it."""

    __slots__ = ("_calls", "_set")

    def __init__(self) -> None:
        self._set = False
        self._calls: tuple[Callable[[], object], ...] = ()

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        """Tells once."""
        if not self._set:
            self._set = True
            for call in self._calls:
                call()

    def call_when_set(self, call: Callable[[], object]) -> None:
        if self._set:
            call()
        else:
            self._calls += (call,)
