"""``onex contract``: the contract of an app as YAML, derived where the app is one Python file, and its lock file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..app import App, load_app
from ..app.lock import holds_contract, lock_file, locked_text
from ..kernel.errors import UnknownWorkflow
from ..repository.safe_write import write_whole
from .console import note, say_json, say_lines
from .exit_codes import FOUND, Misused
from .store_options import Json


def contract(
    path: Annotated[Path, typer.Argument(metavar="APP", help="A folder or Python file that is an app.")],
    of_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only the contract of this workflow.")
    ] = None,
    lock: Annotated[
        bool, typer.Option("--lock", help="Write each contract into TYPE.lock.yaml beside the file.")
    ] = False,
    frozen: Annotated[
        bool, typer.Option("--frozen", help="Write nothing; exit code 1 if a lock file is missing or differs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print the contract of an app; write or compare its lock file.

    For a workflow that is written in one Python file, the contract is derived from its decorators. A lock file beside it
    holds that contract, so a change of it is seen in a review. onex check reports a lock file that differs. Comments and layout
    of a lock file do not count.

    \b
    Examples:
      onex contract billing.py
      onex contract billing.py --lock
      onex contract billing.py --frozen
      onex contract examples/orders --json
    """
    if lock and frozen:
        raise Misused("--lock writes and --frozen only compares; choose one")
    app = load_app(path)
    if of_type is not None and of_type not in app.workflows:
        raise UnknownWorkflow(f"{path} has no workflow {of_type!r}; it has {', '.join(app.workflows)}")
    names = [of_type] if of_type is not None else list(app.written)
    if lock or frozen:
        if app.source is None:
            raise Misused(f"the contracts of {path} are files already; only a derived contract has a lock file")
        _locked(app, app.source, names, write=lock)
        return
    texts = {name: app.workflows[name].contract_text for name in names}
    if as_json:
        say_json({"workflows": texts})
    else:
        say_lines("---\n".join(texts.values()).rstrip("\n"))


def _locked(app: App, source: Path, names: list[str], *, write: bool) -> None:
    differ = 0
    for name in names:
        file = lock_file(source, name)
        tree = app.workflows[name].located.tree
        wanted = locked_text(tree, source)
        found = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else None
        same = found is not None and holds_contract(found, tree, file.name)
        if (
            same and write and found is not None
        ):  # its first line names the Python file, which may have another name now
            same = found.partition("\n")[0] == wanted.partition("\n")[0]
        if same:
            note(f"{file} is up to date")
        elif write:
            write_whole(file, wanted)
            note(f"wrote {file}")
        else:
            differ += 1
            what = "does not exist" if found is None else "differs from the contract"
            note(f"{file} {what}; onex contract {app.root} --lock writes it")
    if differ:
        raise typer.Exit(FOUND)
