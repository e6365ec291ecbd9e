"""``onex diagram``: state machines and step graphs as Mermaid or SVG. Code is imported only where it declares the contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..app import load_app
from ..app.lock import lock_name
from ..contracts.draw.contract_pictures import Picture, pictures
from ..contracts.foreign.foreign_reader import read_contract
from ..contracts.model.contract import ModelContractBase
from ..kernel.action import WorkflowKey
from ..kernel.errors import ContractError, NotFound, UnknownWorkflow
from ..kernel.finding import errors
from ..kernel.visible_text import visible_lines
from ..repository.contract_files import ContractFile, find_contracts
from ..repository.reference_files import Repository, contract_text
from ..views.plan_rows import plan_rows
from ..views.stored_value import parse_json
from .console import counted, note, say_json, say_lines
from .exit_codes import Misused
from .store_options import Json, Store


class EnumPicture(StrEnum):
    MERMAID = "mermaid"
    SVG = "svg"


def diagram(
    path: Annotated[
        Path, typer.Argument(metavar="CONTRACT", help="A contract of any family, a one-file app, or a folder with any.")
    ],
    of_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only the contract of this name.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="KEY", help="An instance of an orchestration: its tasks, and how far each is."),
    ] = None,
    store: Store = None,
    form: Annotated[EnumPicture, typer.Option("--format", help="mermaid or svg.")] = EnumPicture.MERMAID,
    svg: Annotated[
        Path | None, typer.Option("--svg", metavar="FILE", help="Write an SVG picture into this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw a contract's state machine, or an orchestrator's steps.

    Drawn from the compiled machine, for contracts of any family. One diagram is printed as it is; several are printed as
    Markdown with a heading each. An SVG picture adapts to light and dark mode and is self-contained.

    \b
    Examples:
      onex diagram examples/orders
      onex diagram examples/orders --svg orders.svg
      onex diagram contracts --type parcels > parcels.mmd
      onex diagram examples/order_saga --key order_saga:1
    """
    done = {} if key is None else _done(store, WorkflowKey.parse(key))
    of_type = of_type if key is None else WorkflowKey.parse(key).workflow_type
    drawn = _chosen(path, _drawn(path, done), of_type)
    wanted = EnumPicture.SVG if svg is not None else form
    if wanted is EnumPicture.SVG and len(drawn) > 1 and not as_json:
        raise Misused(f"{path} has {len(drawn)} pictures ({', '.join(drawn)}); choose one with --type")
    texts = {name: one.svg if wanted is EnumPicture.SVG else one.mermaid for name, one in drawn.items()}
    if svg is not None:
        if as_json:
            raise Misused("--json and --svg do not go together; leave out --svg, and add --format svg")
        try:
            svg.write_text(visible_lines(next(iter(texts.values()))), encoding="utf-8")
        except OSError as error:
            raise Misused(f"{svg} cannot be written: {error.strerror}; name a file in a folder that exists") from error
        note(f"wrote {svg}")
    elif as_json:
        say_json({"workflows": texts})
    elif len(texts) == 1:
        say_lines(*(one.rstrip() for one in texts.values()))
    else:
        say_lines("\n".join(f"## {name}\n\n```mermaid\n{one}```\n" for name, one in texts.items()).rstrip())


def _done(store: str | None, key: WorkflowKey) -> dict[str, str]:
    """How far each task of an instance is. Raises NotFound, and Misused for one that has no tasks."""
    from .store_reading import look  # a picture without a store needs no store's code

    stored = look(store, lambda reader: reader.load([key])).get(key)
    if stored is None or stored.version == 0:
        raise NotFound(f"{key} has not begun; onex ls lists instances")
    rows = plan_rows(parse_json(stored.state))
    if not rows:
        raise Misused(f"{key} is no orchestration, or none of its tasks has begun; leave out --key")
    return {one.task: f"{one.state} {one.items}".strip() for one in rows}


def _drawn(path: Path, done: Mapping[str, str]) -> dict[str, Picture]:
    """Every picture at or below ``path``, by title. Raises ContractError when there is none, or the only file does not load."""
    found: dict[str, Picture] = {}
    seen = find_contracts([path])
    candidates = (*seen.one_files, *seen.candidates)
    broken = 0
    for candidate in candidates:
        try:
            contracts = _contracts(candidate)
        except ContractError:
            if len(candidates) == 1:
                raise
            broken += 1
            continue
        for one in (picture for contract in contracts for picture in pictures(contract, done)):
            if one.title in found and candidate.path.name == lock_name(one.title):
                continue  # the lock file of a workflow that is drawn already
            name = one.title if one.title not in found else f"{one.title} ({candidate.path})"
            found[name] = one
    if broken:
        note(f"{counted(broken, 'contract')} of {len(candidates)} cannot be read; onex check {path} says why")
    if not found:
        raise ContractError(f"{path} has nothing to draw: no state machine, no steps of a workflow")
    return found


def _contracts(candidate: ContractFile) -> Sequence[ModelContractBase]:
    """Those of one file. Raises ContractError with all findings."""
    path = candidate.path
    if path.suffix == ".py":
        return [one.contract for one in load_app(path).written.values()]
    reading = read_contract(contract_text(path), str(path), Repository.holding(path, candidate.within))
    if reading.contract is None:
        raise ContractError(f"{path} does not load", errors(reading.findings))
    return [reading.contract]


def _chosen(path: Path, drawn: Mapping[str, Picture], of_type: str | None) -> dict[str, Picture]:
    if of_type is None:
        return dict(drawn)
    chosen = {name: one for name, one in drawn.items() if name == of_type or name.startswith(f"{of_type}: ")}
    if not chosen:
        raise UnknownWorkflow(f"{path} has no workflow {of_type!r}; it has {', '.join(drawn)}")
    return chosen
