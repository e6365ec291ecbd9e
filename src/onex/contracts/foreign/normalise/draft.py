"""The tools of the normaliser: a mapping that can be changed, tables of spellings, and values that many blocks share.

Keys are renamed, moved and made. Each keeps the YamlScalar that it was read as, by which ``model.key_usage`` finds it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from ....kernel.finding import EnumSeverity, Finding
from ...text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlPlace, YamlScalar

MS_PER_SECOND = 1000


@dataclass(slots=True)
class Notes:
    """Findings of the normaliser, and the keys that were understood and are not in the result.

    ``wrappers`` are keys that only hold others: their usage is the best within. ``absorbed[id(key)]`` is the key into whose
    value this one's went.
    """

    path: str
    findings: list[Finding] = field(default_factory=list)
    wrappers: set[int] = field(default_factory=set)
    absorbed: dict[int, YamlScalar] = field(default_factory=dict)

    def _add(self, severity: EnumSeverity, place: YamlPlace, code: str, message: str, fix: str = "") -> None:
        self.findings.append(Finding(code, severity, *place.spot(self.path), message, fix))

    def info(self, place: YamlPlace, code: str, message: str, fix: str = "") -> None:
        self._add(EnumSeverity.INFO, place, code, message, fix)

    def warn(self, place: YamlPlace, code: str, message: str, fix: str = "") -> None:
        self._add(EnumSeverity.WARNING, place, code, message, fix)

    def error(self, place: YamlPlace, code: str, message: str, fix: str = "") -> None:
        self._add(EnumSeverity.ERROR, place, code, message, fix)

    def wrapped(self, key: YamlScalar) -> None:
        self.wrappers.add(id(key))

    def joined(self, key: YamlScalar, into: YamlScalar) -> None:
        if key is not into:
            self.absorbed[id(key)] = into


class MapBuilder:
    """A copy of a YamlMap that can be changed. ``branch`` returns the result."""

    __slots__ = ("entries", "place")

    def __init__(self, branch: YamlMap) -> None:
        self.entries: dict[str, YamlEntry] = dict(branch.entries)
        self.place = branch.place

    def __contains__(self, name: str) -> bool:
        return name in self.entries

    def node(self, name: str) -> YamlNode | None:
        entry = self.entries.get(name)
        return None if entry is None else entry.node

    def take(self, *names: str) -> YamlEntry | None:
        """Removes and returns the first of ``names`` that is there."""
        for name in names:
            if name in self.entries:
                return self.entries.pop(name)
        return None

    def put(self, name: str, entry: YamlEntry | None) -> None:
        """Does nothing when ``name`` is taken, or for None."""
        if entry is not None and name not in self.entries:
            self.entries[name] = entry

    def make(self, name: str, node: YamlNode) -> None:
        """An entry whose key nobody wrote."""
        self.put(name, made(name, node))

    def reshape(self, shape: ToShape, notes: Notes, *names: str) -> None:
        """Brings the values of those of ``names`` that are there into ``shape``."""
        for name in names:
            entry = self.entries.get(name)
            if entry is not None:
                self.entries[name] = entry._replace(node=shape(entry.node, notes))

    def blocks(self, table: Blocks, notes: Notes) -> None:
        """For each row of ``table``: the block is looked for under its other names too, and brought into its shape."""
        for name, (others, shape) in table.items():
            if name not in self.entries:
                self.put(name, self.take(*others))
            self.reshape(shape, notes, name)

    def leave(self, name: str, rest: Mapping[str, YamlEntry]) -> None:
        """Of the mapping under ``name`` only ``rest`` stays; when that is empty, nothing does."""
        entry = self.entries.pop(name)
        if rest:
            self.entries[name] = entry._replace(node=YamlMap(rest, entry.node.place))

    def extend(self, name: str, key: YamlScalar, items: Iterable[YamlNode]) -> None:
        """Adds rows under ``name``. A list that is there keeps its key; the caller says that ``key`` was joined to it."""
        rows = tuple(items)
        there = self.entries.get(name)
        if there is None:
            self.entries[name] = YamlEntry(key, YamlList(rows, key.place))
        elif isinstance(there.node, YamlList):
            self.entries[name] = there._replace(node=YamlList((*there.node.items, *rows), there.node.place))

    def branch(self) -> YamlMap:
        return YamlMap(self.entries, self.place)


ToShape = Callable[[YamlNode, Notes], YamlNode]
"""Normalises one value. It returns what it does not understand as it is; the typed model refuses that later."""
Blocks = Mapping[str, tuple[tuple[str, ...], ToShape]]
"""Field: its other spellings, and how its value is normalised."""


@dataclass(frozen=True, slots=True)
class KeyTable:
    """The ways a block is written, as data.

    ``names[as written] -> field``; ``scale[as written] -> factor`` to the field's unit; ``shapes[field] -> Shape``.
    A field's own name needs no entry, and comes before any other for it.
    """

    names: Mapping[str, str] = field(default_factory=dict)
    shapes: Mapping[str, ToShape] = field(default_factory=dict)

    def applied(self, branch: YamlMap, notes: Notes) -> YamlMap:
        """The mapping under our names. A second key for one field keeps its own name, so it is reported as unknown."""
        taken = set(branch.entries) & set(self.names.values())
        entries: dict[str, YamlEntry] = {}
        for written, entry in branch.entries.items():
            name = self.names.get(written, written)
            if name != written and name in taken:
                entries[written] = entry
                continue
            taken.add(name)
            node = scaled(entry.node, MS_PER_SECOND) if in_seconds(written, name) else entry.node
            shape = self.shapes.get(name)
            entries[name] = YamlEntry(entry.key, shape(node, notes) if shape else node)
        return YamlMap(entries, branch.place)

    def __call__(self, node: YamlNode, notes: Notes) -> YamlNode:
        return self.applied(node, notes) if isinstance(node, YamlMap) else node


def aliases(**fields: str) -> dict[str, str]:
    """``aliases(to_state="to target") -> {"to": "to_state", "target": "to_state"}``."""
    return {written: name for name, others in fields.items() for written in others.split()}


def in_seconds(written: str, name: str) -> bool:
    """Whether a key says by its own name that it counts seconds, while its field counts milliseconds."""
    return written.endswith(("seconds", "_s")) and name.endswith("_ms")


def made(name: str, node: YamlNode) -> YamlEntry:
    """An entry whose key nobody wrote."""
    return YamlEntry(YamlScalar(name, node.place), node)


def text_of(node: YamlNode | None) -> str:
    """The text a node holds, or ''."""
    return node.value.strip() if isinstance(node, YamlScalar) and isinstance(node.value, str) else ""


def scaled(node: YamlNode, factor: int) -> YamlNode:
    """A time in the field's unit: ``interval_seconds: 30`` is ``interval_ms: 30000``."""
    if isinstance(node, YamlScalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        value = node.value * factor
        return YamlScalar(int(value) if value == int(value) else value, node.place)
    return node


def words(node: YamlNode, notes: Notes) -> YamlNode:
    """One word becomes a list of one, null an empty list."""
    if isinstance(node, YamlScalar):
        return YamlList(() if node.value is None else (node,), node.place)
    return node


def text(node: YamlNode, notes: Notes) -> YamlNode:
    """A number or boolean where a word is expected becomes text. Anything else stays."""
    if isinstance(node, YamlScalar) and isinstance(node.value, bool):
        return YamlScalar("true" if node.value else "false", node.place)
    if isinstance(node, YamlScalar) and isinstance(node.value, int | float):
        return YamlScalar(str(node.value), node.place)
    return node


def texts(node: YamlNode, notes: Notes) -> YamlNode:
    listed = words(node, notes)
    return (
        YamlList(tuple(text(item, notes) for item in listed.items), listed.place)
        if isinstance(listed, YamlList)
        else listed
    )


def each(shape: ToShape, *, key: str = "", word: str = "") -> ToShape:
    """Rows of blocks. ``key``: a mapping of blocks is rows, its keys go into that field. ``word``: a bare text is that field."""

    def row(item: YamlNode, notes: Notes) -> YamlNode:
        if word and isinstance(item, YamlScalar) and isinstance(item.value, str):
            item = YamlMap({word: made(word, item)}, item.place)
        return shape(item, notes)

    def rows(node: YamlNode, notes: Notes) -> YamlNode:
        if isinstance(node, YamlMap) and key and key not in node.entries:
            if not all(_nameable(entry.node, word) for entry in node.entries.values()):
                return node
            return YamlList(tuple(shape(named(entry, key, word), notes) for entry in node.entries.values()), node.place)
        if isinstance(node, YamlList):
            return YamlList(tuple(row(item, notes) for item in node.items), node.place)
        if isinstance(node, YamlMap):
            return YamlList((shape(node, notes),), node.place)
        if node.value is None:
            return YamlList((), node.place)
        return YamlList((row(node, notes),), node.place) if word else node

    return rows


def _nameable(node: YamlNode, word: str) -> bool:
    return isinstance(node, YamlMap) or (
        isinstance(node, YamlScalar) and (node.value is None or bool(word and text_of(node)))
    )


def named(entry: YamlEntry, key: str, word: str = "") -> YamlMap:
    """``NAME: {...}`` as ``{key: NAME, ...}``; a bare text behind the name goes into ``word``."""
    own = YamlEntry(entry.key, YamlScalar(entry.key.value, entry.key.place, entry.key.text_at))
    if isinstance(entry.node, YamlMap):
        inside = {key: own, **{name: one for name, one in entry.node.entries.items() if name != key}}
        if key in entry.node.entries:
            inside[f"{key}_"] = entry.node.entries[key]
        return YamlMap(inside, entry.node.place)
    if word and text_of(entry.node):
        return YamlMap({key: own, word: made(word, entry.node)}, entry.key.place)
    return YamlMap({key: own}, entry.key.place)


PARTS = ("major", "minor", "patch")
_WRITTEN = re.compile(r"[vV]?(\d{1,9})(?:[._](\d{1,9}))?(?:[._](\d{1,9}))?")


def version(node: YamlNode, notes: Notes) -> YamlNode:
    """A mapping of three numbers; what is no version is returned as it is, and refused by the model."""
    if isinstance(node, YamlMap):
        entries = {name: _numbered(entry) if name in PARTS else entry for name, entry in node.entries.items()}
        if "major" in entries:
            for part in PARTS[1:]:
                entries.setdefault(part, made(part, YamlScalar(0, node.place)))
        return YamlMap(entries, node.place)
    if not isinstance(node, YamlScalar) or node.value is None or isinstance(node.value, bool):
        return node
    if isinstance(node.value, float):
        # 1.10 has become 1.1 in the reader: say so, since nobody can tell any more
        notes.info(
            node.place,
            "version_number",
            f"the version {node.value} is written as a number, which loses a zero at its end",
            f'write "{node.value}" in quotes, or {{major: .., minor: .., patch: ..}}',
        )
    written = str(node.value).strip()
    found = _WRITTEN.match(written)
    if found is None or (found.end() < len(written) and written[found.end()] not in "-+._ "):
        return node
    if found.end() < len(written):
        read = ".".join(part or "0" for part in found.groups())
        message = f"the version {written[:60]!r} is read as {read}; what follows is not compared"
        notes.warn(node.place, "version_suffix", message, "write the three numbers")
    numbers = [int(part or 0) for part in found.groups()]
    return YamlMap(
        {part: made(part, YamlScalar(n, node.place)) for part, n in zip(PARTS, numbers, strict=True)}, node.place
    )


def _numbered(entry: YamlEntry) -> YamlEntry:
    node = entry.node
    if isinstance(node, YamlScalar) and isinstance(node.value, str) and re.fullmatch(r"\d{1,9}", node.value):
        return entry._replace(node=YamlScalar(int(node.value), node.place))
    return entry
