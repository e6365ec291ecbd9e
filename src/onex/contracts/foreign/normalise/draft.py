"""A mapping on its way into the one shape. Keys are renamed, moved and made; each keeps the Leaf it was read as.

So whoever accounts for the keys afterwards finds every one that was written, wherever it has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ....kernel.finding import EnumSeverity, Finding
from ...text.tree import Branch, Entry, Leaf, Node, Place, Row


@dataclass(slots=True)
class Notes:
    """What is said on the way, and what became of keys that have no place of their own in the one shape.

    ``wrappers`` are keys that only hold others: their fate is the best within. ``absorbed[id(key)]`` is the key into whose
    value this one's went.
    """

    path: str
    findings: list[Finding] = field(default_factory=list)
    wrappers: set[int] = field(default_factory=set)
    absorbed: dict[int, Leaf] = field(default_factory=dict)

    def told(self, severity: EnumSeverity, place: Place, code: str, message: str, fix: str = "") -> None:
        self.findings.append(Finding(code, severity, *place.spot(self.path), message, fix))

    def info(self, place: Place, code: str, message: str, fix: str = "") -> None:
        self.told(EnumSeverity.INFO, place, code, message, fix)

    def warn(self, place: Place, code: str, message: str, fix: str = "") -> None:
        self.told(EnumSeverity.WARNING, place, code, message, fix)

    def error(self, place: Place, code: str, message: str, fix: str = "") -> None:
        self.told(EnumSeverity.ERROR, place, code, message, fix)

    def wrapped(self, key: Leaf) -> None:
        self.wrappers.add(id(key))

    def joined(self, key: Leaf, into: Leaf) -> None:
        if key is not into:
            self.absorbed[id(key)] = into


class Draft:
    """A Branch that may be changed. ``made`` gives the changed one; the one it came from stays as it is."""

    __slots__ = ("entries", "place")

    def __init__(self, branch: Branch) -> None:
        self.entries: dict[str, Entry] = dict(branch.entries)
        self.place = branch.place

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def node(self, name: str) -> Node | None:
        entry = self.entries.get(name)
        return None if entry is None else entry.node

    def take(self, *names: str) -> Entry | None:
        """The first that is there, which then is there no more."""
        for name in names:
            if name in self.entries:
                return self.entries.pop(name)
        return None

    def put(self, name: str, entry: Entry | None) -> None:
        """Nothing is overwritten and nothing is made of None."""
        if entry is not None and name not in self.entries:
            self.entries[name] = entry

    def make(self, name: str, node: Node) -> None:
        """An entry whose key nobody wrote."""
        self.put(name, made(name, node))

    def extend(self, name: str, key: Leaf, items: Iterable[Node]) -> None:
        """More rows under ``name``. The key that gave them is absorbed by the one that is there."""
        rows = tuple(items)
        there = self.entries.get(name)
        if there is None:
            self.entries[name] = Entry(key, Row(rows, key.place))
        elif isinstance(there.node, Row):
            self.entries[name] = there._replace(node=Row((*there.node.items, *rows), there.node.place))

    def branch(self) -> Branch:
        return Branch(self.entries, self.place)


Shape = Callable[[Node, Notes], Node]
"""How a value is brought into shape. What it does not understand it returns as it is: the model refuses it then."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """The ways a block is written, as data.

    ``names[as written] -> field``; ``scale[as written] -> factor`` to the field's unit; ``shapes[field] -> Shape``.
    A field's own name needs no entry, and comes before any other for it.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    scale: Mapping[str, int] = field(default_factory=dict)

    def applied(self, branch: Branch, notes: Notes) -> Branch:
        """A second key for one field keeps its own name, under which no field is: it will be reported."""
        taken = set(branch.entries) & set(self.names.values())
        entries: dict[str, Entry] = {}
        for written, entry in branch.entries.items():
            name = self.names.get(written, written)
            if name != written and name in taken:
                entries[written] = entry
                continue
            taken.add(name)
            node = scaled(entry.node, self.scale[written]) if written in self.scale else entry.node
            shape = self.shapes.get(name)
            entries[name] = Entry(entry.key, shape(node, notes) if shape else node)
        return Branch(entries, branch.place)

    def __call__(self, node: Node, notes: Notes) -> Node:
        return self.applied(node, notes) if isinstance(node, Branch) else node


def made(name: str, node: Node) -> Entry:
    """An entry whose key nobody wrote."""
    return Entry(Leaf(name, node.place), node)


def text_of(node: Node | None) -> str:
    """The text a node holds, or ''."""
    return node.value.strip() if isinstance(node, Leaf) and isinstance(node.value, str) else ""


def items_of(node: Node | None) -> tuple[Node, ...]:
    return node.items if isinstance(node, Row) else ()


def branches(node: Node | None) -> Iterator[Branch]:
    for item in items_of(node):
        if isinstance(item, Branch):
            yield item


def scaled(node: Node, factor: int) -> Node:
    """A time in the field's unit: ``interval_seconds: 30`` is ``interval_ms: 30000``."""
    if isinstance(node, Leaf) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        value = node.value * factor
        return Leaf(int(value) if value == int(value) else value, node.place)
    return node


def words(node: Node, notes: Notes) -> Node:
    """One word where a list is meant is a list of one; nothing is an empty list."""
    if isinstance(node, Leaf):
        return Row(() if node.value is None else (node,), node.place)
    return node


def text(node: Node, notes: Notes) -> Node:
    """A number or switch where a word is meant is its word. A list of words on its way into one is left."""
    if isinstance(node, Leaf) and isinstance(node.value, bool):
        return Leaf("true" if node.value else "false", node.place)
    if isinstance(node, Leaf) and isinstance(node.value, int | float):
        return Leaf(str(node.value), node.place)
    return node


def texts(node: Node, notes: Notes) -> Node:
    listed = words(node, notes)
    return Row(tuple(text(item, notes) for item in listed.items), listed.place) if isinstance(listed, Row) else listed


def switch(node: Node, notes: Notes) -> Node:
    """``"true"`` in quotes is meant as true."""
    said = text_of(node).lower()
    return Leaf(said == "true", node.place) if said in ("true", "false") else node


def each(shape: Shape, *, key: str = "", word: str = "") -> Shape:
    """Rows of blocks. ``key``: a mapping of blocks is rows, its keys go into that field. ``word``: a bare text is that field."""

    def row(item: Node, notes: Notes) -> Node:
        if word and isinstance(item, Leaf) and isinstance(item.value, str):
            item = Branch({word: made(word, item)}, item.place)
        return shape(item, notes)

    def rows(node: Node, notes: Notes) -> Node:
        if isinstance(node, Branch) and key and key not in node.entries:
            if not all(_nameable(entry.node, word) for entry in node.entries.values()):
                return node
            return Row(tuple(shape(named(entry, key, word), notes) for entry in node.entries.values()), node.place)
        if isinstance(node, Row):
            return Row(tuple(row(item, notes) for item in node.items), node.place)
        if isinstance(node, Branch):
            return Row((shape(node, notes),), node.place)
        if node.value is None:
            return Row((), node.place)
        return Row((row(node, notes),), node.place) if word else node

    return rows


def _nameable(node: Node, word: str) -> bool:
    return isinstance(node, Branch) or (isinstance(node, Leaf) and (node.value is None or bool(word and text_of(node))))


def named(entry: Entry, key: str, word: str = "") -> Branch:
    """``NAME: {...}`` as ``{key: NAME, ...}``; a bare text behind the name goes into ``word``."""
    own = Entry(entry.key, Leaf(entry.key.value, entry.key.place, entry.key.text_at))
    if isinstance(entry.node, Branch):
        inside = {key: own, **{name: one for name, one in entry.node.entries.items() if name != key}}
        if key in entry.node.entries:
            inside[f"{key}_"] = entry.node.entries[key]
        return Branch(inside, entry.node.place)
    if word and text_of(entry.node):
        return Branch({key: own, word: made(word, entry.node)}, entry.key.place)
    return Branch({key: own}, entry.key.place)
