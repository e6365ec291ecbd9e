"""``onex doctor``: examines a repository by reading it only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..doctor.examination import Examination, examine
from ..doctor.system_map import map_mermaid, map_svg, system_map
from ..kernel.visible_text import visible_lines
from ..views.doctor import diagnosis_json
from .console import note, say_json
from .doctor_report import show
from .exit_codes import FOUND, Misused
from .progress import ProgressBar
from .store_options import Json

_MAPS = (".mmd", ".mermaid", ".md", ".svg")


def doctor(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the repository.")] = Path(),
    every: Annotated[bool, typer.Option("--all", help="Show everything: notes too, and lists in full.")] = False,
    maps: Annotated[
        list[Path] | None,
        typer.Option(
            "--map", metavar="FILE", help="Draw the system: .svg, or .mmd or .md for Mermaid. May be repeated."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 if there are errors or warnings.")] = False,
    as_json: Json = False,
) -> None:
    """Examine a repository: its contracts, topics, machines and code.

    The repository needs no preparation. Everything is read as text: nothing is imported, run or downloaded, and nothing in
    the folder is written. Reported are: contracts that do not load; nodes that claim purity while their code calls clocks,
    random numbers or I/O, with the call chain; topics without publisher or consumer, and topics with nearly the same name;
    machines with states that cannot be reached or left; modules, handlers and models that contracts name but that do not
    exist. The exit code is 0 whatever was found, unless --strict is given.

    \b
    Examples:
      onex doctor
      onex doctor ../shop --map shop.svg
      onex doctor ../shop --strict --all
      onex doctor ../shop --json | jq '.symptoms[] | select(.area == "topics") | .message'
    """
    for one in maps or ():
        if one.suffix not in _MAPS:
            raise Misused(f"--map {one}: a map ends in {', '.join(_MAPS[:-1])} or {_MAPS[-1]}; choose such a name")
    diagnosis = _examined(folder)
    for one in maps or ():
        _draw(diagnosis, one)
        note(f"{one}: written")
    if as_json:
        say_json(diagnosis_json(diagnosis))
    else:
        show(diagnosis, every=every)
    counts = diagnosis.counts()
    if strict and (counts["error"] or counts["warning"]):
        raise typer.Exit(FOUND)


def _examined(folder: Path) -> Examination:
    with ProgressBar("reading", "steps", wait_s=0.3) as bar:
        return examine(folder, bar.update)


def _draw(diagnosis: Examination, file: Path) -> None:
    drawn = system_map(diagnosis)
    title = f"System map of {diagnosis.root.resolve().name}"
    if file.suffix == ".svg":
        text = map_svg(drawn, title)
    elif file.suffix == ".md":
        text = f"# {title}\n\n```mermaid\n{map_mermaid(drawn)}```\n"
    else:
        text = map_mermaid(drawn)
    try:
        file.write_text(visible_lines(text), encoding="utf-8")
    except OSError as error:
        raise Misused(f"--map {file} cannot be written: {error.strerror}") from error
