"""``onex projection``: a table built from the log, where it stands and how far that is behind."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer

from ..engine.projections import WORKFLOW, Lag, lag_of
from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound
from ..ports import ProjectionRow
from ..settings import read_settings
from ..views.stored_rows import projection_json
from ..views.stored_value import position_text
from ..wiring import ReadableStore
from .console import counted, harmless, note, now_us, say, say_json, styled, table
from .store_options import ROWS_MAX, Json, Store, look, url_of


class ProjectionPage(NamedTuple):
    """One look. The rows are at the watermark or later: it was read first."""

    lag: Lag
    rows: list[ProjectionRow]


def projection(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which one.")] = WORKFLOW,
    tag: Annotated[str | None, typer.Option(metavar="STATUS", help="Only rows with this tag.")] = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Rows to show.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Only those behind this one.")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show a projection: its rows, its watermark, and how far it is behind.

    An engine keeps it: onex run APP --projection the built-in one, which holds the status of each instance as tag. One
    further behind than PROJECTION_LAG_THRESHOLD_MS is called late.

    \b
    Examples:
      onex projection
      onex projection --tag shipped
      onex projection workflow --json | jq .lag_ms
    """
    behind = None if after is None else WorkflowKey.parse(after)
    shown = look(store, lambda reader: _ask(reader, name, tag, behind, limit + 1))
    lag, more, rows = shown.lag, len(shown.rows) > limit, shown.rows[:limit]
    if not lag.watermark.n and lag.rows:
        raise NotFound(
            f"nobody has kept a projection {name!r} on {url_of(store)}; onex run APP --projection keeps {WORKFLOW!r}"
        )
    threshold_ms = read_settings().projection_lag_threshold_ms
    late = lag.lag_ms > threshold_ms
    if as_json:
        say_json(projection_json(name, lag, rows, late=late, more=more))
        return
    far = f"{counted(lag.rows, 'row')}, {lag.lag_ms:,.0f} ms behind" if lag.rows else "nothing behind"
    say(f"{styled(harmless(name), 'bold')}  watermark {position_text(lag.watermark)}  {far}")
    if rows:
        table(
            ["instance", "tag", "version", "last action", ""],
            [[str(row.key), row.tag, str(row.version), row.last_action, _fields(row)] for row in rows],
            right=(2,),
        )
    if more:
        note(f"and more; --after {rows[-1].key} goes on")
    if late:
        note(
            f"it is late: {lag.lag_ms:,.0f} ms are more than PROJECTION_LAG_THRESHOLD_MS={threshold_ms}; only an engine "
            "that keeps it brings it on"
        )


async def _ask(
    reader: ReadableStore, name: str, tag: str | None, after: WorkflowKey | None, limit: int
) -> ProjectionPage:
    lag = await lag_of(reader, reader, name, now_us())
    return ProjectionPage(lag, list(await reader.projected(name, tag, after, limit)))


def _fields(row: ProjectionRow) -> str:
    return "" if row.fields == b"{}" else row.fields.decode(errors="replace")
