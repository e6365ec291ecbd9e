"""``onex new``: the files of a new workflow, or stubs of what a contract names and its Python lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..codegen.new_workflow import workflow_file, workflow_files
from ..codegen.stubs import missing_stubs
from ..repository.safe_write import rewrite, write_whole
from .console import note, say_json, say_lines
from .exit_codes import Misused
from .store_options import Json


def new(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[NAME]",
            help="The Python file NAME.py, or the folder NAME; its name is the workflow's.",
            show_default=False,
        ),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="CONTRACT", help="Write what this contract names and the Python beside it lacks."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files of these names that are there.")] = False,
    as_json: Json = False,
) -> None:
    """Write a new workflow, or stubs for a contract.

    It writes a small workflow that runs: NAME.py is one Python file, NAME is a folder with contract.yaml, payloads.py,
    reducer.py and effects.py. With --from it adds payload classes, handlers and functions that serve intents to the files
    beside a contract. No line that is there is changed. An effect that is only a stub fails, and says so.

    \b
    Examples:
      onex new leave.py
      onex new leave
      onex new --from shop/contract.yaml
    """
    if contract is not None:
        if folder is not None or force:
            raise Misused("--from adds to the files beside its contract; leave NAME and --force out")
        _stubs(contract, as_json=as_json)
        return
    if folder is None:
        raise Misused("name the workflow: onex new NAME; or its contract: onex new --from CONTRACT")
    if folder.suffix == ".py":
        name, home = folder.stem, folder.parent
        files: Mapping[str, str] = {folder.name: workflow_file(name)}
    else:
        name, home = folder.name or folder.resolve().name, folder
        files = workflow_files(name)
    if home.exists() and not home.is_dir():
        raise Misused(f"{home} is a file; name a folder, or {home}.py for one file")
    there = [one for one in files if (home / one).exists()]
    if there and not force:
        raise Misused(f"{home} has {', '.join(there)} already; choose another name, or write over them with --force")
    home.mkdir(parents=True, exist_ok=True)
    for one, text in files.items():
        write_whole(home / one, text)
    begin = f'onex submit {name}:1 begin --payload \'{{"text": "hello"}}\''
    next_steps = [f"onex check {folder}", f"onex run {folder}", begin, f"onex show {name}:1"]
    _say({str(home / one): ["all of it"] for one in files}, next_steps, as_json=as_json)


def _stubs(contract: Path, *, as_json: bool) -> None:
    path = contract / "contract.yaml" if contract.is_dir() else contract
    if not path.is_file():
        raise Misused(f"{path} is no file; name a contract")
    files = missing_stubs(path)
    for file in files:
        if file.before is None:
            write_whole(file.path, file.after)
        else:
            rewrite(file.path, file.before, file.after)
    if not files:
        note(f"nothing is missing beside {path}")
    _say({str(file.path): file.added for file in files}, [f"onex check {path.parent}"], as_json=as_json)


def _say(written: Mapping[str, Sequence[str]], next_steps: Sequence[str], *, as_json: bool) -> None:
    """``written[file]`` is what was added to it."""
    if as_json:
        say_json({"files": [{"path": path, "added": list(added)} for path, added in written.items()]})
        return
    for path, added in written.items():
        for what in added:
            note(f"{path}: {what}")
    say_lines("\n".join(next_steps))
