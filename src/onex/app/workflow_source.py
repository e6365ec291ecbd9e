"""What one workflow of an app consists of before it is joined, whichever form it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType

from ..contracts.compile import LocatedContract
from ..kernel.machine import Handlers
from ..kernel.step import State
from ..nodes.io import Function
from .migrations import DeclaredChanges


@dataclass(frozen=True, slots=True)
class WorkflowSource:
    """``home`` is the workflow's folder inside the app, dotted, '' for the app itself. ``classes`` are those that the contract
    names.

    ``parts`` are the modules whose bytes decide a state. ``effects[target]`` and ``computes[name]`` are functions that were given
    beside the declaration; ``modules`` are those of which marked functions are taken, as (``effects`` or ``compute``, module).
    """

    home: str
    located: LocatedContract
    classes: Mapping[str, object]
    handlers: Handlers[State] | None
    parts: tuple[str, ...]
    migrations: DeclaredChanges = field(default_factory=DeclaredChanges)
    modules: tuple[tuple[str, ModuleType], ...] = ()
    effects: Mapping[str, Function] = field(default_factory=dict)
    computes: Mapping[str, Function] = field(default_factory=dict)
