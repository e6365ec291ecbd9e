"""Living examples: a saga and an approval that run beside the demo's job, slowly enough to be watched on its page.

They are the apps of ``examples/``, in the job's own store and engine: a kill meets them like the job, and the same process counts
their effects. The app of such a demo is one folder, put together from copies: an app's code is what lies in its folder.

- ``order_saga:tea`` is paid and shipped. ``order_saga:far-island`` cannot be shipped: what was done is undone.
- ``order_saga:desk`` and ``approval:ada`` wait for the visitor of the page. Nobody has to come: their deadlines are days away.
- ``more_orders`` are those that come while a person stays.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID, uuid5

from pydantic import JsonValue

from .wire import Input
from .workload import Submission, Workload, example, numbered

SAGA: Final = "order_saga"
APPROVAL: Final = "approval"
EFFECTS: Final = 10
"""Tea: reserved, paid, shipped. Island: reserved, paid, refunded, released. Desk: reserved, paid. Ada: a letter."""
PACE_S: Final = 1.5
"""Of one effect of the saga on a terminal, where a person may watch; elsewhere it does not wait."""
EVERY_S: Final = 6.0
_MORE: Final = UUID("7c0b6c1e-30d3-5a0c-8c8e-6f1c0a6f5d11")
_CENTS: Final = 12_000
_SKIPPED: Final = shutil.ignore_patterns("__pycache__", "*.pyc")


class Choice(NamedTuple):
    """What a visitor may answer."""

    label: str
    trigger: str
    payload: dict[str, JsonValue]


class LivingExample(NamedTuple):
    """``waits_in``: statuses in which it waits for one of ``choices``."""

    key: str
    what: str
    waits_in: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()


EXAMPLES: Final = (
    LivingExample(
        f"{APPROVAL}:ada",
        "Ada asks for 120.00: you are the manager",
        ("waiting", "reminded", "escalated"),
        (
            Choice("Approve", "approve", {"by": "the visitor", "cents": _CENTS}),
            Choice("Refuse", "refuse", {"by": "the visitor"}),
        ),
    ),
    LivingExample(f"{SAGA}:desk", "a large order: somebody must look at it before it is shipped"),
    LivingExample(f"{SAGA}:far-island", "an order that nobody can ship: what was done is undone"),
    LivingExample(f"{SAGA}:tea", "an order that is reserved, paid and shipped"),
)


def with_examples(job: Workload, folder: Path, *, watched: bool) -> Workload:
    """``job`` and the living examples as one workload. ``watched``: their effects take PACE_S."""
    begun: list[Submission] = [_order("tea", 900), _order("far-island", 4_900), _order("desk", 64_900)]
    begun.append((f"{APPROVAL}:ada", "hand_in", {"who": "Ada", "cents": _CENTS}))
    outside = {
        "ONEX_SAGA_DIR": str((folder / "saga").resolve()),
        "ONEX_APPROVAL_DIR": str((folder / "approval").resolve()),
    }
    first = numbered(begun)
    rest = tuple(one.model_copy(update={"number": one.number + len(first)}) for one in job.inputs)
    return job._replace(
        app=folder / "workflows",
        made_of=(job.app, example(SAGA), example(APPROVAL)),
        inputs=(*first, *rest),
        effects=job.effects + EFFECTS,
        environment={**job.environment, **outside},
        pace_s={SAGA: PACE_S} if watched else {},
    )


def put_together(work: Workload) -> None:
    """Makes the folder of an app that is put together: the first app's files, and each other one in a folder of its name."""
    if not work.made_of:
        return
    first, *others = work.made_of
    shutil.copytree(first, work.app, ignore=_SKIPPED)
    for one in others:
        shutil.copytree(one, work.app / one.name, ignore=_SKIPPED)


def more_orders(after: int) -> Iterator[Input]:
    """Without end; ``after`` is the highest number that is taken. Each third cannot be shipped, each fifth waits for a person."""
    for n in count(1):
        name = f"far-{n}" if n % 3 == 0 else f"order-{n}"
        key, trigger, payload = _order(name, 70_000 if n % 5 == 0 else 700 + 137 * (n % 40))
        yield Input(number=after + n, key=key, trigger=trigger, payload=payload, action_id=uuid5(_MORE, key))


def _order(name: str, cents: int) -> Submission:
    return f"{SAGA}:{name}", "start", {"id": name, "sku": name, "cents": cents}
