"""``with``: paths into the state become the payload of a call. Checked once against the classes, then run at each start.

{order: input.id, cents: 500, note: {value: gift}}     each field of the payload from a path, or a value of its own
pay                                                    one path: what stands there is the payload
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, get_args, get_origin

from pydantic import BaseModel, JsonValue
from pydantic import ValidationError as PydanticError

from ..contracts.guard.problem import suggest
from ..contracts.model.orchestration import Given
from ..contracts.model.payload_fields import NoSuchField, reach, unwrap
from ..kernel.canonical import problems

Names = tuple[str, ...]
ITEM, INDEX = "item", "index"


class GivenProblem(NamedTuple):
    """``key`` is the field under ``with``, '' for the whole."""

    key: str
    message: str
    fix: str


class Missing(Exception):
    """A payload cannot be made, because of what has no result: ``of`` names the first such task. '' where nothing is missing."""

    def __init__(self, of: str, message: str) -> None:
        super().__init__(message)
        self.of, self.message = of, message


@dataclass(frozen=True, slots=True)
class PayloadOf:
    """Makes a payload of ``model``: ``whole`` is the path to it, else ``paths[field]`` and ``values[field]``."""

    model: type[BaseModel]
    whole: Names = ()
    paths: Mapping[str, Names] = field(default_factory=dict)
    values: Mapping[str, JsonValue] = field(default_factory=dict)

    def make(self, state: BaseModel, item: object = None, index: int | None = None) -> BaseModel:
        """``item`` and ``index`` are those of a map. Raises Missing."""
        if self.whole:
            found = _found(state, self.whole, item, index)
            if isinstance(found, self.model):
                return found
            raise Missing(self.whole[0], f"there is no {'.'.join(self.whole)}")
        values: dict[str, object] = dict(self.values)
        lacking = ""
        for name, names in self.paths.items():
            found = _found(state, names, item, index)
            if found is None:
                lacking = lacking or names[0]
            values[name] = found
        try:
            return self.model.model_validate(values)
        except PydanticError as error:
            raise Missing(lacking, problems(error)) from error


def _found(state: BaseModel, names: Names, item: object, index: int | None) -> object:
    if names[0] == ITEM:
        return value_at(item, names[1:])
    return index if names[0] == INDEX else value_at(state, names)


def value_at(value: object, names: Names) -> object:
    """None where the path ends early."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
        if value is None:
            return None
    return value


def payload_of(given: Given, model: type[BaseModel], state: type[BaseModel]) -> tuple[PayloadOf, list[GivenProblem]]:
    """``state`` is the class that paths lead into."""
    if given is None:
        return _without(model, state)
    if isinstance(given, str):
        kinds, problem = _reached(given, "", state)
        if problem is None and not any(isinstance(kind, type) and issubclass(kind, model) for kind in kinds):
            problem = GivenProblem(
                "", f"{given} is {_words(kinds)}, not {model.__name__}", "name each field: with: {...}"
            )
        return PayloadOf(model, tuple(given.split("."))), [problem] if problem else []
    found: list[GivenProblem] = []
    paths: dict[str, Names] = {}
    values: dict[str, JsonValue] = {}
    for name, said in given.items():
        target = model.model_fields.get(name)
        if target is None:
            known = list(model.model_fields)
            fix = suggest(name, known) or f"it has {', '.join(known) or 'none'}"
            found.append(GivenProblem(name, f"{model.__name__} has no field {name!r}", fix))
        elif isinstance(said, str):
            kinds, problem = _reached(said, name, state)
            if problem is None and not fits(kinds, target.annotation):
                message = f"{said} is {_words(kinds)}; {model.__name__}.{name} is {_words(unwrap(target.annotation))}"
                problem = GivenProblem(name, message, "take another path, or change the model")
            found += [problem] if problem else []
            paths[name] = tuple(said.split("."))
        else:
            values[name] = said["value"] if isinstance(said, dict) and [*said] == ["value"] else said
    for name, info in model.model_fields.items():
        if info.is_required() and name not in given:
            fix = f"add {name}: PATH, for example input.{name}"
            found.append(GivenProblem("", f"with says nothing of {name!r}, which {model.__name__} needs", fix))
    return PayloadOf(model, (), paths, values), found


def _without(model: type[BaseModel], state: type[BaseModel]) -> tuple[PayloadOf, list[GivenProblem]]:
    """No ``with``: the item or the input, where it has the class; nothing, where nothing is needed."""
    for name in (ITEM, "input"):
        taken = state.model_fields.get(name)
        if taken is not None and model in unwrap(taken.annotation):
            return PayloadOf(model, (name,)), []
    needed = [name for name, info in model.model_fields.items() if info.is_required()]
    found = []
    if needed:
        fields = ", ".join(f"{name}: ..." for name in needed)
        message = f"nothing says what {model.__name__} is made of"
        found.append(GivenProblem("", message, f"add with: {{{fields}}}"))
    return PayloadOf(model), found


def _reached(path: str, key: str, state: type[BaseModel]) -> tuple[tuple[object, ...], GivenProblem | None]:
    names = tuple(path.split("."))
    try:
        return tuple(kind for kind in reach(state, names) if kind is not type(None)), None
    except NoSuchField as missing:
        known = [name for name in missing.known if name not in ("status", "plan")]
        where = ".".join(names[: missing.at])
        if missing.at == 0:
            fix = suggest(missing.name, known) or f"there is {', '.join(known)}; a text of its own is {{value: {path}}}"
            return (), GivenProblem(key, f"{path!r} begins with {missing.name!r}, which is no result and no input", fix)
        fix = suggest(missing.name, known) or (f"it has {', '.join(known)}" if known else "it is a plain value")
        return (), GivenProblem(key, f"{where} has no field {missing.name!r}", fix)


def fits(kinds: tuple[object, ...], wanted: object) -> bool:
    """Whether a value of one of these types may stand where ``wanted`` is asked for. Lists and dicts are not looked into."""
    return any(_fits(kind, want) for kind in kinds for want in unwrap(wanted))


def _fits(kind: object, want: object) -> bool:
    if kind == want or JsonValue in (kind, want) or (kind is int and want is float):
        return True
    first, second = get_origin(kind) or kind, get_origin(want) or want
    if first is second and first in (tuple, dict):
        return all(
            one is Ellipsis or any(_fits(a, b) for a in unwrap(one) for b in unwrap(other))
            for one, other in zip(get_args(kind), get_args(want), strict=False)
        )
    return isinstance(kind, type) and isinstance(want, type) and issubclass(kind, want)


def _words(kinds: tuple[object, ...]) -> str:
    return " or ".join(_word(kind) for kind in kinds if kind is not type(None)) or "nothing"


def _word(kind: object) -> str:
    return kind.__name__ if isinstance(kind, type) and get_origin(kind) is None else str(kind).replace("typing.", "")
