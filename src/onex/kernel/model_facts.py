"""Which classes cannot differ from what their bytes give back: found out once per class, from its pydantic-core schema.

A class is *plain* when no code of the user runs as its values are read, and no field has a type that JSON does not keep or
that two JSON forms could mean. Everything else is compared value by value (``canonical.reloaded``).

What may go wrong: the schema is not built yet, or of a form that is not known here, because pydantic has changed it.
``classify`` catches every exception and answers "compare each value". A mistake of that kind costs time, not correctness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, timezone
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, dataclass_transform

from pydantic import BaseModel, Field, PrivateAttr, TypeAdapter
from pydantic_core import TzInfo

from .size_limits import PAYLOAD_DEPTH

Schema = Mapping[str, Any]  # pydantic-core's own: a tree of dicts
Check = Callable[[Any], bool]
"""Whether a value is surely what its bytes give back. False: write it, read it back and compare."""

_PLAIN = frozenset({"none", "bool", "int", "str", "date", "uuid"})
_KINDS = {
    "none": "null", "bool": "bool", "int": "number", "float": "number", "str": "text", "date": "text", "uuid": "text",
    "datetime": "text", "list": "list", "tuple": "list", "dict": "object", "model": "object",
}  # fmt: skip
_JSON_VALUE = "pydantic.types.JsonValue:"
_FIXED = (timezone, TzInfo)


class _Unvalidated(set[str]):
    """The type of ``__pydantic_fields_set__`` of a value that nobody validated: by this it is recognised."""


# type checkers are told that values are frozen, so that a state may narrow ``status`` to a Literal
if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    @dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(Field, PrivateAttr))
    class _Frozen(ModelMetaclass): ...
else:
    _Frozen = type(BaseModel)


class Value(BaseModel, metaclass=_Frozen):
    """Base of payloads and states. A value that was made without validation is marked, so that it will be read back."""

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:  # type: ignore[override]  # the plugin names it _cls
        return _unvalidated(super().model_construct(_fields_set, **values))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        return _unvalidated(copied) if update else copied


V = TypeVar("V", bound=Value)


def _unvalidated(value: V) -> V:
    object.__setattr__(value, "__pydantic_fields_set__", _Unvalidated(value.__pydantic_fields_set__))
    return value


class ModelFacts(NamedTuple):
    """What is known of one class.

    ``check`` is called with a value's ``__dict__``; None: none is needed. ``flat``: its values are only as deep as its fields
    are declared. ``immutable``: nothing in its values can be changed in place.
    """

    model: type[BaseModel] | None
    check: Check | None
    flat: bool
    immutable: bool


UNKNOWN = ModelFacts(None, None, False, False)


def classify(model: type[BaseModel]) -> ModelFacts:
    """Find out and remember the facts of a class. They are kept at the class, so they are freed with its app."""
    walk = _SchemaWalk()
    try:
        check = walk.of_model(model.__pydantic_core_schema__)
        facts = ModelFacts(model, check, walk.deepest <= PAYLOAD_DEPTH and not walk.open_ended, not walk.mutable)
    except Exception:  # _Opaque; or the schema is not built yet, or of a form that is not known here
        facts = ModelFacts(model, _always_compare, False, False)
    type.__setattr__(model, "__onex_model_facts__", facts)
    return facts


def facts_of(model: type[BaseModel]) -> ModelFacts:
    """What is known of a class; found out at the first call."""
    facts: ModelFacts = getattr(model, "__onex_model_facts__", UNKNOWN)
    return facts if facts.model is model else classify(model)


def needs_no_look(model: type[BaseModel]) -> bool:
    """Whether a validated value of the class is what its bytes give back, and nothing in it can be changed in place."""
    facts = facts_of(model)
    return facts.check is None and facts.immutable


def is_flat(model: type[BaseModel]) -> bool:
    """Whether no value of the class can be deeper than 32: it has no JsonValue field, and does not contain itself."""
    return facts_of(model).flat


def _always_compare(value: object) -> bool:
    return False


class _Opaque(Exception):
    """Raised in ``_SchemaWalk``: nothing is known of the class, so its values are written and read back."""


class _SchemaWalk:
    """One walk over the core schema of a class. A check of None: the type alone promises enough."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self.inside: set[str] = set()
        self.open_ended = self.mutable = False
        self.level = self.deepest = 0

    def of_model(self, schema: Schema) -> Check | None:
        """The check for a model's ``__dict__``."""
        if schema["type"] == "definitions":
            self.definitions.update((one["ref"], one) for one in schema["definitions"])
            return self.of_model(schema["schema"])
        if schema["type"] == "definition-ref":
            return self.of_model(self.definitions[schema["schema_ref"]])
        fields, cls, config = schema["schema"], schema["cls"], schema.get("config", {})
        if (
            schema["type"] != "model"
            or fields["type"] != "model-fields"
            or "serialization" in schema
            or "serialization" in fields
            or schema.get("custom_init")
            or schema.get("root_model")
            or schema.get("post_init")
            or fields.get("computed_fields")
            or config.get("extra_fields_behavior") == "allow"
            or not issubclass(cls, Value)
            or cls.__private_attributes__
            or cls.__eq__ is not BaseModel.__eq__
        ):
            raise _Opaque
        finite = config.get("allow_inf_nan") is False
        checks = []
        self._deeper()
        for name, field in fields["fields"].items():
            if field["type"] != "model-field" or field.keys() & {
                "serialization_exclude", "validation_alias", "serialization_alias", "serialization_exclude_if"
            }:  # fmt: skip
                raise _Opaque
            check = self.of(field["schema"], finite)
            _check_default(cls, name, field["schema"])
            if check is not None:
                checks.append((name, check))
        self.level -= 1
        return _fields_check(tuple(checks)) if checks else None

    def of(self, schema: Schema, finite: bool) -> Check | None:
        kind = schema["type"]
        if "serialization" in schema:
            raise _Opaque
        if kind in _PLAIN or (kind == "float" and schema.get("allow_inf_nan", not finite) is False):
            return None
        if kind == "datetime":
            return _fixed_zone
        if kind == "nullable":
            return _unless_none(self.of(schema["schema"], finite))
        if kind == "default":
            return self.of(schema["schema"], finite)
        if kind in ("literal", "enum"):
            if schema.get("sub_type") not in ("str", "int") and not all(
                type(one) in (str, int, bool, type(None)) for one in schema.get("expected", (...,))
            ):
                raise _Opaque
            return None
        if kind in ("list", "tuple", "dict"):
            self._deeper()
            self.mutable = self.mutable or kind != "tuple"
            check = self._of_dict(schema, finite) if kind == "dict" else self._of_list(schema, finite)
            self.level -= 1
            return check
        if kind == "union":
            return self._of_union(schema, finite)
        if kind == "definition-ref":
            return self._of_reference(schema["schema_ref"], finite)
        if kind == "model":
            check, cls = self.of_model(schema), schema["cls"]
            if check is None:
                return lambda value: type(value) is cls and type(value.__pydantic_fields_set__) is set
            return lambda value: (
                type(value) is cls and type(value.__pydantic_fields_set__) is set and check(value.__dict__)
            )
        raise _Opaque

    def _deeper(self) -> None:
        self.level += 1
        self.deepest = max(self.deepest, self.level)

    def _of_dict(self, schema: Schema, finite: bool) -> Check | None:
        keys = schema.get("keys_schema", {"type": "any"})
        if keys["type"] not in ("str", "enum", "literal") or self.of(keys, finite) is not None:
            raise _Opaque
        check = self.of(schema["values_schema"], finite)
        return check and (lambda value: all(map(check, value.values())))

    def _of_list(self, schema: Schema, finite: bool) -> Check | None:
        items = schema.get("items_schema")
        if items is None:
            raise _Opaque
        if not isinstance(items, list):
            items = [items]
        if len(items) == 1 and items[0]["type"] == "model" and self.of_model(items[0]) is None:
            return _each_is(items[0]["cls"])
        checks = [self.of(item, finite) for item in items]
        if not any(checks):
            return None
        check = checks[0]
        if len(checks) > 1 or check is None:
            raise _Opaque
        return lambda value: all(map(check, value))

    def _of_union(self, schema: Schema, finite: bool) -> Check | None:
        """Accepts members that are of different kinds in JSON, and need no check."""
        kinds: set[str] = set()
        for choice in schema["choices"]:
            member = choice[0] if isinstance(choice, tuple) else choice
            kind = _KINDS.get(member["type"])
            if kind is None or kind in kinds or self.of(member, finite) is not None:
                raise _Opaque
            kinds.add(kind)
        return None

    def _of_reference(self, ref: str, finite: bool) -> Check | None:
        if ref.startswith(_JSON_VALUE):
            if not finite:
                raise _Opaque
            self.open_ended = self.mutable = True
            return None
        if ref in self.inside:  # a model that contains itself
            raise _Opaque
        self.inside.add(ref)
        try:
            return self.of(self.definitions[ref], finite)
        finally:
            self.inside.discard(ref)


def _each_is(cls: type[BaseModel]) -> Check:
    def check(values: Any) -> bool:
        for one in values:  # noqa: SIM110 - states are full of lists, so nothing is called per item
            if type(one) is not cls or type(one.__pydantic_fields_set__) is not set:
                return False
        return True

    return check


def _fields_check(checks: tuple[tuple[str, Check], ...]) -> Check:
    if len(checks) == 1:
        ((only, its_check),) = checks
        return lambda fields: its_check(fields[only])

    def check(fields: Mapping[str, Any]) -> bool:
        for name, one in checks:  # noqa: SIM110 - a generator would cost as much as the checks
            if not one(fields[name]):
                return False
        return True

    return check


def _unless_none(check: Check | None) -> Check | None:
    return None if check is None else lambda value: value is None or check(value)


def _fixed_zone(value: Any) -> bool:
    zone = value.tzinfo
    return zone is UTC or (type(zone) in _FIXED and not value.utcoffset().seconds % 60)


def _check_default(model: type[BaseModel], name: str, schema: Schema) -> None:
    """Raises _Opaque for a default that validation would change, or a factory: pydantic does not validate defaults."""
    while schema["type"] == "nullable":
        schema = schema["schema"]
    if schema["type"] != "default" or schema.get("validate_default"):
        return
    if "default_factory" in schema:
        if schema["default_factory"] not in (dict, list, tuple, str, int):
            raise _Opaque
        return
    field = model.model_fields[name]
    default = schema["default"]
    if default is None or (type(default) in (str, tuple, list, dict) and not default):
        return
    adapter: TypeAdapter[Any] = TypeAdapter(field.rebuild_annotation(), config={"allow_inf_nan": False})
    taken = adapter.validate_python(default)
    if type(taken) is not type(default) or taken != default:
        raise _Opaque
