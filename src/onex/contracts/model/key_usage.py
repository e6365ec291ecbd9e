"""What becomes of every key of a contract: somebody acts on it, it is held, or no field has it. So no key is lost in silence.

Theory of operation. A key is known by the identity (``id``) of the ``YamlScalar`` that the YAML reader made of it. Normalising
may rename, move or copy an entry, but the key object stays the same. So both sides can be compared without any path:

1. ``sort_keys`` walks the normalised tree along the fields of the model. It writes into ``usages[id(key)]`` whether a field
   exists and who acts on it (``Use``), and it returns the tree without the keys that have no field.
2. ``inherit_usage`` walks the text as written. A key that is nowhere in the normalised tree and was understood all the same gets
   its usage from another key: a *wrapper* that only held other keys has the best usage of those inside. An *absorbed* key has
   that of the key which took its value; ``absorbed`` may form a chain, which is followed to its end. No step joins two keys
   both ways, so a chain has an end.
3. ``keys_of`` lists every key as written. A key without an entry in ``usages`` was not understood: it is UNKNOWN.

Two rules keep the count honest. A key below a held key is held too, whatever its own field says: nobody looks there. And a key
with two places in the normalised tree has the better usage of both (``_better``), because somebody does act on it.

The ids stay valid while the trees live; all callers hold them until they are done.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, get_args, get_origin

from pydantic import BaseModel

from ..text.yaml_tree import Loc, YamlEntry, YamlList, YamlMap, YamlNode, YamlScalar
from .part import Use, use_of
from .payload_fields import unwrap


class EnumKeyUsage(StrEnum):
    """``honoured``: somebody acts on the key. ``held``: it is kept, and nobody acts on it. ``unknown``: no field has it."""

    HONOURED = "honoured"
    HELD = "held"
    UNKNOWN = "unknown"


class KeyUsage(NamedTuple):
    """A key as it stands in the text; ``loc`` is its path there."""

    loc: Loc
    leaf: YamlScalar
    usage: EnumKeyUsage
    use: Use


Usages = dict[int, tuple[EnumKeyUsage, Use]]
"""By the id of a key."""


class SortedKeys(NamedTuple):
    """``tree`` holds only what the model has fields for; ``usages[id(key)]`` is the usage of each key, also of those left out."""

    tree: YamlMap
    usages: Usages


NOBODY = Use(())
ALL = Use.of("check", "diff")


def sort_keys(model: type[BaseModel], tree: YamlMap) -> SortedKeys:
    """Separates from ``tree``, which is normalised, what ``model`` has no field for."""
    usages: Usages = {}
    kept = _branch(model, tree, usages, held=False)
    return SortedKeys(kept, usages)


def inherit_usage(
    tree: YamlNode,
    usages: Usages,
    wrappers: Set[int],
    absorbed: Mapping[int, YamlScalar | None],
    above: tuple[EnumKeyUsage, Use] = (EnumKeyUsage.HELD, NOBODY),
) -> None:
    """Adds to ``usages`` the keys that are not in the normalised tree and yet were understood.

    ``tree`` is the text as written. ``wrappers`` are ids of keys that only hold others. One that holds no keys holds rows of the
    key above, and has its usage, ``above``. ``absorbed[id(key)]`` is the key that took the value; None is the contract itself.
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


def keys_of(tree: YamlNode, usages: Usages) -> Iterator[KeyUsage]:
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
    """The models that a field holds: alone, in a tuple or as values of a dict."""
    for member in unwrap(annotation):
        if isinstance(member, type) and issubclass(member, BaseModel):
            yield member
        elif get_origin(member) is tuple:
            yield from models_of(get_args(member)[0])
        elif get_origin(member) is dict:
            yield from models_of(get_args(member)[1])


class _Field(NamedTuple):
    """``inner`` is the model that the field holds. ``keyed``: it is a mapping whose keys are the user's own names."""

    use: Use
    inner: type[BaseModel] | None
    keyed: bool


@lru_cache(maxsize=256)
def _fields(model: type[BaseModel]) -> Mapping[str, _Field]:
    """Cached, because it is asked for every key of every contract."""
    found = {}
    for name, field in model.model_fields.items():
        keyed = any(get_origin(member) is dict for member in unwrap(field.annotation))
        found[name] = _Field(use_of(model, name), next(models_of(field.annotation), None), keyed)
    return found


def _branch(model: type[BaseModel], branch: YamlMap, usages: Usages, *, held: bool) -> YamlMap:
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


def _node(model: type[BaseModel], node: YamlNode, usages: Usages, *, held: bool) -> YamlNode:
    if isinstance(node, YamlMap):
        return _branch(model, node, usages, held=held)
    if isinstance(node, YamlList):
        return YamlList(tuple(_node(model, item, usages, held=held) for item in node.items), node.place)
    return node


def _keyed(model: type[BaseModel], node: YamlNode, usages: Usages, use: Use) -> YamlNode:
    """A mapping whose keys are the user's own names, and whose values are ``model``."""
    if not isinstance(node, YamlMap):
        return node
    kept = {}
    for name, entry in node.entries.items():
        _better(usages, entry.key, EnumKeyUsage.HONOURED if use.by else EnumKeyUsage.HELD, use)
        kept[name] = entry._replace(node=_node(model, entry.node, usages, held=not use.by))
    return YamlMap(kept, node.place)


def _mark(usages: Usages, entry: YamlEntry, usage: EnumKeyUsage, use: Use) -> None:
    _better(usages, entry.key, usage, use)
    if not isinstance(entry.node, YamlScalar):
        for _, leaf in keys_written(entry.node):
            _better(usages, leaf, usage, use)


_RANK = {EnumKeyUsage.UNKNOWN: 0, EnumKeyUsage.HELD: 1, EnumKeyUsage.HONOURED: 2}


def _better(usages: Usages, leaf: YamlScalar, usage: EnumKeyUsage, use: Use) -> None:
    """A key with two places in the normalised tree has the better usage of both."""
    before = usages.get(id(leaf))
    if before is None or _RANK[before[0]] < _RANK[usage]:
        usages[id(leaf)] = (usage, use)
