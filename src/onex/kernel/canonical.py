"""Canonical: the bytes of a value, and the value that those bytes give back.

The law: what goes on is what would be read back. A value that leaves a reducer, or comes in by the door, is used at once and
again after a crash, from its bytes; if the two differed, the second try of an effect would send another body than the first.

Most classes cannot differ: their fields are plain, and nobody's code runs when they are read. Such a class is found out once
(``classify``) and its values pass with a look at what a type cannot promise: that the value was validated, and that a field holds
no subclass (whose own fields would be lost) and no named time zone. All others are written and read back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, timezone
from typing import Any, NamedTuple, Self, TypeVar

from pydantic import BaseModel, TypeAdapter
from pydantic import ValidationError as PydanticError
from pydantic_core import TzInfo

from .errors import InvalidPayload
from .size_limits import PAYLOAD_DEPTH
from .user_code import caught, plain_text

M = TypeVar("M", bound=BaseModel)
Schema = Mapping[str, Any]  # pydantic-core's own: a tree of dicts
Check = Callable[[Any], bool]
"""Whether a value of the type is what its bytes give back; False says: write it and see."""

_PLAIN = frozenset({"none", "bool", "int", "str", "date", "uuid"})
_KINDS = {
    "none": "null", "bool": "bool", "int": "number", "float": "number", "str": "text", "date": "text", "uuid": "text",
    "datetime": "text", "list": "list", "tuple": "list", "dict": "object", "model": "object",
}  # fmt: skip
_JSON_VALUE = "pydantic.types.JsonValue:"
_FIXED = (timezone, TzInfo)
_TOLD_PROBLEMS = 5


class _Unproven(set[str]):
    """The ``__pydantic_fields_set__`` of a value that nobody validated: how such a one is told from any other."""


class Value(BaseModel):
    """Base of payloads and states. A value that was made without validation is known to be so, and is read back."""

    @classmethod
    def model_construct(cls, _fields_set: set[str] | None = None, **values: Any) -> Self:  # type: ignore[override]  # the plugin names it _cls
        return _unproven(super().model_construct(_fields_set, **values))

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copied = super().model_copy(update=update, deep=deep)
        return _unproven(copied) if update else copied


V = TypeVar("V", bound=Value)


def _unproven(value: V) -> V:
    object.__setattr__(value, "__pydantic_fields_set__", _Unproven(value.__pydantic_fields_set__))
    return value


def encode(value: BaseModel, told: bool = True) -> bytes:
    """Canonical bytes of a validated value. Raises InvalidPayload for what its serializer cannot write.

    ``told``: pydantic warns of a value that is not of its field's type.
    """
    try:
        serializer = value.__pydantic_serializer__
        return serializer.to_json(value) if told else serializer.to_json(value, warnings=False)
    except BaseException as error:
        raise unwritable(value, error) from error


def unwritable(value: BaseModel, error: BaseException) -> InvalidPayload:
    """For the handler that has just caught what a serializer raised: pydantic_core's several classes, or anything."""
    return InvalidPayload(f"{type(value).__name__} cannot be written as JSON: {caught(error)}")


def problems(error: BaseException) -> str:
    """What a validation raised, told: pydantic's own error field by field, whatever else a validator raises as it is.

    For the handler that has just caught it; raises what ``caught`` raises.
    """
    told = caught(error)
    if type(error) is not PydanticError:
        return told
    try:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        told = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'value'}: {plain_text(one['msg'], 300)}"
            for one in found[:_TOLD_PROBLEMS]
        )
    except BaseException as raised:  # the message of a validator's own error is asked for here
        caught(raised)
        return told
    more = len(found) - _TOLD_PROBLEMS
    return plain_text(told + (f"; and {more} more" if more > 0 else ""))


def as_reloaded(value: M) -> M:
    """The value that goes on: ``value``, or the equal one its bytes give back. Raises InvalidPayload where they differ."""
    model = type(value)
    way = getattr(model, "__onex_model_facts__", _UNKNOWN)
    look = way.look if way.model is model else classify(model).look
    if type(value.__pydantic_fields_set__) is set:
        try:
            if look is None or look(value.__dict__):
                return value
        except Exception:  # a value that was tampered with: its bytes will tell
            return reloaded(value)
    return reloaded(value)


def detached(value: M) -> M:
    """``value`` settled, and nobody else's: a list in it that its maker still holds may change, what is kept may not.

    Raises as ``as_reloaded``.
    """
    way: ModelFacts = getattr(type(value), "__onex_model_facts__", _UNKNOWN)
    if way.look is None and way.fixed and way.model is type(value) and type(value.__pydantic_fields_set__) is set:
        return value  # what most payloads are, found in one look
    its = as_reloaded(value)
    return its if its is not value else detached_copy(value)


def detached_copy(value: M) -> M:
    """An equal value that shares nothing with ``value`` that could be changed in place. Of one that was settled."""
    model = type(value)
    way: ModelFacts = getattr(model, "__onex_model_facts__", _UNKNOWN)
    if (way if way.model is model else classify(model)).fixed:
        return value
    return reloaded(value)


def reloaded(value: M) -> M:
    """What the bytes of ``value`` give back: equal, and of the same bytes. Raises InvalidPayload, naming what differs."""
    model = type(value)
    data = encode(value, told=False)
    try:
        again: M = model.__pydantic_validator__.validate_json(data)
    except BaseException as error:
        raise InvalidPayload(
            f"{model.__name__} cannot be read back from what was written: {problems(error)}"
        ) from error
    try:
        same = again == value
    except BaseException as error:
        raise InvalidPayload(f"{model.__name__} cannot be compared with itself: {caught(error)}") from error
    if not same or encode(again) != data:
        raise InvalidPayload(
            f"{model.__name__} would not be read back as it was written{_difference(value, again)}; give the field a "
            "type that JSON keeps, and no validator or serializer that changes it each time"
        )
    return again


def _difference(value: BaseModel, again: BaseModel) -> str:
    for name, one in value.__dict__.items():
        other = again.__dict__.get(name)
        try:
            if type(one) is type(other) and one == other:
                continue
            return f": {name} is {plain_text(repr(one), 80)}, and would be {plain_text(repr(other), 80)}"
        except BaseException as error:
            caught(error)
    return ""


# --- which classes cannot differ ------------------------------------------------------------------------------------


class ModelFacts(NamedTuple):
    """What is known of one class. ``look``, None where none is needed, is at a value's ``__dict__``. ``flat``: its values are
    only as deep as its fields are written. ``fixed``: nothing in them can be changed in place."""

    model: type[BaseModel] | None
    look: Check | None
    flat: bool
    fixed: bool


_UNKNOWN = ModelFacts(None, None, False, False)


def classify(model: type[BaseModel]) -> ModelFacts:
    """Kept at the class itself, so that it goes when its app does."""
    reading = _Reading()
    try:
        look = reading.of_model(model.__pydantic_core_schema__)
        way = ModelFacts(model, look, reading.deepest <= PAYLOAD_DEPTH and not reading.open_ended, not reading.mutable)
    except Exception:  # _Opaque; or a schema that is not built yet, or of a pydantic not known here
        way = ModelFacts(model, _never, False, False)
    type.__setattr__(model, "__onex_model_facts__", way)
    return way


def is_flat(model: type[BaseModel]) -> bool:
    """Whether no value of the class can be deeper than 32: there is no JsonValue in it, and it is not inside itself."""
    way: ModelFacts = getattr(model, "__onex_model_facts__", _UNKNOWN)
    return (way if way.model is model else classify(model)).flat


def _never(value: object) -> bool:
    return False


class _Opaque(Exception):
    """Nothing can be said of it: its values are written and read back."""


class _Reading:
    """One walk over a class's core schema. A look of None says that the type promises all by itself."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}
        self.inside: set[str] = set()
        self.open_ended = self.mutable = False
        self.level = self.deepest = 0

    def of_model(self, schema: Schema) -> Check | None:
        """The look at a model's ``__dict__``."""
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
        looks = []
        self._deeper()
        for name, field in fields["fields"].items():
            if field["type"] != "model-field" or field.keys() & {
                "serialization_exclude", "validation_alias", "serialization_alias", "serialization_exclude_if"
            }:  # fmt: skip
                raise _Opaque
            look = self.of(field["schema"], finite)
            _check_default(cls, name, field["schema"])
            if look is not None:
                looks.append((name, look))
        self.level -= 1
        return _fields_look(tuple(looks)) if looks else None

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
            look = self._of_dict(schema, finite) if kind == "dict" else self._of_list(schema, finite)
            self.level -= 1
            return look
        if kind == "union":
            return self._of_union(schema, finite)
        if kind == "definition-ref":
            return self._of_reference(schema["schema_ref"], finite)
        if kind == "model":
            look, cls = self.of_model(schema), schema["cls"]
            if look is None:
                return lambda value: type(value) is cls and type(value.__pydantic_fields_set__) is set
            return lambda value: (
                type(value) is cls and type(value.__pydantic_fields_set__) is set and look(value.__dict__)
            )
        raise _Opaque

    def _deeper(self) -> None:
        self.level += 1
        self.deepest = max(self.deepest, self.level)

    def _of_dict(self, schema: Schema, finite: bool) -> Check | None:
        keys = schema.get("keys_schema", {"type": "any"})
        if keys["type"] not in ("str", "enum", "literal") or self.of(keys, finite) is not None:
            raise _Opaque
        look = self.of(schema["values_schema"], finite)
        return look and (lambda value: all(map(look, value.values())))

    def _of_list(self, schema: Schema, finite: bool) -> Check | None:
        items = schema.get("items_schema")
        if items is None:
            raise _Opaque
        if not isinstance(items, list):
            items = [items]
        if len(items) == 1 and items[0]["type"] == "model" and self.of_model(items[0]) is None:
            return _each_is(items[0]["cls"])
        looks = [self.of(item, finite) for item in items]
        if not any(looks):
            return None
        look = looks[0]
        if len(looks) > 1 or look is None:
            raise _Opaque
        return lambda value: all(map(look, value))

    def _of_union(self, schema: Schema, finite: bool) -> Check | None:
        """Members that no JSON confuses, none of which needs a look."""
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
        if ref in self.inside:  # a model inside itself
            raise _Opaque
        self.inside.add(ref)
        try:
            return self.of(self.definitions[ref], finite)
        finally:
            self.inside.discard(ref)


def _each_is(cls: type[BaseModel]) -> Check:
    def look(values: Any) -> bool:
        for one in values:  # noqa: SIM110 - nothing is called per item, for this is what states are full of
            if type(one) is not cls or type(one.__pydantic_fields_set__) is not set:
                return False
        return True

    return look


def _fields_look(looks: tuple[tuple[str, Check], ...]) -> Check:
    if len(looks) == 1:
        ((only, its_look),) = looks
        return lambda fields: its_look(fields[only])

    def look(fields: Mapping[str, Any]) -> bool:
        for name, one in looks:  # noqa: SIM110 - a generator would cost as much as the looks
            if not one(fields[name]):
                return False
        return True

    return look


def _unless_none(look: Check | None) -> Check | None:
    return None if look is None else lambda value: value is None or look(value)


def _fixed_zone(value: Any) -> bool:
    zone = value.tzinfo
    return zone is UTC or (type(zone) in _FIXED and not value.utcoffset().seconds % 60)


def _check_default(model: type[BaseModel], name: str, schema: Schema) -> None:
    """A default is not validated when a value is made: one that the type would change, or a factory, says nothing."""
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
