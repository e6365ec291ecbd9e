"""Checks of ``schedules:`` that need the classes of the app: what a firing carries is read as the payload of its trigger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import ValidationError as PydanticError
from pydantic_core import to_json

from ..contracts.check.schedule_checks import SOME_TIME
from ..contracts.compile import CompiledReducer, LocatedContract
from ..contracts.due_times import fields_of
from ..contracts.model.schedule import ModelSchedule
from ..contracts.text.yaml_tree import place_of
from ..kernel.canonical import problems
from ..kernel.finding import EnumSeverity, Finding


def schedule_findings(
    contracts: Iterable[LocatedContract], compiled: Mapping[str, CompiledReducer]
) -> Iterable[Finding]:
    for located in contracts:
        payloads = compiled[located.contract.name].payloads
        for n, one in enumerate(located.contract.schedules):
            model = payloads.get(one.trigger)
            if model is None:
                continue
            try:
                model.model_validate_json(to_json(_sample(one)))
            except PydanticError as error:
                message = f"schedule {one.name!r} carries no {model.__name__}: {problems(error)}"
                fix = f"write the fields of {model.__name__} under payload"
                spot = place_of(located.tree, ("schedules", n, "payload")).spot(located.path)
                yield Finding("schedule_payload", EnumSeverity.ERROR, *spot, message, fix)


def _sample(one: ModelSchedule) -> object:
    return one.filled_payload(fields_of(one, SOME_TIME))
