"""The option ``--releases``: where versions of an app are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..settings import read_settings

ReleasesFolder = Annotated[
    Path | None,
    typer.Option(
        "--releases",
        metavar="FOLDER",
        help="Where versions are kept, the same for engines and onex deploy. [default: ONEX_RELEASES]",
        show_default=False,
    ),
]


def releases_of(given: Path | None) -> Path | None:
    """The folder of the option, else of the setting."""
    named = read_settings().releases
    return given or (Path(named) if named else None)
