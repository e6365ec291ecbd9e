"""``onex versions``: which codes the instances of a store stand on, and what still holds an old one."""

from __future__ import annotations

from typing import Annotated

import typer

from ..replay.code_standing import CodeStanding, Holding, code_standing
from ..views.code_standing import code_standing_json
from .console import counted, harmless, note, now_us, say, say_json, table, when
from .store_options import Json, Store
from .store_reading import look

DIGITS = 10
REVISION_DIGITS = 12


def versions(
    of_type: Annotated[str | None, typer.Option("--type", metavar="TYPE", help="Only this workflow.")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show which code instances stand on, and what holds an old one.

    An instance stands on the code that made its last action. For each code: how many have not ended, how many of them are
    held, how many have ended, when it was last used, and the git revision where it is known. For each code but the newest it
    lists what still stands on it: by status, the instance that waits longest, and what it waits for.

    \b
    Examples:
      onex versions
      onex versions --type orders
      onex versions --json | jq 'select(.current | not)'
    """
    found = look(store, lambda reader: code_standing(reader, of_type))
    if as_json:
        for one in found:
            say_json(code_standing_json(one))
        return
    if not found:
        note("there is no code of such a workflow" if of_type else "no code has written here; onex run APP does")
        return
    now = now_us()
    table(
        ["workflow", "code", "contract", "schema", "in flight", "held", "ended", "last used", "revision"],
        [_cells(one, now) for one in found],
        right=(3, 4, 5, 6),
    )
    old = [one for one in found if one.holds and not one.current]
    for one in old:
        say()
        say(f"{one.code.workflow_type} {_code(one)} is held by {counted(one.in_flight, 'instance')}:")
        table(
            ["instances", "status", "longest", "since", "waits for"],
            [_holding(each, now) for each in one.holds],
            right=(0,),
        )


def _cells(one: CodeStanding, now: int) -> list[str]:
    last = when(one.last_us, now) if one.last_us else "no instance"
    counts = [f"{count:,}" for count in (one.in_flight, one.held, one.ended)]
    revisions = ", ".join(each[:REVISION_DIGITS] for each in one.revisions)
    begins = [one.code.workflow_type, _code(one), one.code.contract_version, str(one.code.state_schema)]
    return [*begins, *counts, last, revisions or "not known"]


def _code(one: CodeStanding) -> str:
    return one.code.digest.hex()[:DIGITS]


def _holding(one: Holding, now: int) -> list[str]:
    status = f"{one.status} (held)" if one.held else one.status
    return [f"{one.instances:,}", status, harmless(str(one.oldest)), when(one.since_us, now), ", ".join(one.waits_for)]
