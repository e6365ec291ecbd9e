"""``onex projection``: the rows of a projection, and how far it is behind the log."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import typer

from ..engine.projections import WORKFLOW, Lag
from ..engine.shard_projections import lag_over_shards
from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound
from ..ports import ProjectionRow
from ..settings import read_settings
from ..views.projection import projection_json
from ..views.stored_value import position_text
from ..wiring import ReadableStore
from .console import counted, harmless, note, now_us, say, say_json, styled, table
from .store_options import ROWS_MAX, Json, Store, url_of
from .store_reading import look


class ProjectionPage(NamedTuple):
    """What was read. The rows are at the watermark or later, since the watermark was read first."""

    kept: bool
    lag: Lag
    rows: list[ProjectionRow]


def projection(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the projection.")] = WORKFLOW,
    tag: Annotated[str | None, typer.Option(metavar="STATUS", help="Only rows with this tag.")] = None,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Rows to show.")] = 50,
    after: Annotated[str | None, typer.Option(metavar="KEY", help="Only rows after this one.")] = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show a projection: its rows, its watermark, and how far it is behind.

    An engine maintains it. onex run APP --projection maintains the built-in one, whose tag is the status of each instance.
    A projection further behind than PROJECTION_LAG_THRESHOLD_MS is called late.

    \b
    Examples:
      onex projection
      onex projection --tag shipped
      onex projection workflow --json | jq .lag_ms
    """
    behind = None if after is None else WorkflowKey.parse(after)
    shown = look(store, lambda reader: _ask(reader, name, tag, behind, limit + 1))
    lag, more, rows = shown.lag, len(shown.rows) > limit, shown.rows[:limit]
    if not shown.kept and lag.rows:
        raise NotFound(
            f"there is no projection {name!r} on {url_of(store)}; onex run APP --projection maintains {WORKFLOW!r}"
        )
    threshold_ms = read_settings().projection_lag_threshold_ms
    late = lag.lag_ms > threshold_ms
    if as_json:
        say_json(projection_json(name, lag, rows, late=late, more=more))
        return
    far = f"{counted(lag.rows, 'row')}, {lag.lag_ms:,.0f} ms behind" if lag.rows else "up to date"
    say(f"{styled(harmless(name), 'bold')}  watermark {position_text(lag.watermark)}  {far}")
    if rows:
        table(
            ["instance", "tag", "version", "last action", ""],
            [[str(row.key), row.tag, str(row.version), row.last_action, _fields(row)] for row in rows],
            right=(2,),
        )
    if more:
        note(f"there are more; --after {rows[-1].key} continues")
    if late:
        note(
            f"late: {lag.lag_ms:,.0f} ms is more than PROJECTION_LAG_THRESHOLD_MS={threshold_ms}; it advances only "
            "while an engine maintains it"
        )


async def _ask(
    reader: ReadableStore, name: str, tag: str | None, after: WorkflowKey | None, limit: int
) -> ProjectionPage:
    kept = False
    for shard in range(reader.shards):
        kept = kept or await reader.watermark(name, shard) > 0
    lag = await lag_over_shards(reader, reader, name, now_us())
    return ProjectionPage(kept, lag, list(await reader.projected(name, tag, after, limit)))


def _fields(row: ProjectionRow) -> str:
    return "" if row.fields == b"{}" else row.fields.decode(errors="replace")
