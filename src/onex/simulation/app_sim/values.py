"""Values of a payload class, drawn from its JSON schema: mostly small and unusual ones, because mistakes are found there.

The class decides: what its validators refuse is drawn again, and a class that refuses everything is reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from random import Random
from typing import Final, cast
from uuid import UUID

from pydantic import BaseModel, JsonValue
from pydantic import ValidationError as PydanticError

from ...engine.encode import read_payload
from ...kernel.action import Blob
from ...kernel.errors import OnexError, ValidationError
from ...nodes.io import NewBlobs
from .regex_text import NotDrawable, matching

Schema = Mapping[str, JsonValue]

TRIES: Final = 60
DEPTH: Final = 6
ITEMS: Final = 3
_PLAIN_WORDS: Final = ("tea", "x", "ä note", "a longer word, with a comma", "0")
_INT_MAX: Final = 2**53
_EPOCH_YEAR: Final = 2026


class Undrawable(ValidationError):
    """No value of a class could be drawn. Say in simulation.py what clients do, or what the effect answers."""

    code = "undrawable"


@lru_cache(256)
def schema_of(model: type[BaseModel]) -> Schema:
    return cast("Schema", model.model_json_schema(mode="validation"))


class Values:
    """Draws by ``chance``. ``words`` are texts with a meaning here: ids of instances, so that messages arrive.

    With ``blobs`` a Blob is drawn together with its bytes, which are then in ``blobs.made``. Without, no Blob is drawn.
    """

    def __init__(self, chance: Random, words: Sequence[str] = (), blobs: NewBlobs | None = None) -> None:
        self.chance, self.words, self.blobs = chance, words, blobs

    def of(self, model: type[BaseModel]) -> BaseModel:
        """Raises Undrawable, with the last error of the class."""
        schema = schema_of(model)
        said = ""
        for n in range(TRIES):
            try:
                drawn = _Drawing(self, schema, shallow=n > TRIES // 2).value(schema, 0)
                return read_payload(model, json.dumps(drawn, ensure_ascii=False).encode())
            except (OnexError, PydanticError, NotDrawable) as error:
                said = str(error)
        raise Undrawable(f"no value of {model.__name__} could be drawn in {TRIES} tries; the last time: {said}")


class Simplest(Random):
    """No chance at all: always the first, least or shortest choice. A value drawn so is as plain as its class allows."""

    def random(self) -> float:
        return 0.0

    def getrandbits(self, k: int) -> int:
        return 0


def simplest(model: type[BaseModel], blobs: NewBlobs | None = None) -> BaseModel:
    """Raises Undrawable."""
    return Values(Simplest(0), (), blobs).of(model)


class _Drawing:
    """One value. ``shallow`` leaves out what may be left out."""

    def __init__(self, values: Values, root: Schema, *, shallow: bool) -> None:
        self.values, self.chance, self.root, self.shallow = values, values.chance, root, shallow

    def value(self, schema: Schema, depth: int) -> JsonValue:
        reference = schema.get("$ref")
        if isinstance(reference, str):
            definitions = cast("Mapping[str, Schema]", self.root.get("$defs", {}))
            return self.value(definitions[reference.rpartition("/")[2]], depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self.chance.choice(cast("list[JsonValue]", schema["enum"]))
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self._one_of(cast("list[Schema]", schema[several]), depth)
        if "allOf" in schema:
            return self.value(cast("list[Schema]", schema["allOf"])[0], depth)
        match schema.get("type"):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._text(schema)
            case "integer":
                return self._integer(schema)
            case "number":
                return self._number(schema)
            case "boolean":
                return self.chance.random() < 0.5
            case "null":
                return None
        return self.chance.choice((0, "tea", True, None))

    def _one_of(self, schemas: list[Schema], depth: int) -> JsonValue:
        fitting = [one for one in schemas if self.values.blobs is not None or not self._names_blob(one)]
        nothing = [one for one in fitting if one.get("type") == "null"]
        if nothing and (self.shallow or depth >= DEPTH):
            return None
        return self.value(self.chance.choice(fitting or schemas), depth)

    def _names_blob(self, schema: Schema) -> bool:
        return str(schema.get("$ref", "")).rpartition("/")[2] == Blob.__name__

    def _object(self, schema: Schema, depth: int) -> JsonValue:
        if schema.get("title") == Blob.__name__ and schema.get("properties") == schema_of(Blob)["properties"]:
            return self._blob()
        properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
        required = cast("list[str]", schema.get("required", []))
        drawn: dict[str, JsonValue] = {}
        for name, inner in properties.items():
            wanted = not self.shallow and depth < DEPTH and self.chance.random() >= 0.4
            if name in required or wanted:
                drawn[name] = self.value(inner, depth + 1)
        more = schema.get("additionalProperties")
        if not properties and isinstance(more, Mapping) and not self.shallow and depth < DEPTH:
            for _ in range(self._count(schema, "minProperties", "maxProperties")):
                drawn[self._word()] = self.value(more, depth + 1)
        return drawn

    def _blob(self) -> JsonValue:
        if self.values.blobs is None:
            raise NotDrawable("it names a Blob, and only an effect or a compute function can make one")
        data = f"bytes {self.chance.randrange(1000)}".encode()
        return self.values.blobs.blob(data).model_dump(mode="json")

    def _array(self, schema: Schema, depth: int) -> JsonValue:
        first = cast("list[Schema]", schema.get("prefixItems", []))
        drawn = [self.value(one, depth + 1) for one in first]
        items = schema.get("items")
        if isinstance(items, Mapping):
            bare = self._names_blob(items) and self.values.blobs is None
            count = 0 if bare or depth >= DEPTH else self._count(schema, "minItems", "maxItems")
            drawn += [self.value(items, depth + 1) for _ in range(count - len(drawn))]
        return drawn

    def _count(self, schema: Schema, least: str, most: str) -> int:
        low = cast("int", schema.get(least, 0))
        high = cast("int", schema.get(most, low + ITEMS))
        if self.shallow:
            return low
        return self.chance.randint(low, max(low, min(high, low + ITEMS)))

    # --- plain values -------------------------------------------------------------------------------------------------

    def _word(self) -> str:
        words = self.values.words
        if words and self.chance.random() < 0.6:
            return self.chance.choice(words)
        return self.chance.choice(_PLAIN_WORDS)

    def _text(self, schema: Schema) -> str:
        pattern, form = schema.get("pattern"), schema.get("format")
        if isinstance(pattern, str):
            return matching(pattern, self.chance)
        if form == "uuid":
            return str(UUID(int=self.chance.getrandbits(128), version=4))
        day = f"{_EPOCH_YEAR}-{1 + self.chance.randrange(12):02}-{1 + self.chance.randrange(28):02}"
        if form == "date":
            return day
        if form == "date-time":
            return f"{day}T{self.chance.randrange(24):02}:00:00Z"
        least = cast("int", schema.get("minLength", 0))
        most = cast("int", schema.get("maxLength", 10_000))
        word = self._word()
        if self.chance.random() < 0.1:
            word = self.chance.choice(("", "ß" * min(most, 64)))
        return (word * (1 + least // max(1, len(word))) if len(word) < least else word)[:most] or "x" * least

    def _integer(self, schema: Schema) -> int:
        step = cast("int", schema.get("multipleOf", 1))
        low, high = self._bounds(schema, 1)
        least, most = -(-int(low) // step), int(high) // step
        near = [0, 1, 1, 2, 2, 3, 5, 10, 100, 1000, -1, *(one for one in (least, most) if abs(one) * step < _INT_MAX)]
        fitting = [one for one in near if least <= one <= most]
        return step * self.chance.choice(fitting or [least])

    def _number(self, schema: Schema) -> float:
        low, high = self._bounds(schema, 1e-6)
        fitting = [one for one in (0.0, 1.0, 0.5, 2.5, 10.0, 99.99, low, high) if low <= one <= high]
        fitting = [one for one in fitting if abs(one) < _INT_MAX]
        return self.chance.choice(fitting or [low])

    @staticmethod
    def _bounds(schema: Schema, above: float) -> tuple[float, float]:
        def bound(name: str, otherwise: float) -> float:
            return cast("float", schema.get(name, otherwise))

        low = max(bound("minimum", -_INT_MAX), bound("exclusiveMinimum", -_INT_MAX - above) + above)
        high = min(bound("maximum", _INT_MAX), bound("exclusiveMaximum", _INT_MAX + above) - above)
        return low, high


def drawable(model: type[BaseModel], *, blobs: bool) -> str:
    """Why no value of this class can be drawn; '': one can."""
    try:
        Values(Random(0), (), NewBlobs() if blobs else None).of(model)  # noqa: S311 - to try, not to keep secret
    except Undrawable as error:
        return error.message
    return ""
