"""Every key of a contract is accounted for: acted on, held, or not known at all. What is not said cannot get lost.

Keys are told apart by the very ``YamlScalar`` that the reader made of them. So a key may be renamed, moved or wrapped on its way
into the one shape, and a key that is nowhere in that shape is one that was not understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, get_args, get_origin

from pydantic import BaseModel

from ..text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .part import Use, use_of
from .payload_fields import unwrap

Loc = tuple[str | int, ...]


class EnumKeyUsage(StrEnum):
    """What became of a key. ``honoured``: somebody acts on it. ``held``: kept, nobody acts. ``unknown``: no field has it."""

    HONOURED = "honoured"
    HELD = "held"
    UNKNOWN = "unknown"


class KeyUsage(NamedTuple):
    """A key as it stands in the text; ``loc`` is its path there."""

    loc: Loc
    leaf: YamlScalar
    usage: EnumKeyUsage
    use: Use


class SortedKeys(NamedTuple):
    """``tree`` holds what the model has fields for, and nothing else; ``usages[id(key leaf)]`` what became of each key in it."""

    tree: YamlMap
    usages: dict[int, tuple[EnumKeyUsage, Use]]


NOBODY = Use(())
ALL = Use.of("check", "diff")


def sort_keys(model: type[BaseModel], tree: YamlMap) -> SortedKeys:
    """Parts from ``tree``, which is in the one shape, what ``model`` has no field for."""
    usages: dict[int, tuple[EnumKeyUsage, Use]] = {}
    kept = _branch(model, tree, usages, held=False)
    return SortedKeys(kept, usages)


def inherit_usage(
    tree: YamlNode,
    usages: dict[int, tuple[EnumKeyUsage, Use]],
    wrappers: Set[int],
    absorbed: Mapping[int, YamlScalar | None],
    above: tuple[EnumKeyUsage, Use] = (EnumKeyUsage.HELD, NOBODY),
) -> None:
    """Gives their usage to keys that stand nowhere in the one shape and yet were understood.

    A wrapper has the best usage within; of one that holds words only, these are rows of the key above, and it has its usage.
    An absorbed key has that of the key which took its value, None being the contract itself.
    """
    if isinstance(tree, YamlList):
        for item in tree.items:
            if not isinstance(item, YamlScalar):
                inherit_usage(item, usages, wrappers, absorbed, above)
    elif isinstance(tree, YamlMap):
        for entry in tree.entries.values():
            if not isinstance(entry.node, YamlScalar):
                own = above if id(entry.key) in wrappers else (EnumKeyUsage.UNKNOWN, NOBODY)
                inherit_usage(entry.node, usages, wrappers, absorbed, usages.get(id(entry.key), own))
            if id(entry.key) in wrappers:
                inside = [id(leaf) for leaf in keys_within(entry.node)]
                within = [usages[one] for one in inside if one in usages]
                if within or not inside:
                    _better(usages, entry.key, *max(within, key=lambda usage: _RANK[usage[0]], default=above))
            elif id(entry.key) in absorbed:
                into = absorbed[id(entry.key)]
                while into is not None and id(into) not in usages and id(into) in absorbed:
                    into = absorbed[id(into)]
                usage = usages.get(id(into)) if into is not None else (EnumKeyUsage.HONOURED, ALL)
                if usage is not None:
                    usages[id(entry.key)] = usage


def keys_of(tree: YamlNode, usages: dict[int, tuple[EnumKeyUsage, Use]]) -> Iterator[KeyUsage]:
    """All keys of a text, in its order, each with its usage; ``tree`` is the text as it was read."""
    for loc, leaf in keys_written(tree):
        usage, use = usages.get(id(leaf), (EnumKeyUsage.UNKNOWN, NOBODY))
        yield KeyUsage(loc, leaf, usage, use)


def keys_written(node: YamlNode, loc: Loc = ()) -> Iterator[tuple[Loc, YamlScalar]]:
    """Every key with its path, in the order of the text."""
    if isinstance(node, YamlMap):
        for name, entry in node.entries.items():
            here = (*loc, name)
            yield here, entry.key
            if not isinstance(entry.node, YamlScalar):
                yield from keys_written(entry.node, here)
    elif isinstance(node, YamlList):
        for n, item in enumerate(node.items):
            if not isinstance(item, YamlScalar):
                yield from keys_written(item, (*loc, n))


def keys_within(node: YamlNode) -> list[YamlScalar]:
    """Every key within, in no order that matters."""
    found: list[YamlScalar] = []
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, YamlMap):
            for entry in current.entries.values():
                found.append(entry.key)
                if not isinstance(entry.node, YamlScalar):
                    waiting.append(entry.node)
        elif isinstance(current, YamlList):
            waiting += [item for item in current.items if not isinstance(item, YamlScalar)]
    return found


def models_of(annotation: object) -> Iterator[type[BaseModel]]:
    """The models that a field holds, alone, in a tuple or as values of a dict."""
    for member in unwrap(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member
        elif get_origin(member) is tuple:
            yield from models_of(get_args(member)[0])
        elif get_origin(member) is dict:
            yield from models_of(get_args(member)[1])


class _Field(NamedTuple):
    """Who acts on a field, the model it holds if any, and whether it is a mapping of such under names of the user's."""

    use: Use
    inner: type[BaseModel] | None
    keyed: bool


@lru_cache(maxsize=256)
def _fields(model: type[BaseModel]) -> Mapping[str, _Field]:
    """Asked for every key of every contract, and the same each time."""
    found = {}
    for name, field in model.model_fields.items():
        keyed = any(get_origin(member) is dict for member in unwrap(field.annotation))
        found[name] = _Field(use_of(model, name), next(models_of(field.annotation), None), keyed)
    return found


def _branch(
    model: type[BaseModel], branch: YamlMap, usages: dict[int, tuple[EnumKeyUsage, Use]], *, held: bool
) -> YamlMap:
    kept: dict[str, YamlEntry] = {}
    fields = _fields(model)
    for name, entry in branch.entries.items():
        field = fields.get(name)
        if field is None:
            _mark(usages, entry, EnumKeyUsage.UNKNOWN, NOBODY)
            continue
        use = NOBODY if held else field.use
        usage = EnumKeyUsage.HONOURED if use.by else EnumKeyUsage.HELD
        if field.inner is None:
            _mark(usages, entry, usage, use)
            kept[name] = entry
            continue
        _better(usages, entry.key, usage, use)
        if field.keyed:
            kept[name] = YamlEntry(entry.key, _keyed(field.inner, entry.node, usages, use))
        else:
            kept[name] = YamlEntry(entry.key, _node(field.inner, entry.node, usages, held=not use.by))
    return YamlMap(kept, branch.place)


def _node(
    model: type[BaseModel], node: YamlNode, usages: dict[int, tuple[EnumKeyUsage, Use]], *, held: bool
) -> YamlNode:
    if isinstance(node, YamlMap):
        return _branch(model, node, usages, held=held)
    if isinstance(node, YamlList):
        return YamlList(tuple(_node(model, item, usages, held=held) for item in node.items), node.place)
    return node


def _keyed(model: type[BaseModel], node: YamlNode, usages: dict[int, tuple[EnumKeyUsage, Use]], use: Use) -> YamlNode:
    """A mapping whose keys are names of the user's, and whose values are ``model``."""
    if not isinstance(node, YamlMap):
        return node
    kept = {}
    for name, entry in node.entries.items():
        _better(usages, entry.key, EnumKeyUsage.HONOURED if use.by else EnumKeyUsage.HELD, use)
        kept[name] = entry._replace(node=_node(model, entry.node, usages, held=not use.by))
    return YamlMap(kept, node.place)


def _mark(usages: dict[int, tuple[EnumKeyUsage, Use]], entry: YamlEntry, usage: EnumKeyUsage, use: Use) -> None:
    _better(usages, entry.key, usage, use)
    if not isinstance(entry.node, YamlScalar):
        for _, leaf in keys_written(entry.node):
            _better(usages, leaf, usage, use)


_RANK = {EnumKeyUsage.UNKNOWN: 0, EnumKeyUsage.HELD: 1, EnumKeyUsage.HONOURED: 2}


def _better(usages: dict[int, tuple[EnumKeyUsage, Use]], leaf: YamlScalar, usage: EnumKeyUsage, use: Use) -> None:
    """A key that stands in two places of the one shape has the better usage of both."""
    before = usages.get(id(leaf))
    if before is None or _RANK[before[0]] < _RANK[usage]:
        usages[id(leaf)] = (usage, use)
