"""Checks of ``schedules:``: each one fires at some time, at a trigger that is there, and its policies mean something.

They read the typed contract. Whether a payload fits the class of its trigger is checked when the app loads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from pydantic import JsonValue

from ...kernel.finding import EnumSeverity, Finding
from ..due_times import ScheduleProblem, first_due
from ..guard.problem import suggest
from ..model.contract import ModelContractWorkflow
from ..model.schedule import FIELDS, SCHEDULE, TARGET, EnumOverlap, ModelSchedule
from ..model.template import TemplateProblem, fields_named
from ..text.yaml_tree import Loc, YamlMap, place_of

SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""From when on a schedule is asked whether it fires at all: any moment will do."""


def check_schedules(contract: ModelContractWorkflow, tree: YamlMap, path: str) -> Iterator[Finding]:
    """In no particular order."""

    def finding(code: str, loc: Loc, message: str, fix: str) -> Finding:
        return Finding(code, EnumSeverity.ERROR, *place_of(tree, loc).spot(path), message, fix)

    if contract.name == SCHEDULE and not any(one.target == TARGET for one in contract.intents):
        message = f"the engine keeps schedules under the name {SCHEDULE!r}"
        yield finding("reserved_name", ("name",), message, "give the workflow another name")
    seen: dict[str, int] = {}
    for n, one in enumerate(contract.schedules):
        at: Loc = ("schedules", n)
        first = seen.setdefault(one.name, n)
        if first != n:
            line = place_of(tree, ("schedules", first)).line
            message = f"schedule {one.name!r} stands here and on line {line}"
            yield finding("duplicate", (*at, "name"), message, "give one of them another name")
        for key, trigger in (("trigger", one.trigger), ("cancel", one.cancel)):
            if trigger is not None and trigger not in contract.payloads:
                known = list(contract.payloads)
                fix = suggest(trigger, known) or f"use one of {', '.join(known)}, or add a transition"
                yield finding("unknown_trigger", (*at, key), f"no transition has the trigger {trigger!r}", fix)
        for field, code, message, fix in _wrong(one):
            yield finding(code, (*at, *([field] if field else [])), message, fix)


def _wrong(one: ModelSchedule) -> Iterator[tuple[str, str, str, str]]:
    """``(key, code, message, fix)``."""
    if (one.cron is None) == (one.every_ms is None):
        said = "both cron and every_ms" if one.cron is not None else "neither cron nor every_ms"
        yield "", "no_due_time", f"schedule {one.name!r} has {said}", "write one of them"
    else:
        try:
            if first_due(one, SOME_TIME) is None:
                key = "cron" if one.cron is not None else "every_ms"
                but = ", but for what not_on excepts" if one.not_on else ""
                message = f"schedule {one.name!r} never fires: no date of the next fifty years fits{but}"
                yield key, "never_fires", message, "correct the day, the month or not_on"
        except ScheduleProblem as problem:
            code = {"zone": "unknown_zone", "cron": "cron", "not_on": "not_a_date"}[problem.field]
            yield problem.field, code, problem.message, problem.fix
    for key, text in (("instance", one.instance), *_texts("payload", one.payload)):
        try:
            unknown = [name for name in fields_named(text) if name not in FIELDS]
        except TemplateProblem as problem:
            yield key, "template", f"{key} of schedule {one.name!r}: {problem}", "write {{ or }} for a brace"
            return
        for name in unknown:
            fix = suggest(name, list(FIELDS)) or f"use one of {', '.join(FIELDS)}, or write {{{{ for a brace"
            yield key, "unknown_field", f"{key} of schedule {one.name!r} names {{{name}}}", fix
    if one.is_one_instance and one.policy is not EnumOverlap.ALLOW:
        message = f"every firing of {one.name!r} goes to the instance {one.instance!r}, so no run of it is another one"
        yield "overlap", "overlap", message, "remove overlap, or name {due} or {date} in instance"
    if (one.policy is EnumOverlap.CANCEL_OTHER) != (one.cancel is not None):
        message = "cancel_other needs the trigger that cancels a run" if one.cancel is None else "nothing sends it"
        fix = "add cancel: TRIGGER" if one.cancel is None else "remove it, or write overlap: cancel_other"
        yield "overlap" if one.cancel is None else "cancel", "overlap", f"schedule {one.name!r}: {message}", fix


def _texts(key: str, value: JsonValue) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(key, part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(key, part)
