"""``onex rejections``: refused actions and why they were refused."""

from __future__ import annotations

from typing import Annotated

import typer

from ..views.stored_rows import rejection_json
from .console import note, now_us, say_json, table, when
from .secret_marks import hidden_fields
from .show_history import trace_lines
from .store_options import ROWS_MAX, AppOption, Json, NoRedact, Store
from .store_reading import look


def rejections(
    key: Annotated[
        str | None,
        typer.Argument(
            metavar="KEY",
            help="Only of this instance; or of this source, where the key could not be read.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Rows to show.")] = 50,
    app: AppOption = None,
    no_redact: NoRedact = False,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show refused actions, the newest first.

    A refused action changed nothing. When it is sent again it is judged again, and its row counts how often.

    --json shows the first 4 KiB of what was sent, too. Values of secret fields are *** there: fields with a name like
    password, token or api_key, and with --app those that the app marks as Secret.

    \b
    Examples:
      onex rejections
      onex rejections orders:4711
      onex rejections --json | jq -r .code | sort | uniq -c
    """
    rows = look(store, lambda reader: reader.rejections(key, None, 0, limit + 1))
    more, rows = len(rows) > limit, rows[:limit]
    if as_json:
        hide = hidden_fields(app, no_redact=no_redact)
        for row in rows:
            say_json(rejection_json(row, hide))
        return
    if not rows:
        note("no actions were refused")
        return
    now = now_us()
    table(
        ["when", "instance", "times", "code", "why"],
        [[when(row.last_us, now), row.key, str(row.times), row.code, row.message] for row in rows],
        right=(2,),
        below=[trace_lines(row.trace, "  ") for row in rows],
    )
    if more:
        note(f"there are more; --limit {2 * limit} shows them")
