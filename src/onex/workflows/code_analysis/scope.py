"""What a reader meets in a module: functions and classes by their qualified names, and who can see them."""

from __future__ import annotations

from typing import NamedTuple


class Scope:
    """A module, class or function while it is walked; ``predicates`` grows."""

    __slots__ = ("kind", "line", "lines", "name", "predicates", "public")

    def __init__(self, kind: str, name: str, line: int, lines: tuple[int, int] | None, *, public: bool) -> None:
        self.kind, self.name, self.line, self.lines, self.public = kind, name, line, lines, public
        self.predicates = 0

    def inside(self, name: str) -> str:
        """The qualified name of what is defined here, as ``__qualname__`` has it."""
        if not self.name:
            return name
        return f"{self.name}.<locals>.{name}" if self.kind == "function" else f"{self.name}.{name}"


class FunctionMetrics(NamedTuple):
    """A function as a reader meets it; ``arguments`` counts what a caller fills."""

    name: str
    line: int
    complexity: int
    arguments: int


class Definition(NamedTuple):
    """A module (name empty), class or function that a user of the module sees."""

    name: str
    line: int
    documented: bool
