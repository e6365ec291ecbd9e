"""``onex alerts`` and ``onex sla``: how each rule stands, to take an alert up or silence it, and whether objectives are met."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from pydantic import JsonValue

from ..contracts.alerts.alerts_file import default_alerts
from ..contracts.alerts.alerts_model import ModelAlerts
from ..contracts.alerts.prometheus_rules import prometheus_rules
from ..kernel.action import WorkflowKey
from ..kernel.errors import NotFound
from ..monitoring.alerts.compliance import MINUTE_US, OBJECTIVES_KEY, Compliance, report
from ..monitoring.alerts.watch import ALERT
from ..ports import Reader, Stored
from ..views.alert_rows import OK, AlertRow, alert_rows
from ..wiring.client import connect
from ..workflows.alerts.onex_objectives.payloads import Objectives
from .alerts_option import read_alerts
from .console import note, now_us, say, say_json, say_lines, styled, table, when
from .exit_codes import FOUND, Misused
from .store_options import Json, Store, url_of
from .store_reading import look
from .user_name import user_name

PAGE = 500
COLOURS = {"firing": "red", "pending": "yellow", "settling": "yellow", OK: "green"}


class AlertRequest(StrEnum):
    LIST = "list"
    ACK = "ack"
    SILENCE = "silence"


AlertsFile = Annotated[
    Path | None,
    typer.Option("--alerts", metavar="FILE", help="The file of alerts. [default: the default rules and objectives]"),
]


def alerts(
    what: Annotated[
        AlertRequest, typer.Argument(metavar="[list|ack|silence]", help="What to do.", show_default=False)
    ] = AlertRequest.LIST,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The rule, for ack and silence.", show_default=False)
    ] = None,
    file: AlertsFile = None,
    prometheus: Annotated[
        bool, typer.Option("--prometheus", help="Print the same rules for Prometheus, and look at no store.")
    ] = False,
    seconds: Annotated[
        int,
        typer.Option(
            "--for", metavar="SECONDS", min=0, max=31 * 24 * 3600, help="How long a silence lasts; 0 ends it."
        ),
    ] = 3600,
    by: Annotated[str, typer.Option(metavar="NAME", help="Who does it. [default: the system's user]")] = "",
    remark: Annotated[str, typer.Option("--note", metavar="TEXT", help="Why; it is kept with the alert.")] = "",
    timeout: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for the engine.")] = 10.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List alerts: which rules are breached, since when, and who was told; take one up, or silence it.

    ack says that a person has it: nobody new is told until it is over. silence tells nobody of the rule for a time; who was told
    that it fires is still told that it is over. Both are stored, and wait where no engine runs. --prometheus writes the rules as
    alerting rules. Exit code 1: an alert fires and nobody has taken it up.

    \b
    Examples:
      onex alerts
      onex alerts --alerts alerts.yaml --json
      onex alerts ack error_rate --note "the disk is full, I am on it"
      onex alerts silence routing_latency --for 7200
      onex alerts --prometheus > rules.yml
    """
    if (name is None) != (what is AlertRequest.LIST):
        raise Misused(
            f"onex alerts {what.value} takes {'no name' if name else 'the name of a rule: onex alerts lists them'}"
        )
    if prometheus and what is not AlertRequest.LIST:
        raise Misused("--prometheus only prints rules; leave out ack and silence")
    said = default_alerts() if file is None else read_alerts(file)
    if prometheus:
        say_lines(prometheus_rules(said).rstrip("\n"))
        return
    if name is not None:
        payload: dict[str, JsonValue] = {"by": by or user_name(), "note": remark}
        if what is AlertRequest.SILENCE:
            payload["for_s"] = seconds
        trigger = "acknowledge" if what is AlertRequest.ACK else "silence"
        status = asyncio.run(_sent(url_of(store), name, trigger, payload, timeout, set(said.rules)))
        if as_json:
            say_json({"alert": name, "status": status})
        else:
            say(f"{name}: {'taken up' if what is AlertRequest.ACK else 'silent' if seconds else 'no longer silent'}")
        return
    rows = look(store, lambda reader: _rows(said, reader))
    _show(rows, as_json=as_json)
    if any(row.standing == "firing" and row.alert is not None and row.alert.acknowledged_at is None for row in rows):
        raise typer.Exit(FOUND)


def sla(
    file: AlertsFile = None,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Report whether each objective is met over its window: target, measured, and what is left of its error budget.

    The minutes are recorded while onex run --alerts FILE runs. For availability the minutes count as bad in which no engine ran,
    or its store did not answer. observed says how much of the window was recorded. Exit code 1: an objective is not met.

    \b
    Examples:
      onex sla
      onex sla --alerts alerts.yaml --json
    """
    said = default_alerts() if file is None else read_alerts(file)

    recorded = look(store, _objectives)
    results = report(said.objectives, recorded, now_us() // MINUTE_US)
    if as_json:
        for one in results:
            say_json(one._asdict())
    else:
        if recorded is None:
            note("nothing is recorded yet: onex run APP --alerts FILE records a minute at a time")
        table(
            ["objective", "is to be", "in", "of the last", "measured", "", "bad", "budget left", "observed"],
            [_line(one) for one in results],
            right=(2, 4, 6, 7, 8),
        )
    if recorded is not None and not all(one.met for one in results):
        raise typer.Exit(FOUND)


def _line(one: Compliance) -> list[str]:
    return [
        one.name,
        f"{one.metric} {one.bound}",
        f"{one.target:.6g}",
        _span(one.window_s),
        f"{one.measured:.5f}",
        "met" if one.met else "NOT MET",
        f"{one.bad + one.absent} of {one.budget_minutes:.6g} min",
        f"{100 * one.budget_left:.0f} %",
        f"{one.observed} min",
    ]


def _span(seconds: int) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds % size == 0 and seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


async def _objectives(reader: Reader) -> Objectives | None:
    key = WorkflowKey.parse(OBJECTIVES_KEY)
    stored = (await reader.load([key])).get(key)
    return None if stored is None or not stored.version else Objectives.model_validate_json(stored.state)


async def _rows(said: ModelAlerts, reader: Reader) -> list[AlertRow]:
    found: list[Stored] = []
    after: WorkflowKey | None = None
    while rows := await reader.instances(ALERT, None, after, PAGE):
        found.extend(rows)
        after = rows[-1].key
    minutes = await _objectives(reader)
    return alert_rows(said, found, {} if minutes is None else minutes.values)


async def _sent(
    url: str, name: str, trigger: str, payload: Mapping[str, JsonValue], timeout_s: float, rules: set[str]
) -> str:
    """The status of the alert. Raises NotFound for a name that is neither a rule nor recorded."""
    async with await connect(url, create=False) as client:
        stored = await client.stored(f"{ALERT}:{name}")
        if stored is None and (trigger == "acknowledge" or name not in rules):
            raise NotFound(
                f"there is no alert {name!r}; onex alerts lists them, and those that never fired are not taken up"
            )
        done = await client.submit(f"{ALERT}:{name}", trigger, payload, issuer="cli", timeout_s=timeout_s)
        return done.status


def _show(rows: list[AlertRow], *, as_json: bool) -> None:
    if as_json:
        for row in rows:
            say_json(row.as_json())
        return
    now = now_us()
    table(
        ["alert", "standing", "since", "severity", "last value", "alert for", ""],
        [
            [
                row.name,
                row.standing,
                "" if row.since is None else when(_micros(row.since), now),
                row.severity,
                "" if row.value is None else f"{row.value:.6g}",
                f"{row.metric} {row.bound}",
                row.remark,
            ]
            for row in rows
        ],
        right=(4,),
    )
    firing = sum(row.standing == "firing" for row in rows)
    say(styled(f"{firing} firing", COLOURS["firing" if firing else OK]))


def _micros(at: datetime) -> int:
    return int(at.astimezone(UTC).timestamp() * 1e6)
