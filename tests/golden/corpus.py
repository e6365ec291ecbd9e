"""The golden histories: what is kept of each, and which code of today it is held against."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import onex
from onex.app import load_app
from onex.engine.registry import Workflow
from onex.replay.history_reader import HistoryReader

HERE = Path(__file__).resolve().parent
ORDERS = HERE.parents[1] / "examples" / "orders"
CODE_ANALYSIS = Path(onex.__file__).resolve().parent / "workflows" / "code_analysis"


class Golden(NamedTuple):
    """``served`` are the targets of effects; their code is not frozen, since a replay never calls it.

    ``sha256`` is of the recorded file, '' before it is recorded. ``accepted[what a difference says] = why it is meant``:
    what today's code makes otherwise of these histories, each explained by whoever changed the code.
    """

    name: str
    today: Path
    served: tuple[str, ...]
    sha256: str
    accepted: Mapping[str, str] = {}

    @property
    def history(self) -> Path:
        return HERE / f"{self.name}.jsonl"

    @property
    def app(self) -> Path:
        """The code it was recorded under."""
        return HERE / "apps" / self.name

    def reader(self) -> HistoryReader:
        return HistoryReader(BytesIO(self.history.read_bytes()), str(self.history))

    def frozen_code(self) -> tuple[Workflow, ...]:
        return workflows(self.app, self.served)

    def todays_code(self) -> tuple[Workflow, ...]:
        return workflows(self.today, self.served)


def workflows(app: Path, served: tuple[str, ...]) -> tuple[Workflow, ...]:
    """What a replay needs of an app."""
    return tuple(Workflow(one.reducer, one.code) for one in load_app(app, served).workflows.values())


CORPUS = (
    Golden(
        "orders-1", ORDERS, ("bank", "warehouse"), "bbcbfb9e2189587c54357c48c35b10d7dae9ea9c733c5295496e9792c8dcbb83"
    ),
    Golden(
        "code_analysis-1",
        CODE_ANALYSIS,
        ("source_reader", "result_writer", "report_writer"),
        "f027c1e6554e2f2ff922019bb2106218990b4c1d64c92dc2cea14ecb7b3ee61b",
    ),
)
