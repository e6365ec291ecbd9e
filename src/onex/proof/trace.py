"""What reading one function leaves behind: whom it reaches and what of the world it touches, each with its line."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import NamedTuple

from .impure_calls import EnumImpurity
from .symbols import ClassOf, FunctionNode, FunctionOf, Meaning, Module

Key = tuple[str, str, int, int, int]


class Task(NamedTuple):
    """What is read at once: a function, or the expression of a variable or of a field's default."""

    module: Module
    name: str
    node: FunctionNode | ast.expr
    owner: ClassOf | None = None
    me: ClassOf | None = None

    @property
    def key(self) -> Key:
        return (
            self.module.path,
            self.name,
            self.node.lineno,
            self.node.col_offset,
            0 if self.me is None else id(self.me.node),
        )


class Touch(NamedTuple):
    """The world, touched on a line: ``name`` is what is called, ``kind`` why that matters, ``failing`` within a ``raise``."""

    kind: EnumImpurity
    name: str
    line: int
    column: int
    failing: bool = False


class Reached(NamedTuple):
    """Another function, from a line; ``failing`` when only a ``raise`` asks for it."""

    task: Task
    line: int
    failing: bool = False


@dataclass(slots=True)
class Trace:
    """What a task came to. ``outside`` are packages, not of the standard library, that it calls into."""

    touches: list[Touch] = field(default_factory=list)
    reached: list[Reached] = field(default_factory=list)
    outside: set[str] = field(default_factory=set)
    meaning: Meaning | None = None
    attributes: dict[str, Meaning] = field(default_factory=dict)


def task_of(function: FunctionOf) -> Task:
    return Task(function.module, function.name, function.node, function.owner, function.me)
