"""``onex top``: the figures of a store, again and again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from ..monitoring.store_summary import StoreSummary, SummaryReader
from ..wiring import open_reader, shown_url
from .console import GAP, harmless, say, say_json, styled
from .own_output import own_stdout
from .store_options import Json, Store, url_of

LINES = 20
EVERY_S = 1.0
HOME = "\x1b[H\x1b[J"


def top(
    once: Annotated[bool, typer.Option("--once", help="Show the figures one time, and end.")] = False,
    every: Annotated[
        float | None,
        typer.Option(min=0.2, max=3600, metavar="SECONDS", help="How often. [default: 1]", show_default=False),
    ] = None,
    engine: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where its engine answers probes: onex run --listen.")
    ] = "",
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Show the figures of a store as they change: rate, what is in flight, what waits for a person.

    They are those of the first screen of onex serve. p99 and lag are known to the engine alone: --engine says where it answers.
    On a terminal the table is drawn again and again until Ctrl-C; elsewhere once, unless --every is given. --json prints a
    line each time.

    \b
    Examples:
      onex top
      onex top --once --json
      onex top --engine 127.0.0.1:8080
    """
    again = not once and (every is not None or as_json or own_stdout().isatty())
    asyncio.run(_show(url_of(store), engine, (every or EVERY_S) if again else None, as_json=as_json))


async def _show(url: str, engine: str, every_s: float | None, *, as_json: bool) -> None:
    reader = await open_reader(url)
    figures = SummaryReader(reader, url, engine)
    try:
        while True:
            told = await figures.summary()
            if as_json:
                rows = [{"type": name, "status": at, "instances": n} for (name, at), n in told.by_status.items()]
                say_json({**told._asdict(), "by_status": rows})
            else:
                clear = HOME if every_s is not None and own_stdout().isatty() else ""
                _draw(shown_url(url), told, clear)
            if every_s is None:
                return
            await asyncio.sleep(every_s)
    finally:
        await figures.close()
        await reader.close()


def _draw(url: str, told: StoreSummary, clear: str) -> None:
    if clear:
        own_stdout().write(clear)
    say(styled(f"{url}  {'an engine runs' if told.engine_runs else 'no engine runs'}", "bold"))
    known = "" if told.stuck_is_exact else " of the first"
    figures: Sequence[tuple[str, str]] = [
        ("actions/s", f"{told.actions_per_s:,.1f}"),
        ("actions", f"{told.actions:,}"),
        ("p99", "?" if told.p99_ms is None else f"{told.p99_ms:.1f} ms"),
        ("lag", "?" if told.lag_ms is None else f"{told.lag_ms:.0f} ms"),
        ("in flight", f"{told.in_flight:,}"),
        ("stuck", f"{told.stuck:,}{known}"),
        ("held", f"{told.held:,}"),
        ("dead", f"{told.dead:,}"),
        ("refused", f"{told.rejections:,}"),
        ("instances", f"{told.instances:,}"),
    ]
    say(GAP.join(f"{name} {value}" for name, value in figures[:5]))
    say(GAP.join(f"{name} {value}" for name, value in figures[5:]))
    ranked = sorted(told.by_status.items(), key=lambda one: (-one[1], one[0]))
    widths = [max((len(pair[n]) for pair, _ in ranked[:LINES]), default=0) for n in (0, 1)]
    for (name, at), count in ranked[:LINES]:
        say(harmless(f"  {name.ljust(widths[0])}{GAP}{at.ljust(widths[1])}{GAP}{count:>10,}"))
    if len(ranked) > LINES:
        say(f"  and {len(ranked) - LINES} more; onex ls --count lists all")
    own_stdout().flush()
