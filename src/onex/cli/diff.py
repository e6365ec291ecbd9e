"""``onex diff``: what changed between two states of contracts, what it breaks, and the version bump that is due."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from ..contracts.diff.contract_diff import ContractChange, EnumChange
from ..contracts.diff.impact import EnumBump, owed_version
from ..doctor.comparison import ContractComparison, compare, sides
from ..views.diff import diff_json
from .console import counted, has_colours, note, say, say_json, styled
from .exit_codes import FOUND
from .store_options import Json

Side = Annotated[
    str, typer.Argument(metavar="OLD", help="A contract, a folder with contracts, a git revision, or REV:PATH.")
]
NewSide = Annotated[
    str,
    typer.Argument(metavar="NEW", help="As OLD. A bare revision means the path of the other side at that revision."),
]
_MARKS = {EnumChange.ADDED: "+", EnumChange.REMOVED: "-", EnumChange.CHANGED: "~", EnumChange.MOVED: "~"}
_STYLES = {EnumBump.MAJOR: "red", EnumBump.MINOR: "green", EnumBump.PATCH: "dim", EnumBump.NONE: "dim"}
_WORDS = {EnumBump.MAJOR: "breaks", EnumBump.MINOR: "adds", EnumBump.PATCH: "text", EnumBump.NONE: ""}
VALUE_MAX = 60


def diff(
    old: Side,
    new: NewSide,
    breaking: Annotated[
        bool, typer.Option("--breaking", help="Exit code 1 if anything breaks, whatever the versions say.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also show changes that have no effect.")] = False,
    as_json: Json = False,
) -> None:
    """Compare contracts: what breaks, why, and the version bump that is due.

    Each side is a contract, a folder with contracts, a git revision, or REV:PATH. Contracts are matched by name and kind,
    also when their files have moved. Payload classes of apps are compared too. Exit code 1: a version was raised by less
    than the change requires, or a new contract does not load.

    \b
    Examples:
      onex diff HEAD examples/orders
      onex diff v1.2 v1.3
      onex diff main:contracts/orders.yaml contracts/orders.yaml
      onex diff HEAD~1 . --breaking --json
    """
    with sides(old, new, Path()) as (left, right):
        if sys.stderr.isatty() and (left.is_dir() or right.is_dir()):
            note("reading both sides")
        found = compare(left, right)
    if as_json:
        say_json(diff_json(found))
    else:
        _show(found, everything=everything)
    if any(one.is_short or _is_unreadable(one) or (breaking and one.is_breaking) for one in found):
        raise typer.Exit(FOUND)


def _is_unreadable(one: ContractComparison) -> bool:
    """Its new side does not load."""
    return one.new is not None and bool(one.new.problem)


def _show(found: Sequence[ContractComparison], *, everything: bool) -> None:
    shown = [one for one in found if _has_news(one, everything=everything)]
    for one in shown:
        if one.old is not None and one.new is not None:
            _show_one(one, everything=everything)
            say()
    whole = [one for one in shown if one.old is None or one.new is None]
    for one in sorted(whole, key=lambda one: one.new is not None):
        say(_heading(one))
    if whole:
        say()
    counts = {
        "added": sum(one.old is None for one in found),
        "removed": sum(one.new is None for one in found),
        "changed": sum(bool(one.difference and one.difference.changes) for one in found),
        "moved": sum(one.has_moved for one in found),
        "not compared": sum(bool(one.problem) for one in found),
    }
    summary = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    breaking, short = sum(one.is_breaking for one in found), sum(one.is_short for one in found)
    parts = [f"{counted(len(found), 'contract')}: {summary or 'no differences'}"]
    parts += [f"{breaking} breaking"] if breaking else []
    parts += [f"{short} with too small a version bump"] if short else []
    say("; ".join(parts))


def _has_news(one: ContractComparison, *, everything: bool) -> bool:
    if one.difference is None or one.has_moved or one.is_short or one.hints:
        return True
    return bool(one.difference.changes or (everything and one.difference.notes))


def _show_one(one: ContractComparison, *, everything: bool) -> None:
    say(_heading(one))
    if one.problem:
        say(f"  {styled('not compared', 'yellow')}: {one.problem}")
    if one.difference is None:
        return
    notes = one.difference.notes if everything else ()
    for change in (*one.difference.changes, *notes):
        word = styled(_WORDS[change.bump].ljust(7), _STYLES[change.bump])
        say(f"  {word} {_MARKS[change.what]} {change.path}{_values(change)}{_place(change)}")
        say(f"  {'':7}   {styled(change.reason, 'dim') if has_colours(sys.stdout) else change.reason}")
    for hint in one.hints:
        say(f"  payload classes were not compared: {hint}")
    hidden = len(one.difference.notes) - len(notes)
    if hidden:
        say(f"  {counted(hidden, 'change')} without effect; --all shows {'it' if hidden == 1 else 'them'}")
    say(f"  {_bump(one)}")


def _heading(one: ContractComparison) -> str:
    old, new = one.old, one.new
    there = new or old
    assert there is not None, "a contract is on one side at least"
    parts = [styled(one.name, "bold"), *([there.kind] if there.kind else [])]
    if old is not None and new is not None:
        if old.number or new.number:
            parts.append(new.number if old.number == new.number else f"{old.number or '-'} -> {new.number or '-'}")
        parts.append(f"{old.path} -> {new.path}" if one.has_moved else new.path)
    else:
        parts += [there.number, there.path]
        parts.insert(0, styled("new   ", "green") if old is None else styled("gone  ", "red"))
    return "  ".join(part for part in parts if part)


def _values(change: ContractChange) -> str:
    """``: 5 -> 6``, for values that fit on the line."""
    if change.what is not EnumChange.CHANGED or not (_is_short(change.old) and _is_short(change.new)):
        return ""
    return f": {_value(change.old)} -> {_value(change.new)}"


def _is_short(value: JsonValue) -> bool:
    return not isinstance(value, dict | list) and len(str(value)) <= VALUE_MAX


def _value(value: JsonValue) -> str:
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _place(change: ContractChange) -> str:
    if change.new_place.line and change.what is not EnumChange.REMOVED:
        return f" (line {change.new_place.line})"
    return f" (was line {change.old_place.line})" if change.old_place.line else ""


def _bump(one: ContractComparison) -> str:
    """``breaking, requires major (2.0.0), got minor``."""
    assert one.difference is not None, "called for compared contracts only"
    owed, made = one.difference.owed, one.difference.made
    contract = one.old.reading.contract if one.old and one.old.reading else None
    version = contract.contract_version if contract else None
    least = f" ({owed_version(version, owed)})" if version and owed.weight > 0 else ""
    text = f"{'breaking, ' if one.difference.breaking else ''}requires {owed}{least}"
    if made is None:
        return f"{text}; it had no version to raise"
    text += ", but it was lowered" if made is EnumBump.LOWERED else f", got {made}"
    return styled(f"{text}: raise contract_version", "red") if one.is_short else text
