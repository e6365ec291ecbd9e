"""The jobs the demo can run: which app, which inputs, how many effects these have, and where the effects happen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from uuid import UUID, uuid5

from pydantic import JsonValue

from ..kernel.errors import ValidationError
from .demo_wire import Input

_JOB = UUID("5d1a1f0e-8a6e-5a54-9d0c-3a1f6f6d2c10")
INSTANCES_MIN = 10

Submission = tuple[str, str, dict[str, JsonValue]]
"""Key, trigger, payload."""


class JobMissing(ValidationError):
    """The demo cannot find the app, or anything for it to work on."""

    code = "job_missing"


class Workload(NamedTuple):
    """One job. ``effects`` is how many different ones the outside will see; they leave their traces in ``outside``.

    ``environment`` is set for the engine. ``report`` is the file in which the job itself says what it found; None: the
    demo writes one about itself.
    """

    title: str
    app: Path
    inputs: tuple[Input, ...]
    effects: int
    outside: Path
    environment: Mapping[str, str]
    report: Path | None = None


def numbered(submissions: Sequence[Submission]) -> tuple[Input, ...]:
    """As inputs, each with an id that follows from its place and key: the same job sends the same ids again."""
    return tuple(
        Input(number=n, key=key, trigger=trigger, payload=payload, action_id=uuid5(_JOB, f"{n}/{key}/{trigger}"))
        for n, (key, trigger, payload) in enumerate(submissions)
    )


def orders(instances: int, folder: Path) -> Workload:
    """Each order is placed, charged by the bank and packed by the warehouse: two effects, each a file."""
    outside = folder / "orders"
    width = len(str(instances))
    placed = numbered([(f"orders:{n:0{width}}", "place", {"items": _basket(n)}) for n in range(1, instances + 1)])
    title = f"{instances:,} orders, each charged by a bank and packed by a warehouse"
    environment = {"ONEX_ORDERS_DIR": str(outside.resolve())}
    return Workload(title, example("orders"), placed, 2 * instances, outside, environment)


def _basket(n: int) -> list[JsonValue]:
    """One to three things, the same at every run."""
    return [
        {"sku": f"sku-{(7 * n + k) % 100:02}", "quantity": 1 + (n + k) % 5, "cents": 100 + 37 * (n % 50)}
        for k in range(1 + n % 3)
    ]


def example(name: str) -> Path:
    """An app of ``examples/``: in the package when it was installed as a wheel, beside it in a work tree."""
    package = Path(__file__).resolve().parents[1]
    for place in (package / "_examples" / name, package.parents[1] / "examples" / name):
        if (place / "contract.yaml").is_file():
            return place
    raise JobMissing(
        f"the example app {name!r} came neither with this installation nor with a work tree; install onex again"
    )
