"""Workloads of the demo: which app, which inputs, how many effects they cause, and where the effects happen."""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID, uuid5

from pydantic import JsonValue

from ...kernel.action import WorkflowKey
from ...kernel.errors import InvalidKey, ValidationError
from ...workflows.code_analysis import tree
from .wire import Input

_JOB = UUID("5d1a1f0e-8a6e-5a54-9d0c-3a1f6f6d2c10")
_JOB_NAME = "demo"
_FOREIGN = frozenset({"__pycache__", "dist-packages", "node_modules", "site-packages"})
INSTANCES_MIN = 10

Submission = tuple[str, str, dict[str, JsonValue]]
"""Key, trigger, payload."""


class JobMissing(ValidationError):
    """The demo cannot find its app, or anything to work on."""

    code = "job_missing"


class Workload(NamedTuple):
    """One workload. ``effects``: how many different effects it causes; they write their files to ``outside``.

    ``environment`` is set for the engine. ``report``: the file in which the workflow reports its own result; None when
    it writes none. ``made_of``: apps that ``app`` is put together from before the start; none: it is there. ``pace_s``: by
    workflow, how long an effect takes at least.
    """

    title: str
    app: Path
    inputs: tuple[Input, ...]
    effects: int
    outside: Path
    environment: Mapping[str, str]
    report: Path | None = None
    made_of: tuple[Path, ...] = ()
    pace_s: Mapping[str, float] = MappingProxyType({})


def numbered(submissions: Sequence[Submission]) -> tuple[Input, ...]:
    """As inputs. Each id is derived from number, key and trigger: the same workload sends the same ids again."""
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
    """One to three items, the same in every run."""
    return [
        {"sku": f"sku-{(7 * n + k) % 100:02}", "quantity": 1 + (n + k) % 5, "cents": 100 + 37 * (n % 50)}
        for k in range(1 + n % 3)
    ]


def code_analysis(path: Path | None, folder: Path) -> Workload:
    """Every Python file below ``path`` (default: the standard library of this Python) is read, analysed and reported.

    Two effects per file and one for the report over all; a file that cannot be read has fewer. Raises JobMissing.
    """
    root = Path(sysconfig.get_path("stdlib")) if path is None else path
    outside = (folder / "analysis").resolve()
    files = [name for name in _sources(root) if _fits(f"code_file:{_JOB_NAME}/{name}")]
    if not files:
        raise JobMissing(f"{root} holds no Python file; name a folder that does: onex demo --path DIR")
    where = f"the standard library of Python {platform.python_version()}" if path is None else str(root)
    title = f"{len(files):,} Python files of {where}"
    begun = tree.begin(_JOB_NAME, str(root.resolve()), files, str(outside), title)
    inputs = numbered([(one.key, one.trigger, one.payload) for one in begun])
    app = Path(tree.__file__).resolve().parent
    return Workload(title, app, inputs, 2 * len(files) + 1, outside, {}, outside / "report.html")


def _sources(root: Path) -> list[str]:
    """Relative paths with ``/``, sorted, without hidden folders, installed packages and virtual environments."""
    found: list[str] = []
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if name not in _FOREIGN and not name.startswith("."))
        below[:] = [name for name in below if not Path(folder, name, "pyvenv.cfg").exists()]
        found += [
            Path(folder, name).relative_to(root).as_posix()
            for name in names
            if name.endswith(".py") and Path(folder, name).is_file()
        ]
    return sorted(found)


def _fits(key: str) -> bool:
    """Whether the path can be an instance id: not too long, no forbidden characters."""
    try:
        WorkflowKey.parse(key)
    except InvalidKey:
        return False
    return True


def example(name: str) -> Path:
    """An app of ``examples/``: in the package when it was installed as a wheel, beside it in a work tree."""
    package = Path(__file__).resolve().parents[2]
    for place in (package / "_examples" / name, package.parents[1] / "examples" / name):
        if (place / "contract.yaml").is_file():
            return place
    raise JobMissing(f"the example app {name!r} is neither in this installation nor in a work tree; install onex again")
