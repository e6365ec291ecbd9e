"""Checks of built-in effects against the app's own classes, and against this machine: a payload and an answer that do not fit a
call, a function beside a block, a setting that is not there.

What the contract alone can tell is in ``contracts.check.target_checks``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from ..contracts.compile import LocatedContract, PythonPlace
from ..contracts.guard.problem import suggest
from ..contracts.model.payload_fields import unwrap
from ..contracts.model.setting import ModelSetting
from ..contracts.model.target import ModelIntentCall
from ..contracts.model.target_http import ModelHttpCall
from ..contracts.model.template import TemplateProblem
from ..contracts.text.yaml_tree import Loc, place_of
from ..kernel.action import Blob, Nothing
from ..kernel.intent import IntentSpec
from ..nodes.io import Function
from .load_report import LoadReport

SETTING_NOT_SET: Final = "setting_not_set"


class TargetChecks:
    """Of one workflow."""

    def __init__(self, report: LoadReport, located: LocatedContract) -> None:
        self.report, self.located = report, located

    def serves(self, target: str) -> bool:
        """Whether a block of the contract serves this target."""
        declared = self.located.contract.targets.get(target)
        return declared is not None and bool(declared.blocks)

    def call(self, n: int, spec: IntentSpec, function: Function | None, answer: type[BaseModel] | None) -> None:
        """Checks the n-th intent, whose target has a block. ``answer`` is what its success carries; None: nobody waits."""
        if function is not None:
            spot = self.report.of(function)
            message = f"{function.__name__} serves {spec.target!r}, and so does its block in the contract"
            self.report.error("served_twice", spot, message, "remove the function, or the block under targets")
        intent = self.located.contract.intents[n]
        payload = spec.payload or Nothing
        for key, call in intent.calls.items():
            try:
                named = list(call.payload_fields())
            except TemplateProblem:
                continue  # a finding of the contract's own checks
            for where, field in named:
                self._field(("intents", n, key, where), field, payload)
            if isinstance(call, ModelHttpCall) and call.sends == "none" and call.body is None:
                used = {field.partition(".")[0] for _, field in named}
                if left := [name for name in payload.model_fields if name not in used]:
                    message = (
                        f"a {call.method} has no body, so it sends nothing of {payload.__name__}: {', '.join(left)}"
                    )
                    fix = f"write query: [{', '.join(left)}], or body: none, if they are not meant to be sent"
                    self._warning(("intents", n, key), "field_not_sent", message, fix)
            block = self.located.contract.targets[spec.target].blocks.get(key)
            wanted = None if answer is Nothing else answer
            for where, message, fix in () if block is None else call.class_misfits(block, payload, wanted):
                self._error(("intents", n, key, where), "call_misfit", message, fix)
        self._answer(n, intent, answer)

    def settings(self) -> None:
        """Warns of settings whose value is not there now; the call that needs it would fail."""
        for name, target in self.located.contract.targets.items():
            for key, block in target.blocks.items():
                for loc, setting in _settings_in(block, ("targets", name, key)):
                    if setting.env is not None and not os.environ.get(setting.env):
                        message = f"the environment variable {setting.env} is not set here"
                        self._warning(loc, SETTING_NOT_SET, message, f"set {setting.env} where the engine runs")
                    if setting.file is not None and not Path(setting.file).is_file():
                        message = f"there is no file {setting.file} here"
                        self._warning(loc, SETTING_NOT_SET, message, "put it where the engine runs")

    def _field(self, loc: Loc, field: str, payload: type[BaseModel]) -> None:
        """The payload has a field of this dotted path."""
        model: type[BaseModel] | None = payload
        for part in field.split("."):
            if model is None:
                return  # a dict, whose keys are not known
            info = model.model_fields.get(part)
            if info is None:
                known = list(model.model_fields)
                fix = suggest(part, known) or (f"it has {', '.join(known)}" if known else "name a payload: CLASS")
                self._error(loc, "call_field", f"{model.__name__} has no field {part!r}", fix)
                return
            inner = [one for one in unwrap(info.annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
            model = inner[0] if inner else None

    def _answer(self, n: int, intent: ModelIntentCall, answer: type[BaseModel] | None) -> None:
        """What the call brings fits what the success carries."""
        if answer is None or answer is Nothing:
            return
        loc: Loc = ("intents", n, "outcomes", "succeeded")
        call = intent.http
        if call is None:
            if intent.calls.keys() & {"webhook", "chat", "pagerduty", "mail"} or intent.type == "notification":
                message = f"a notification brings nothing back, and its success carries {answer.__name__}"
                self._error(loc, "call_answer", message, "remove payload: at the transitions of its success")
            return
        wrong = _misfit(call, answer)
        if wrong:
            self._error(loc, "call_answer", *wrong)

    def _error(self, loc: Loc, code: str, message: str, fix: str) -> None:
        self.report.error(code, self._spot(loc), message, fix)

    def _warning(self, loc: Loc, code: str, message: str, fix: str) -> None:
        self.report.warning(code, self._spot(loc), message, fix)

    def _spot(self, loc: Loc) -> PythonPlace:
        return PythonPlace(*place_of(self.located.tree, loc).spot(self.located.path))


def _misfit(call: ModelHttpCall, answer: type[BaseModel]) -> tuple[str, str] | None:
    """Message and fix where an answer of this form can never become ``answer``."""
    form = call.answer or "json"
    needed = {name for name, info in answer.model_fields.items() if info.is_required()}
    if form == "none":
        return f"answer: none brings nothing, and the success carries {answer.__name__}", "write answer: json"
    if form == "json" or (form == "blob" and answer is Blob):
        return None
    given = {form, "status"}
    if form not in answer.model_fields or not needed <= given:
        kind = "str" if form == "text" else "Blob"
        return (
            f"answer: {form} brings {form} and status, and {answer.__name__} has {', '.join(answer.model_fields)}",
            f"give {answer.__name__} the field {form}: {kind}, and others only with a default",
        )
    return None


def _settings_in(block: BaseModel, at: Loc) -> Iterator[tuple[Loc, ModelSetting]]:
    for field, value in block:
        if isinstance(value, ModelSetting):
            yield (*at, field), value
        elif isinstance(value, dict):
            yield from (((*at, field, name), one) for name, one in value.items() if isinstance(one, ModelSetting))
        elif isinstance(value, BaseModel):
            yield from _settings_in(value, (*at, field))
