"""``onex schedules``: the schedules of a store, when each is due, and an operator's hand on one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer
from pydantic import JsonValue
from pydantic import ValidationError as PydanticError

from ..contracts.due_times import DueTime, due_after, fires_at, schedule_id, utc_text, zone_of
from ..contracts.model.schedule import SCHEDULE, ModelSchedule
from ..kernel.action import ModelAction
from ..kernel.errors import NotFound
from ..ports import Reader, Stored
from ..wiring import engine_runs, new_action_id
from ..workflows.schedule.payloads import Schedule
from .console import harmless, note, now_us, say, say_json, table
from .exit_codes import Misused
from .store_options import Json, Store, url_of
from .store_reading import look
from .submit import send_and_report

PAGE = 1000
TEN = 10


class EnumScheduleCommand(StrEnum):
    """What is done with a schedule."""

    LIST = "list"
    NEXT = "next"
    PAUSE = "pause"
    RESUME = "resume"
    TRIGGER = "trigger"


SENT = {
    EnumScheduleCommand.PAUSE: "pause",
    EnumScheduleCommand.RESUME: "resume",
    EnumScheduleCommand.TRIGGER: "fire_now",
}
CHANGES = {"gap": "clocks skip {0}: at the first moment after", "twice": "clocks show {0} twice: at the first"}


def schedules(
    command: Annotated[
        EnumScheduleCommand, typer.Argument(help="What to do.", show_default=False)
    ] = EnumScheduleCommand.LIST,
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The schedule: NAME or WORKFLOW/NAME.", show_default=False)
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.0, metavar="SECONDS", help="How long to wait for the answer.")] = 10.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """List schedules: next due, last firing; or pause, resume, trigger one, show its next ten.

    Schedules stand in a contract under schedules:, and an engine that starts declares them. pause lets due times pass without a
    firing. trigger fires now, besides the due times; the overlap policy holds for it, too. All three go through the inbox of the
    store: where no engine runs, the next one carries them out. next computes due times and reads no clock but this machine's.

    \b
    Examples:
      onex schedules
      onex schedules next nightly
      onex schedules pause report/nightly
      onex schedules trigger nightly
    """
    found = look(store, _all)
    if command is EnumScheduleCommand.LIST:
        if name is not None:
            raise Misused(f"onex schedules list takes no name; onex schedules next {harmless(name)} shows one")
        _list(found, as_json=as_json)
        return
    if name is None:
        raise Misused(f"onex schedules {command.value} NAME: the name is missing; onex schedules lists them")
    one, state = _named(found, name)
    if command is EnumScheduleCommand.NEXT:
        _next(one, state, as_json=as_json)
        return
    url = url_of(store)
    action = ModelAction(
        workflow_key=one.key, kind=SENT[command], command_payload={}, action_id=new_action_id(), issuer="cli"
    )
    runs = asyncio.run(engine_runs(url))
    if not runs:
        note("no engine runs: the next one carries it out")
    code = send_and_report(action, SENT[command], url, timeout if runs else 0.0, as_json=as_json)
    if code:
        raise typer.Exit(code)


async def _all(reader: Reader) -> list[tuple[Stored, Schedule]]:
    found: list[tuple[Stored, Schedule]] = []
    after = None
    while rows := await reader.instances(SCHEDULE, None, after, PAGE):
        found += [(row, _state(row)) for row in rows]
        after = rows[-1].key
    return found


def _state(row: Stored) -> Schedule:
    """Of a row that cannot be read here, the status alone."""
    try:
        return Schedule.model_validate_json(row.state)
    except PydanticError:
        note(f"the state of {row.key} cannot be read here; is it encrypted? ONEX_CODEC_KEYS names the keys")
        return Schedule(status=row.status)


def _named(found: Sequence[tuple[Stored, Schedule]], name: str) -> tuple[Stored, Schedule]:
    """Raises NotFound, and Misused for a name that several workflows have."""
    fits = [one for one in found if name in (one[0].key.instance_id, one[0].key.instance_id.partition("/")[2])]
    names = [one.key.instance_id for one, _ in found]
    if not fits:
        near = get_close_matches(name, [*names, *(full.partition("/")[2] for full in names)], 1)
        hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(names)}" if names else "it has none"
        raise NotFound(f"this store has no schedule {name!r}; {hint}")
    if len(fits) > 1:
        raise Misused(
            f"{name} is a schedule of several workflows: {', '.join(str(one[0].key.instance_id) for one in fits)}"
        )
    return fits[0]


def _list(found: Sequence[tuple[Stored, Schedule]], *, as_json: bool) -> None:
    if as_json:
        for row, state in found:
            told: dict[str, JsonValue] = state.model_dump(mode="json", exclude={"definition": {"payload"}})
            say_json({"schedule": row.key.instance_id, "held": row.held or None, **told})
        return
    if not found:
        note("this store has no schedules; onex run declares those of its app")
        return
    table(
        ["schedule", "status", "next due", "last", "came to", "fired", "missed", "skipped", "refused"],
        [
            [
                row.key.instance_id,
                "held" if row.held else row.status,
                "" if state.next_due is None else _local(state.definition, state.next_due),
                "" if state.last is None else _local(state.definition, state.last.due),
                "" if state.last is None else state.last.outcome,
                *(str(n) for n in (state.fired, state.missed, state.skipped, state.refused)),
            ]
            for row, state in found
        ],
        right=(5, 6, 7, 8),
    )
    for row, state in found:
        if state.last is not None and state.last.outcome in ("refused", "failed"):
            note(f"{row.key.instance_id}: {harmless(state.last.reason)}")


def _local(definition: ModelSchedule | None, at: datetime) -> str:
    zone = UTC if definition is None else zone_of(definition.zone)
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def _next(row: Stored, state: Schedule, *, as_json: bool) -> None:
    definition = state.definition
    if definition is None:
        raise NotFound(f"{row.key} has no definition yet")
    now = datetime.fromtimestamp(now_us() / 1_000_000, UTC)
    coming = list(islice(due_after(definition, now), TEN))
    of = schedule_id(state.workflow, definition.name)
    if as_json:
        for one in coming:
            say_json(
                {
                    "due": utc_text(one.at),
                    "local": one.at.astimezone(zone_of(definition.zone)).isoformat(),
                    "zone": definition.zone,
                    "fires_at": utc_text(fires_at(definition, of, one.at)),
                    "clock_change": one.change or None,
                    "wanted": one.wanted.isoformat(),
                }
            )
        return
    if state.status != "active":
        note(f"{row.key.instance_id} is {state.status}: none of these is fired until it is active again")
    if not coming:
        say("no due time comes any more")
        return
    jitter = [f"{fires_at(definition, of, one.at):%H:%M:%S}" if definition.jitter_ms else "" for one in coming]
    table(
        [definition.zone, "UTC", *(["with jitter"] if definition.jitter_ms else []), ""],
        [
            [_local(definition, one.at), utc_text(one.at), *([late] if definition.jitter_ms else []), _remark(one)]
            for one, late in zip(coming, jitter, strict=True)
        ],
    )


def _remark(one: DueTime) -> str:
    return CHANGES[one.change].format(f"{one.wanted:%H:%M}") if one.change else ""
