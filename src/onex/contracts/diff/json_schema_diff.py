"""Two JSON Schemas of one value: what a writer may no longer write, and what a reader must now expect.

Theory of operation. A writer breaks when the new schema accepts less, a reader when it accepts more. Both are reported for each
change, because this module does not know on which side the users of a value are; the caller does (an input has writers).

``between`` compares two schemas at one path, in this order:

1. ``_resolved`` follows ``$ref`` within the same document, on both sides. A pair of references is compared once, so a type that
   holds itself comes to an end; below DEPTH_MAX levels a difference breaks both. A reference to another document is compared
   by its name.
2. ``_members`` turns a schema into its alternatives: ``anyOf``, ``oneOf``, a list of types and ``nullable`` are all unions, and a
   union within a union is flattened. So ``anyOf: [string, null]`` and ``nullable`` do not differ.
3. Two plain schemas: ``_single`` compares type, values, bounds, fields and entries. Two unions: ``_union`` removes the equal
   alternatives, pairs the rest by a type that is left alone or by title, and what has no partner was added or removed.

What is not understood is never ignored: an unknown keyword, or ``allOf`` that differs, breaks both sides. Descriptions, titles and
examples are ``prose``, which breaks nobody. Two schemas that differ without any reported change are one prose change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from pydantic import JsonValue

Schema = Mapping[str, JsonValue]
DEPTH_MAX = 24
_ANNOTATIONS = {"title", "description", "examples", "example", "deprecated", "$comment", "$schema", "$id", "version"}
_HANDLED = {"$defs", "definitions", "$ref", "anyOf", "oneOf", "allOf", "discriminator", "type", "enum", "const"}
_HANDLED |= {"properties", "required", "additionalProperties", "items", "prefixItems", "default", "nullable"}
_LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_REQUIREMENTS = {
    "pattern",
    "format",
    "multipleOf",
    "uniqueItems",
    "contentEncoding",
    "contentMediaType",
    "propertyNames",
}
_JUDGED = (_HANDLED | _ANNOTATIONS | _LOWER | _UPPER | _REQUIREMENTS) - {"$ref", "allOf"}


class SchemaChange(NamedTuple):
    """``path`` as ``items[].quantity``, '' for the whole. Without both flags the change breaks nobody."""

    path: str
    old: JsonValue
    new: JsonValue
    reason: str
    breaks_writers: bool = False
    breaks_readers: bool = False
    prose: bool = False


def schema_changes(old: JsonValue, new: JsonValue) -> list[SchemaChange]:
    """The changes, in the order of the old schema. Equal schemas give none."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        if old == new:
            return []
        if old is None:
            return [SchemaChange("", old, new, "the shape is reason now")]
        if new is None:
            return [SchemaChange("", old, new, "the shape is reason no more", breaks_readers=True)]
        return [SchemaChange("", old, new, "the schema differs and cannot be compared", True, True)]
    found = list(_Comparison(old, new).between(old, new, "", 0))
    if not found and old != new:
        found.append(SchemaChange("", None, None, "the same shape, written differently", prose=True))
    return found


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self.roots = (old, new)
        self.compared: set[tuple[str, str]] = set()

    def between(self, old: JsonValue, new: JsonValue, path: str, depth: int) -> Iterator[SchemaChange]:
        refs = (_ref(old), _ref(new))
        if all(refs):
            if refs in self.compared:
                return  # a type that holds itself
            self.compared.add(refs)
        before, after = self._resolved(old, 0), self._resolved(new, 1)
        if depth > DEPTH_MAX:
            if before != after:
                yield SchemaChange(path, None, None, "nested too deep to be judged", True, True)
            return
        left, right = self._members(before, 0), self._members(after, 1)
        if len(left) == 1 and len(right) == 1:
            yield from self._single(left[0], right[0], path, depth)
        else:
            yield from self._union(left, right, path, depth)
        yield from _prose(before, after, path)

    def _resolved(self, schema: JsonValue, side: int) -> Schema:
        seen: set[str] = set()
        while (name := _ref(schema)) and name not in seen:
            seen.add(name)
            beside = {key: value for key, value in schema.items() if key != "$ref"} if isinstance(schema, dict) else {}
            found = _pointed(self.roots[side], name)
            if found is None:
                return {"$ref": name}  # elsewhere: equal names are taken for equal shapes
            schema = {**found, **beside}
        if schema is True or schema is None:
            return {}
        return schema if isinstance(schema, dict) else {"not": {}}

    def _members(self, schema: Schema, side: int, depth: int = 0) -> list[Schema]:
        """The alternatives of a union, nested ones too; a schema that is no union is its only alternative."""
        found: list[Schema] = []
        for one in _alternatives(schema):
            inner = self._resolved(dict(one), side)
            found += self._members(inner, side, depth + 1) if depth < DEPTH_MAX and _is_union(inner) else [inner]
        return found

    # --- unions -----------------------------------------------------------------------------------------------------

    def _union(self, old: Sequence[Schema], new: Sequence[Schema], path: str, depth: int) -> Iterator[SchemaChange]:
        """Equal alternatives are removed. One left on each side was changed; others were added or removed."""
        afters = list(new)
        gone = []
        for one in old:
            same = next((n for n, other in enumerate(afters) if _bare(one) == _bare(other)), None)
            if same is None:
                gone.append(one)
            else:  # equal as written, but their references may lead to different schemas
                yield from self._single(one, afters.pop(same), path, depth + 1)
        if len(gone) == len(afters) == 1 and _type(gone[0]) == _type(afters[0]):
            yield from self._single(gone[0], afters[0], path, depth + 1)
            return
        for one in gone:
            near = next(
                (n for n, other in enumerate(afters) if one.get("title") and one["title"] == other.get("title")), None
            )
            if near is not None:
                yield from self._single(one, afters.pop(near), path, depth + 1)
            else:
                yield SchemaChange(path, _shown(one), None, f"{_named(one)} is no longer accepted", breaks_writers=True)
        for one in afters:
            yield SchemaChange(path, None, _shown(one), f"it may also be {_named(one)}", breaks_readers=True)

    # --- one alternative --------------------------------------------------------------------------------------------

    def _single(self, old: Schema, new: Schema, path: str, depth: int) -> Iterator[SchemaChange]:
        before, after = _type(old), _type(new)
        if before != after:
            writers = after is not None and not (before == "integer" and after == "number")
            readers = before is not None and not (before == "number" and after == "integer")
            reason = f"the type was {before or 'anything'} and is {after or 'anything'}"
            yield SchemaChange(path, before, after, reason, writers, readers)
            if writers and readers:
                return
        yield from _values(old, new, path)
        yield from _bounds(old, new, path)
        yield from self._fields(old, new, path, depth)
        yield from self._entries(old, new, path, depth)
        for key in dict.fromkeys((*old, *new)):
            if key not in _JUDGED and old.get(key) != new.get(key):
                reason = f"{key} changed, which cannot be judged"
                yield SchemaChange(path, old.get(key), new.get(key), reason, True, True)
        if ("default" in old or "default" in new) and old.get("default", _ABSENT) != new.get("default", _ABSENT):
            yield SchemaChange(path, old.get("default"), new.get("default"), "another default")

    def _fields(self, old: Schema, new: Schema, path: str, depth: int) -> Iterator[SchemaChange]:
        before, after = _mapping(old, "properties"), _mapping(new, "properties")
        needed, needs = _names(old, "required"), _names(new, "required")
        for name, schema in before.items():
            inner = f"{path}.{name}" if path else name
            if name not in after:
                yield SchemaChange(inner, _shown(schema), None, f"field {name!r} is gone", True, True)
                continue
            yield from self.between(schema, after[name], inner, depth + 1)
            if name in needs and name not in needed:
                yield SchemaChange(inner, None, None, f"{name!r} must be given now", breaks_writers=True)
            elif name in needed and name not in needs:
                yield SchemaChange(inner, None, None, f"{name!r} may be missing now", breaks_readers=True)
        for name, schema in after.items():
            if name not in before:
                inner = f"{path}.{name}" if path else name
                must = name in needs
                reason = f"field {name!r} is new" + (" and must be given" if must else "")
                yield SchemaChange(inner, None, _shown(schema), reason, breaks_writers=must)
        for name in sorted((needed ^ needs) - {*before, *after}):
            reason = f"{name!r} must be given now" if name in needs else f"{name!r} may be missing now"
            yield SchemaChange(f"{path}.{name}" if path else name, None, None, reason, name in needs, name in needed)
        yield from self._others(old, new, path, depth)

    def _others(self, old: Schema, new: Schema, path: str, depth: int) -> Iterator[SchemaChange]:
        """Fields that are not listed."""
        before, after = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from self.between(before, after, f"{path}{{}}", depth + 1)
        elif before != after:
            narrower = after is False or (isinstance(after, dict) and before is True)
            reason = "other fields are refused now" if after is False else "other fields are judged differently"
            yield SchemaChange(path, _shown(before), _shown(after), reason, narrower, not narrower)

    def _entries(self, old: Schema, new: Schema, path: str, depth: int) -> Iterator[SchemaChange]:
        before, after = _list(old, "prefixItems"), _list(new, "prefixItems")
        for n, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from self.between(one, other, f"{path}[{n}]", depth + 1)
        if len(before) != len(after):
            yield SchemaChange(path, len(before), len(after), "it has another number of entries", True, True)
        if "items" in old or "items" in new:
            yield from self.between(old.get("items", True), new.get("items", True), f"{path}[]", depth + 1)


_ABSENT = object()


def _values(old: Schema, new: Schema, path: str) -> Iterator[SchemaChange]:
    before, after = _enum(old), _enum(new)
    if before is None and after is not None:
        yield SchemaChange(path, None, [*after], "only these values are accepted now", breaks_writers=True)
    elif before is not None and after is None:
        yield SchemaChange(path, [*before], None, "any value may come now", breaks_readers=True)
    elif before is not None and after is not None:
        for value in before:
            if value not in after:
                yield SchemaChange(path, value, None, f"the value {value!r} is no longer accepted", breaks_writers=True)
        for value in after:
            if value not in before:
                yield SchemaChange(path, None, value, f"the value {value!r} is new", breaks_readers=True)


def _bounds(old: Schema, new: Schema, path: str) -> Iterator[SchemaChange]:
    for key in sorted(_LOWER | _UPPER):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        if isinstance(before, int | float) and isinstance(after, int | float):
            narrower = after > before if key in _LOWER else after < before
        else:
            narrower = before is None
        reason = f"{key} was {_plainly(before)} and is {_plainly(after)}"
        yield SchemaChange(path, before, after, reason, narrower, not narrower)
    for key in sorted(_REQUIREMENTS):
        before, after = old.get(key), new.get(key)
        if before != after:
            reason = f"{key} was {_plainly(before)} and is {_plainly(after)}"
            yield SchemaChange(path, before, after, reason, after is not None, before is not None)


def _prose(old: Schema, new: Schema, path: str) -> Iterator[SchemaChange]:
    for key in sorted(_ANNOTATIONS & {*old, *new}):
        if old.get(key) != new.get(key):
            yield SchemaChange(path, old.get(key), new.get(key), f"{key} reads differently", prose=True)


def _alternatives(schema: Schema) -> list[Schema]:
    """A union's members; ``type: [a, b]`` and ``nullable`` are unions too."""
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf", "nullable", "discriminator")}
    several = [one for key in ("anyOf", "oneOf") for one in _list(schema, key)]
    made: list[Schema] = []
    if several:
        beside = {key: value for key, value in rest.items() if key not in _ANNOTATIONS | {"default"}}
        for one in several:
            made += [{**beside, **one}] if isinstance(one, dict) else [{}]
    elif isinstance(kinds := schema.get("type"), list):
        made += [{**rest, "type": kind} for kind in kinds]
    else:
        made.append(rest)
    if schema.get("nullable") is True:
        made.append({"type": "null"})
    return made


def _is_union(schema: Schema) -> bool:
    several = _list(schema, "anyOf") or _list(schema, "oneOf") or isinstance(schema.get("type"), list)
    return bool(several) or schema.get("nullable") is True


def _ref(schema: JsonValue) -> str:
    name = schema.get("$ref") if isinstance(schema, dict) else None
    return name if isinstance(name, str) else ""


def _pointed(root: Schema, name: str) -> dict[str, JsonValue] | None:
    if not name.startswith("#/"):
        return None
    found: JsonValue = dict(root)
    for step in name[2:].split("/"):
        key = step.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found if isinstance(found, dict) else None


def _type(schema: Schema) -> str | None:
    kind = schema.get("type")
    if isinstance(kind, str):
        return kind
    return "object" if "properties" in schema else "array" if "items" in schema else None


def _enum(schema: Schema) -> list[JsonValue] | None:
    if "const" in schema:
        return [schema["const"]]
    values = schema.get("enum")
    return values if isinstance(values, list) else None


def _mapping(schema: Schema, key: str) -> dict[str, JsonValue]:
    value = schema.get(key)
    return value if isinstance(value, dict) else {}


def _list(schema: Schema, key: str) -> list[JsonValue]:
    value = schema.get(key)
    return value if isinstance(value, list) else []


def _names(schema: Schema, key: str) -> set[str]:
    return {name for name in _list(schema, key) if isinstance(name, str)}


def _bare(schema: Schema) -> dict[str, JsonValue]:
    return {key: value for key, value in schema.items() if key not in _ANNOTATIONS}


def _named(schema: Schema) -> str:
    return str(schema.get("title") or _type(schema) or _enum(schema) or "another shape")


def _shown(schema: object) -> JsonValue:
    """A short name for a whole shape."""
    if isinstance(schema, dict):
        return _ref(schema).rpartition("/")[2] or _named(schema)
    return schema if isinstance(schema, bool) else None


def _plainly(value: JsonValue) -> str:
    return "free" if value is None else str(value)
