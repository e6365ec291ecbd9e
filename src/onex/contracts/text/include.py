"""``!include FILE`` and ``$ref: FILE#/pointer`` are replaced by what the file holds, inside bounds; nothing else is followed.

    {"$ref": "fsm.yaml"}              the file's value in the place of the mapping
    {"$ref": "fsm.yaml", "a": 1}      both mappings as one; what stands here wins
    {"$ref": "#/definitions/Order"}   left alone: JSON Schema, not a file

Who reads files is given (``IncludeReader``); this decides what may be asked for, how often, how deep and how much.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from ...kernel.finding import EnumSeverity, Finding
from .yaml_scalar import cut
from .yaml_tree import (
    BYTES_MAX,
    DEPTH_MAX,
    FINDINGS_MAX,
    NODES_MAX,
    YamlEntry,
    YamlInclude,
    YamlList,
    YamlMap,
    YamlNode,
    YamlScalar,
    read_yaml,
)

REF = "$ref"
NESTED_MAX = 10
FILES_MAX = 100
BYTES_INCLUDED_MAX = 4 * BYTES_MAX


class IncludedFile(NamedTuple):
    """A file inside the repository. ``path`` is the one name it is shown by, however it was reached."""

    text: str
    path: str


class IncludeRefused(NamedTuple):
    """Why a reference is not followed, and what to write instead."""

    code: str
    message: str
    fix: str


class IncludeMissing(NamedTuple):
    """The reference may be followed, but there is no file. ``path`` is where it was looked for."""

    path: str


class IncludeReader(Protocol):
    """Finds the file ``reference``, as written in the file ``including``. Never raises for what they say."""

    def __call__(self, including: str, reference: str) -> IncludedFile | IncludeRefused | IncludeMissing: ...


class ResolvedTree(NamedTuple):
    """``tree`` has no reference left that was followed. ``followed[id(key)]`` is, for the key leaf of each ``$ref`` of the
    asked text that was, the key above it: None at the top. Those keys stand nowhere in the tree.
    """

    tree: YamlNode
    findings: tuple[Finding, ...]
    followed: Mapping[int, YamlScalar | None]
    paths: tuple[str, ...]


def resolve_includes(tree: YamlNode, path: str, fetch: IncludeReader | None) -> ResolvedTree:
    """``tree`` was read from ``path`` with ``references``. Without ``fetch`` each reference is told and left as it is."""
    if not _refers(tree):
        return ResolvedTree(tree, (), {}, ())
    work = _Resolver(tree, path, fetch)
    whole = work.node(tree, _At((path,), 0, None))
    return ResolvedTree(whole, tuple(work.findings), work.followed, tuple(work.trees))


class _At(NamedTuple):
    """``files``: those that include one another, the innermost last. ``depth``: levels above. ``key``: the nearest above."""

    files: tuple[str, ...]
    depth: int
    key: YamlScalar | None

    def below(self, key: YamlScalar | None) -> _At:
        return self._replace(depth=self.depth + 1, key=key)


class _Left(Exception):
    """A reference that is not followed, and why. Without words, what is wrong was told where it stands."""

    def __init__(self, severity: EnumSeverity, *words: str) -> None:
        super().__init__(*words)
        self.severity = severity
        self.words = words


class _Resolver:
    """``nodes``: how many more keys and values may be read or put in; over all files they are no more than in one."""

    def __init__(self, tree: YamlNode, path: str, fetch: IncludeReader | None) -> None:
        self.path = path
        self.fetch = fetch
        self.findings: list[Finding] = []
        self.followed: dict[int, YamlScalar | None] = {}
        self.trees: dict[str, YamlNode | None] = {}
        self.files = 0
        self.bytes = 0
        self.whole = tree
        self.nodes = -1

    def node(self, node: YamlNode, at: _At) -> YamlNode:
        """Parts without a reference are given back as they are, not copied."""
        if isinstance(node, YamlInclude):
            found = self._followed(node, str(node.value), at)
            return YamlScalar(node.value, node.place) if found is None else found
        if isinstance(node, YamlScalar):
            return node
        if isinstance(node, YamlList):
            items = [self.node(item, at.below(at.key)) for item in node.items]
            same = all(new is old for new, old in zip(items, node.items, strict=True))
            return node if same else YamlList(tuple(items), node.place)
        return self._branch(node, at)

    def _branch(self, branch: YamlMap, at: _At) -> YamlNode:
        entries: dict[str, YamlEntry] = {}
        same = True
        for name, entry in branch.entries.items():
            node = self.node(entry.node, at.below(entry.key))
            same = same and node is entry.node
            entries[name] = entry._replace(node=node)
        if not same:
            branch = YamlMap(entries, branch.place)
        reference = branch.entries.get(REF)
        if reference is None or not isinstance(reference.node, YamlScalar) or not isinstance(reference.node.value, str):
            return branch
        if reference.node.value.startswith("#"):
            return branch
        rest = {name: entry for name, entry in branch.entries.items() if name != REF}
        found = self._followed(reference.node, reference.node.value, at, beside=bool(rest))
        if found is None:
            return branch
        if not reference.key.place.path:
            self.followed[id(reference.key)] = at.key
        return YamlMap({**found.entries, **rest}, branch.place) if rest and isinstance(found, YamlMap) else found

    def _followed(self, leaf: YamlScalar, reference: str, at: _At, *, beside: bool = False) -> YamlNode | None:
        """What ``reference`` stands for, itself whole; None when it is not followed, which is told at ``leaf``."""
        try:
            found = self._find(reference, at)
            if beside and not isinstance(found, YamlMap):
                told = f"{cut(reference)} holds no mapping, and other keys stand beside this {REF}"
                raise _refused("reference_shape", told, "remove the keys beside it, or refer to a mapping")
        except _Left as left:
            if left.words:
                code, message, fix = left.words
                self._add(Finding(code, left.severity, *leaf.place.spot(self.path), message, fix))
            return None
        return found

    def _find(self, reference: str, at: _At) -> YamlNode:
        """Raises _Left."""
        name, _, pointer = reference.partition("#")
        got = self._fetched(name, at)
        fresh = got.path not in self.trees
        if fresh:
            self.trees[got.path] = self._read(got)
        tree = self.trees[got.path]
        if tree is None:
            raise _Left(EnumSeverity.ERROR)
        found = _pointed(tree, pointer)
        if found is None:
            told = f"{got.path} has nothing at #{cut(pointer)}"
            raise _Left(EnumSeverity.WARNING, "reference_missing", told, "mend what stands behind the #")
        if at.depth + _height(found) > DEPTH_MAX:
            told = f"with {cut(reference)} in this place, it is nested deeper than {DEPTH_MAX} levels"
            raise _refused("reference_too_deep", told, "flatten it")
        self._spend(0 if fresh else _size(found))
        return self.node(found, _At((*at.files, got.path), at.depth, at.key))

    def _fetched(self, name: str, at: _At) -> IncludedFile:
        """Raises _Left for what may not be asked for, and for what is not given."""
        refusal = _unfit(name)
        if refusal is not None:
            raise _refused(*refusal)
        if len(at.files) > NESTED_MAX:
            told = f"files include one another more than {NESTED_MAX} deep"
            raise _refused("reference_too_deep", told, "include fewer levels")
        self.files += 1
        if self.files > FILES_MAX:
            raise _refused("reference_too_many", f"more than {FILES_MAX} references are followed", "include less")
        if self.fetch is None:
            told = f"{cut(name)} is not read here"
            raise _Left(EnumSeverity.WARNING, "reference_not_followed", told, "check the file where it stands")
        got = self.fetch(at.files[-1], name)
        if isinstance(got, IncludeRefused):
            raise _refused(*got)
        if isinstance(got, IncludeMissing):
            told = f"there is no file {got.path}"
            raise _Left(EnumSeverity.WARNING, "reference_missing", told, "write the file, or remove the reference")
        if got.path in at.files:
            circle = " -> ".join((*at.files[at.files.index(got.path) :], got.path))
            raise _refused("reference_cycle", f"files include one another: {circle}", "remove one of them")
        return got

    def _read(self, got: IncludedFile) -> YamlNode | None:
        """Raises _Left when it would be too much in all."""
        self.bytes += len(got.text)
        if self.bytes > BYTES_INCLUDED_MAX:
            told = f"the files included hold more than {BYTES_INCLUDED_MAX // 1024:,} KiB in all"
            raise _refused("reference_too_large", told, "include less")
        source = read_yaml(got.text, got.path, references=True, included=True)
        for finding in source.findings:
            self._add(finding)
        if source.tree is not None:
            self._spend(_size(source.tree))
        return source.tree

    def _spend(self, nodes: int) -> None:
        if self.nodes < 0:
            self.nodes = max(0, NODES_MAX - _size(self.whole))
        self.nodes -= nodes
        if self.nodes < 0:
            self.nodes = 0
            told = f"with the files included there are more than {NODES_MAX:,} keys and values"
            raise _refused("reference_too_large", told, "include less")

    def _add(self, finding: Finding) -> None:
        if len(self.findings) < FINDINGS_MAX and finding not in self.findings:
            self.findings.append(finding)


def _refused(code: str, message: str, fix: str) -> _Left:
    return _Left(EnumSeverity.ERROR, code, message, fix)


def _unfit(name: str) -> IncludeRefused | None:
    """Why a name can be no file of this repository, told by its letters alone."""
    relative = "write the path of a file in this repository, relative to this one, with slashes"
    told = cut(name)
    if not name.strip() or not name.isprintable():
        return IncludeRefused("reference_refused", f"{told!r} names no file", relative)
    if "://" in name or name.startswith(("//", "file:", "http:", "https:", "data:")):
        return IncludeRefused("reference_refused", f"{told} is an address; nothing is fetched", relative)
    if name.startswith(("/", "~")) or name[1:2] == ":":
        return IncludeRefused("reference_refused", f"{told} is an absolute path", relative)
    if "\\" in name:
        return IncludeRefused("reference_refused", f"{told} holds a backslash", relative)
    if ".." in name.split("/"):
        return IncludeRefused("reference_refused", f"{told} climbs with ..", "move the file below this one")
    return None


def _pointed(tree: YamlNode, pointer: str) -> YamlNode | None:
    """What a JSON pointer (RFC 6901) leads to; '' and '/' are the whole."""
    node: YamlNode | None = tree
    for part in pointer.split("/")[1:] if pointer.strip("/") else ():
        step = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, YamlMap):
            node = node.get(step)
        elif isinstance(node, YamlList) and step.isdecimal() and len(step) < 6 and int(step) < len(node.items):
            node = node.items[int(step)]
        else:
            return None
    return node


def _refers(tree: YamlNode) -> bool:
    """Whether there may be anything to follow; asked of every contract, and true of few."""
    waiting: list[YamlNode] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, YamlMap):
            if REF in node.entries:
                return True
            waiting.extend([entry.node for entry in node.entries.values()])
        elif isinstance(node, YamlList):
            waiting.extend(node.items)
        elif isinstance(node, YamlInclude):
            return True
    return False


def _height(node: YamlNode) -> int:
    """Levels of mappings and lists; bounded by DEPTH_MAX, since it was read."""
    if isinstance(node, YamlScalar):
        return 0
    inner = (entry.node for entry in node.entries.values()) if isinstance(node, YamlMap) else iter(node.items)
    return 1 + max(map(_height, inner), default=0)


def _size(node: YamlNode) -> int:
    """How many keys and values."""
    if isinstance(node, YamlScalar):
        return 1
    if isinstance(node, YamlList):
        return 1 + sum(map(_size, node.items))
    return 1 + len(node.entries) + sum(_size(entry.node) for entry in node.entries.values())
