"""``search`` of a contract against the class of the state: each path must lead to a scalar that can be kept in order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Literal, NamedTuple, NewType, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, BaseModel

from ..contracts.compile import LocatedContract
from ..contracts.text.yaml_tree import place_of
from ..kernel.finding import EnumSeverity, Finding
from ..kernel.search import SLOTS_OF_A_KIND, EnumSearchKind, SearchPlan, with_slots
from ..kernel.search_query import BUILTIN
from ..kernel.secret import Secret
from ..kernel.secret_names import SecretNames
from ..kernel.step import State

_KINDS = (
    (bool, EnumSearchKind.BOOLEAN), (int, EnumSearchKind.INTEGER), (float, EnumSearchKind.NUMBER), (str, EnumSearchKind.TEXT),
    (date, EnumSearchKind.TIME), (AwareDatetime, EnumSearchKind.TIME), (UUID, EnumSearchKind.TEXT),
)  # fmt: skip
_TAKEN = "int, float, str, bool, AwareDatetime, date, UUID or a Literal of text or integers, each also with None"


class _Scalar(NamedTuple):
    kind: EnumSearchKind
    choices: tuple[str, ...] = ()


class _Problem(Exception):
    """What is wrong with one path: a code of a finding, what, and the fix."""


def search_plan(located: LocatedContract, state: type[State]) -> tuple[SearchPlan | None, list[Finding]]:
    """How the fields are read; None where there are none, or a finding says why."""
    paths = located.contract.search
    findings: list[Finding] = []
    found: list[tuple[str, EnumSearchKind, tuple[str, ...]]] = []
    optional = False
    for n, path in enumerate(paths):
        spot = place_of(located.tree, ("search", n)).spot(located.path)
        try:
            if path in paths[:n]:
                raise _Problem("duplicate", f"search lists {path!r} twice", "keep one of them")
            scalar, hops_none = _scalar_at(state, path)
            found.append((path, *scalar))
            optional = optional or hops_none
            with_slots(found)
        except _Problem as problem:
            code, message, fix = problem.args
            findings.append(Finding(code, EnumSeverity.ERROR, *spot, message, fix))
        except ValueError:
            found.pop()
            message = f"search lists more than {SLOTS_OF_A_KIND} fields of one kind: numbers and times, or text"
            findings.append(
                Finding("search_too_many", EnumSeverity.ERROR, *spot, message, f"remove {path} from search")
            )
    return (SearchPlan(with_slots(found), optional=optional) if found and not findings else None), findings


def _scalar_at(state: type[State], path: str) -> tuple[_Scalar, bool]:
    """Its kind, and whether a model on the way may be None. Raises _Problem."""
    if path in BUILTIN:
        raise _Problem(
            "search_built_in",
            f"{path!r} is searched for every workflow, by the engine's own value",
            "remove it from search",
        )
    if SecretNames().matching(tuple(path.split("."))):
        raise _Problem(
            "search_secret",
            f"{path!r} is secret by its name: a search field stands in the store in clear text",
            "remove it from search",
        )
    model: type[BaseModel] = state
    names, hops_none = path.split("."), False
    for at, name in enumerate(names):
        field = model.model_fields.get(name)
        if field is None:
            near = get_close_matches(name, model.model_fields, 1)
            fix = f"did you mean {near[0]!r}?" if near else f"its fields are {', '.join(model.model_fields)}"
            raise _Problem("search_unknown", f"search names {path!r}, and {model.__name__} has no field {name!r}", fix)
        parts = list(_parts(field.annotation))
        if any(one is Secret or isinstance(one, Secret) for one in (*field.metadata, *parts)):
            raise _Problem(
                "search_secret",
                f"{path!r} is marked Secret: a search field stands in the store in clear text",
                "remove it from search",
            )
        inner = [one for one in parts if isinstance(one, type) and issubclass(one, BaseModel)]
        if at < len(names) - 1:
            if len(inner) != 1 or any(one not in (*inner, NoneType) for one in parts):
                raise _Problem(
                    "search_unsupported",
                    f"{name!r} of {path!r} is no nested model",
                    "name a path through models, ending at a scalar",
                )
            model, hops_none = inner[0], hops_none or NoneType in parts
            continue
        scalar = _kind(parts)
        if scalar is None:
            shown = getattr(field.annotation, "__name__", None) or str(field.annotation)
            raise _Problem(
                "search_unsupported", f"search names {path!r}, which is {shown}", f"a search field is {_TAKEN}"
            )
        return scalar, hops_none
    raise AssertionError("a path has at least one name")


def _parts(annotation: object) -> Iterator[object]:
    """The types of a union, each as it is; what ``Annotated`` adds comes along."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        yield from _parts(inner)
        yield from (mark for mark in marks if mark is Secret or isinstance(mark, Secret))
    elif get_origin(annotation) in (Union, UnionType):
        for one in get_args(annotation):
            yield from _parts(one)
    elif isinstance(annotation, NewType):
        yield from _parts(annotation.__supertype__)
    else:
        yield annotation


def _kind(parts: list[object]) -> _Scalar | None:
    told = [one for one in parts if one is not NoneType]
    if len(told) != 1:
        return None
    (one,) = told
    if get_origin(one) is Literal:
        return _literal(get_args(one))
    if not isinstance(one, type):
        return None
    kinds = [kind for known, kind in _KINDS if issubclass(one, known)]
    return _Scalar(kinds[0]) if kinds else None


def _literal(values: tuple[object, ...]) -> _Scalar | None:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {str}:
        return _Scalar(EnumSearchKind.TEXT, tuple(str(value) for value in values if value is not None))
    if kinds == {int}:
        return _Scalar(EnumSearchKind.INTEGER)
    return _Scalar(EnumSearchKind.BOOLEAN) if kinds == {bool} else None
