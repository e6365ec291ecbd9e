"""Children of an orchestration: an instance of its own for a sub-workflow, and one for each item of a map. Pure.

The parent sends ``start`` and counts; a child sends back once how it ended. The id of a child names its parent, task and item. So
the parent knows an answer by it, and one that comes late or from a stranger changes nothing.

A map begins as many children as ``concurrency`` allows, and the next one when one has ended. So the state of the parent holds how
many there were and which are open, not one row for each: it stays small with any number of items.
"""

from __future__ import annotations

from hashlib import blake2b

from pydantic import BaseModel

from ..kernel.action import INSTANCE_ID_BYTES
from ..kernel.user_code import caught
from .compiled_plan import CompiledMap
from .given import value_at
from .progress import Ended, Gathered, ItemFailure, PlanState

FAILURES_KEPT = 10
ROOM = 60
"""Bytes of an id that are left for task and item."""


def child_prefix(parent: str, task: str, run: int) -> str:
    """What the ids of the children of a task begin with; ``run`` is 0 unless the task was begun again. A parent whose id is very
    long is named by its hash.
    """
    if len(parent.encode()) > INSTANCE_ID_BYTES - ROOM:
        parent = blake2b(parent.encode(), digest_size=16).hexdigest()
    return f"{parent}/{task}~{run}" if run else f"{parent}/{task}"


def item_of(child: str, prefix: str) -> int | None:
    """The item that a child of a map is for; None for an id that is none of them."""
    number = child.removeprefix(f"{prefix}/")
    return int(number) if number != child and number.isascii() and number.isdigit() else None


def items_begin(compiled: CompiledMap, state: PlanState) -> Gathered | str:
    """The map before its first item, or why it cannot begin."""
    count = len(values) if isinstance(values := value_at(state, compiled.over), tuple) else None
    if not compiled.over:
        found = compiled.count if isinstance(compiled.count, int) else value_at(state, compiled.count)
        count = found if isinstance(found, int) else None
    if count is None or count < 0:
        return f"there are no items: {count}" if count is not None else "there are no items"
    if compiled.at_most is not None and count > compiled.at_most:
        return f"there are {count} items; at_most is {compiled.at_most}"
    made = compiled.gathered(count=count)
    if compiled.total is not None:
        made = made.model_validate({**made.__dict__, "folded": compiled.total()})
    return made


def item_at(compiled: CompiledMap, state: PlanState, index: int) -> object:
    values = value_at(state, compiled.over) if compiled.over else None
    return values[index] if isinstance(values, tuple) else index


def item_ended(compiled: CompiledMap, gathered: Gathered, index: int, ended: Ended) -> Gathered:
    """One more item has ended. A result that cannot be folded is a failure of its item."""
    changed: dict[str, object] = {**gathered.__dict__, "open": tuple(one for one in gathered.open if one != index)}
    result: BaseModel | None = getattr(ended, "result", None)
    error = "" if ended.status == "completed" else ended.error or ended.status
    if not error and compiled.fold is not None and result is not None:
        try:
            changed["folded"] = compiled.fold(changed["folded"], result)  # type: ignore[arg-type]  # of the class it made
        except BaseException as raised:
            error = f"fold: {caught(raised)}"
    if not error and compiled.collects:
        results: tuple[BaseModel | None, ...] = getattr(gathered, "results", ())
        filled = [*results, *[None] * (index + 1 - len(results))]
        filled[index] = result
        changed["results"] = tuple(filled)
    if error:
        changed["failed"] = gathered.failed + 1
        if len(gathered.failures) < FAILURES_KEPT:
            changed["failures"] = (*gathered.failures, ItemFailure(index=index, error=error[:200]))
    else:
        changed["succeeded"] = gathered.succeeded + 1
    return type(gathered).model_validate(changed)
