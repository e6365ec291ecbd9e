"""What a workflow in one file says of its schedules, and of when its runs begin.

    reports.schedule("nightly", "write", cron="30 2 * * *", zone="Europe/Berlin", payload={"day": "{date}"})
    reports.starts("write", concurrency=2, rate={"most": 10, "per_ms": 60_000})

The words are those of ``schedules`` and ``start`` in a contract, and so are its checks: a mistake is found at the line of the call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from pydantic import BaseModel, JsonValue
from pydantic_core import from_json, to_json

from ..contracts.text.yaml_tree import YamlList, YamlNode
from .declared_problems import DeclaredProblems
from .intents import SourcePlace, Trigger, milliseconds
from .located_nodes import LocatedNodes


class DeclaredSchedules(DeclaredProblems):
    """Collects schedules, and the policies of starting."""

    def __init__(self) -> None:
        super().__init__()
        self.start: tuple[dict[str, JsonValue], SourcePlace] | None = None
        self.schedules: list[tuple[dict[str, JsonValue], SourcePlace]] = []

    def schedule(
        self,
        name: str,
        trigger: Trigger[BaseModel] | str,
        *,
        cron: str | None = None,
        every: timedelta | None = None,
        zone: str | None = None,
        not_on: Sequence[str] = (),
        jitter: timedelta | None = None,
        payload: Mapping[str, JsonValue] | BaseModel | None = None,
        instance: str | None = None,
        catch_up: str | None = None,
        overlap: str | None = None,
        cancel: Trigger[BaseModel] | str | None = None,
    ) -> None:
        """``trigger`` is sent at the times of ``cron`` in ``zone``, or in the interval ``every``. Keys are those of a contract."""
        place = SourcePlace.of_caller(1)
        for span in (every, jitter):
            self._check_span(span, place)
        said = {
            "name": name,
            "cron": cron,
            "every_ms": milliseconds(every) if isinstance(every, timedelta) else None,
            "zone": zone,
            "not_on": [*not_on] or None,
            "jitter_ms": milliseconds(jitter) if isinstance(jitter, timedelta) else None,
            "trigger": _name_of(trigger),
            "payload": payload,
            "instance": instance,
            "catch_up": catch_up,
            "overlap": overlap,
            "cancel": None if cancel is None else _name_of(cancel),
        }
        try:
            made = from_json(to_json({key: value for key, value in said.items() if value is not None}))
        except ValueError as error:
            self._problem("not_json", place, f"schedule {name!r} cannot be read: {error}", "give plain values")
            return
        self.schedules.append((made, place))

    def starts(self, trigger: Trigger[BaseModel] | str, /, **policies: JsonValue) -> None:
        """Runs begin by ``ask`` to the queue ``NAME_start``, as the policies let them. Keys are those of a contract."""
        place = SourcePlace.of_caller(1)
        if self.start is not None:
            message = f"how runs begin is said on line {self.start[1].line} too"
            self._problem("duplicate", place, message, "keep one of them")
        self.start = {"trigger": _name_of(trigger), **policies}, place

    def start_node(self, nodes: LocatedNodes, top: SourcePlace) -> YamlNode:
        """``start`` of the contract, at the call that says it; an empty one where there is none."""
        said, place = self.start or ({}, top)
        return nodes.of({**said}, place)

    def schedule_nodes(self, nodes: LocatedNodes, top: SourcePlace) -> YamlList:
        """``schedules`` of the contract, each at the call that says it."""
        return nodes.listing([nodes.of({**said}, place) for said, place in self.schedules], top)


def _name_of(trigger: Trigger[BaseModel] | str) -> str:
    return trigger.name if isinstance(trigger, Trigger) else trigger
