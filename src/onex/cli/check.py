"""``onex check``: problems in contracts and apps, found without running anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ..doctor.inspection import Inspection, inspect
from ..kernel.finding import EnumSeverity, Finding
from ..views.check import check_json
from ..views.sarif import sarif
from .check_fix import apply_fixes
from .check_report import severe, show
from .console import json_text, say_json
from .exit_codes import FOUND, Misused
from .progress import ProgressBar
from .store_options import Json


def check(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Contracts, apps, or folders that hold any.", show_default=False),
    ],
    every: Annotated[bool, typer.Option("--all", help="Also show notes: each key that has no effect.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for warnings too.")] = False,
    no_code: Annotated[
        bool, typer.Option("--no-code", help="Import no Python: check only the contracts of apps.")
    ] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Apply the fixes that are safe, then check again.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show what --fix would write, and write nothing.")] = False,
    to_sarif: Annotated[
        str | None,
        typer.Option("--sarif", metavar="FILE", help="Write the findings as SARIF 2.1.0; - means standard output."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check contracts of any family, and apps with their code.

    Reports every problem at once, with file, line and fix. A Python file is an app; another file is read as a contract. In a
    folder, every YAML file with node_type at its top level is a contract; hidden folders, links, virtual environments and
    caches are skipped. A Python file that declares workflows, and a folder whose contracts are ONEX workflows, is an app: its
    Python is imported and compared with its contract, unless --no-code is given. What stands beside workflows and is none is
    passed over, and named. A module that does not end within 30 s when it is imported is ended, and is an error.
    Exit code 1: there are errors, or with --strict warnings.

    \b
    Examples:
      onex check examples/orders
      onex check src contracts/orders.yaml --strict
      onex check . --json | jq '.files[] | select(.ok | not) | .path'
      onex check . --sarif onex.sarif
      onex check contracts --diff
    """
    if fix and diff:
        raise Misused("--fix writes and --diff only shows; choose one")
    if as_json and (diff or to_sarif == "-"):
        raise Misused("--json needs standard output for itself; leave it out, or give --sarif a file")
    found = _inspected(paths, code=not no_code)
    if fix or diff:
        changed = apply_fixes(found.files, write=fix)
        if diff:
            _judge(found.findings, strict=strict)
            return
        found = _inspected(paths, code=not no_code) if changed else found
    if to_sarif is not None:
        _write_sarif(found, to_sarif, every=every)
    if as_json:
        say_json(check_json(found))
    elif to_sarif != "-":
        show(found, every=every)
    _judge(found.findings, strict=strict)


def _inspected(paths: Sequence[Path], *, code: bool) -> Inspection:
    with ProgressBar("checking", "files", wait_s=0.3) as bar:
        return inspect(paths, bar.update, code=code)


def _judge(findings: Sequence[Finding], *, strict: bool) -> None:
    if severe(findings, strict=strict):
        raise typer.Exit(FOUND)


def _write_sarif(found: Inspection, where: str, *, every: bool) -> None:
    from importlib.metadata import version

    findings = [one for one in found.findings if every or one.severity is not EnumSeverity.INFO]
    log = sarif(findings, version("onex"))
    if where == "-":
        say_json(log)
        return
    try:
        Path(where).write_text(f"{json_text(log, indented=True)}\n", encoding="utf-8")
    except OSError as error:
        raise Misused(f"--sarif {where} cannot be written: {error.strerror}") from error
