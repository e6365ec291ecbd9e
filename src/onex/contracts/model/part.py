"""The base class of every block of a contract, and the types of its fields.

Each field says who acts on it (``Use``). A field without is *held*: it is kept, and the report says at its line that nobody acts
on it. So no accepted key is without effect in silence.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo
from pydantic_core import PydanticKnownError

STRICT: Mapping[str, bool] = {"strict_names": True}
"""The validation context for a workflow that this engine runs: names must match its patterns. Without it any word is valid."""

WORD = r"^\S(?:.{0,198}\S)?$"
NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
NAME_OR_ANY = r"^(\*|[A-Za-z][A-Za-z0-9_-]{0,63})$"
TRIGGER = r"^[A-Za-z][A-Za-z0-9_-]{0,63}(\.[A-Za-z][A-Za-z0-9_-]{0,63})?$"
WORKFLOW = r"^[a-z][a-z0-9_]{0,63}$"
CLASS = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
TARGET = r"^[A-Za-z0-9_][A-Za-z0-9_./:@-]{0,199}$"
KIND = r"^[a-z][a-z0-9_]{0,63}$"
FIELD_PATH = r"^[A-Za-z_][A-Za-z0-9_]{0,63}(\.[A-Za-z_][A-Za-z0-9_]{0,63}){0,7}$"
TASK = r"^[a-z][a-z0-9_]{0,39}$"


@dataclass(frozen=True, slots=True)
class Use:
    """Who acts on a field: some of ``engine check diff doctor diagram docs``, the engine first. Empty: the field is held."""

    by: tuple[str, ...]

    @classmethod
    def of(cls, *by: str) -> Use:
        return cls(by)


ENGINE = Use.of("engine", "check", "diff")
"""The engine runs by it. Such a field is checked and compared as well."""
MACHINE = Use.of("engine", "check", "diff", "diagram")
SAID = Use.of("check", "diff", "diagram")
"""How other contracts say what ours say in the machine: moved there, checked and drawn."""
GRAPH = Use.of("check", "diff", "diagram")
"""A step of work and what it waits for: checked, compared and drawn."""
COMPARED = Use.of("diff")
"""Only compared: a change of it is reported with the version bump that it needs."""
MAPPED = Use.of("diff", "doctor")
"""Drawn into a system's map, and compared."""
PROSE = Use.of("docs")


def _word(pattern: str) -> AfterValidator:
    """``pattern`` applies under STRICT. Other contracts may use any word without a space at its ends."""
    strict, loose = re.compile(pattern), re.compile(WORD)

    def check(value: str, info: ValidationInfo) -> str:
        wanted = strict if info.context == STRICT else loose
        if wanted.fullmatch(value) is None:
            raise PydanticKnownError("string_pattern_mismatch", {"pattern": wanted.pattern})
        return value

    return AfterValidator(check)


Name = Annotated[str, Field(json_schema_extra={"pattern": NAME}), _word(NAME)]
StateName = Annotated[str, Field(json_schema_extra={"pattern": NAME_OR_ANY}), _word(NAME_OR_ANY)]
TriggerName = Annotated[str, Field(json_schema_extra={"pattern": TRIGGER}), _word(TRIGGER)]
WorkflowType = Annotated[str, Field(json_schema_extra={"pattern": WORKFLOW}), _word(WORKFLOW)]
ClassName = Annotated[str, Field(json_schema_extra={"pattern": CLASS}), _word(CLASS)]
Target = Annotated[str, Field(json_schema_extra={"pattern": TARGET}), _word(TARGET)]
Kind = Annotated[str, Field(json_schema_extra={"pattern": KIND}), _word(KIND)]
FieldPath = Annotated[str, Field(json_schema_extra={"pattern": FIELD_PATH}), _word(FIELD_PATH)]
TaskName = Annotated[str, Field(json_schema_extra={"pattern": TASK}), _word(TASK)]
Prose = Annotated[str, Field(max_length=4000)]
Word = Annotated[str, Field(pattern=WORD)]
Milliseconds = Annotated[int, Field(ge=1, le=366 * 24 * 3600 * 1000)]
Count = Annotated[int, Field(ge=0, le=10**9)]
Share = Annotated[float, Field(ge=0, le=1)]

TRANSITIONS_MAX = 1000
INTENTS_MAX = 200
TARGETS_MAX = 200
EXPRESSION_MAX = 1000
ROWS_MAX = 1000
SEARCH_MAX = 16


class Part(BaseModel):
    """A block of a contract. Raises pydantic's ValidationError for a key it does not have."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, defer_build=True)


def use_of(model: type[BaseModel], field: str) -> Use:
    """Who acts on ``model.field``. Raises KeyError for a field that the model does not have."""
    marks = [mark for mark in model.model_fields[field].metadata if isinstance(mark, Use)]
    return marks[-1] if marks else Use(())


class ModelContractVersion(Part):
    major: Annotated[Count, ENGINE]
    minor: Annotated[Count, ENGINE]
    patch: Annotated[Count, ENGINE]

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"
