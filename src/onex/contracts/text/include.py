"""``!include FILE`` and ``$ref: FILE#/pointer`` are replaced by what the file holds, within limits. Nothing else is followed.

    {"$ref": "fsm.yaml"}              the file's value in the place of the mapping
    {"$ref": "fsm.yaml", "a": 1}      both mappings as one; what stands here wins
    {"$ref": "#/definitions/Order"}   left alone: JSON Schema, not a file

Theory of operation. ``_Resolver.node`` walks the tree and copies only the parts in which something was replaced. For each
reference, in this order:

1. ``_unfit``: the name must be a relative path below this repository. Addresses, absolute paths, ``..``, backslashes and
   invisible characters are refused before anybody is asked. The caller's ``IncludeReader`` reads files and refuses what leaves the
   repository by a symbolic link; this module touches no file.
2. Limits: NESTED_MAX files within one another, FILES_MAX references, BYTES_INCLUDED_MAX text, and in all the NODES_MAX keys and
   values of a single file. A file that is referred to twice is read once and counted twice: else ten small files that include
   one another doubly would come to thousands of copies.
3. A file that is being resolved may not be included again (a cycle). Nor may the result be deeper than DEPTH_MAX.
4. The part behind ``#`` is looked up in that file alone, and its own references are resolved relative to that file.

A reference that fails stays in the tree as it was written, with one finding at its place. A missing file is a warning, because
contracts are also checked apart from their repository; a refused one is an error.

What the reader of key usage relies on: the key ``$ref`` of a followed reference is no longer in the tree, and ``followed`` says
which key took its value. All other keys keep their objects.
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
    """A file of the repository. ``path`` is its one name in findings, whichever reference led to it."""

    text: str
    path: str


class IncludeRefused(NamedTuple):
    """Why a reference is not followed, and what to write instead."""

    code: str
    message: str
    fix: str


class IncludeMissing(NamedTuple):
    """The reference is allowed, but there is no file at ``path``."""

    path: str


class IncludeReader(Protocol):
    """Reads the file ``reference``, as written in the file ``including``. Never raises."""

    def __call__(self, including: str, reference: str) -> IncludedFile | IncludeRefused | IncludeMissing: ...


class ResolvedTree(NamedTuple):
    """``tree`` with each followed reference replaced.

    ``followed[id(key)]``: for the key of each followed ``$ref`` of the first file, the key above it, None at the top. ``paths``
    are the files that were read.
    """

    tree: YamlNode
    findings: tuple[Finding, ...]
    followed: Mapping[int, YamlScalar | None]
    paths: tuple[str, ...]


def resolve_includes(tree: YamlNode, path: str, fetch: IncludeReader | None) -> ResolvedTree:
    """``tree`` was read from ``path`` with ``references``. Without ``fetch`` each reference is a warning and stays."""
    if not _refers(tree):
        return ResolvedTree(tree, (), {}, ())
    work = _Resolver(tree, path, fetch)
    whole = work.node(tree, _At((path,), 0, None))
    return ResolvedTree(whole, tuple(work.findings), work.followed, tuple(work.trees))


class _At(NamedTuple):
    """``files``: those being resolved, the innermost last. ``depth``: levels above. ``key``: the nearest key above."""

    files: tuple[str, ...]
    depth: int
    key: YamlScalar | None

    def below(self, key: YamlScalar | None) -> _At:
        return self._replace(depth=self.depth + 1, key=key)


class _Left(Exception):
    """A reference that is not followed. ``words``: code, message and fix; empty when that was reported already."""

    def __init__(self, severity: EnumSeverity, *words: str) -> None:
        super().__init__(*words)
        self.severity = severity
        self.words = words


class _Resolver:
    """``nodes``: how many more keys and values may be read or copied, -1 before it was counted."""

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
        """A part without a reference is returned itself, not a copy."""
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
        """What ``reference`` stands for, resolved; None when it is not followed, after a finding at ``leaf``."""
        try:
            found = self._find(reference, at)
            if beside and not isinstance(found, YamlMap):
                message = f"{cut(reference)} holds no mapping, and other keys stand beside this {REF}"
                raise _refused("reference_shape", message, "remove the keys beside it, or refer to a mapping")
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
        is_new = got.path not in self.trees
        if is_new:
            self.trees[got.path] = self._read(got)
        tree = self.trees[got.path]
        if tree is None:
            raise _Left(EnumSeverity.ERROR)
        found = _pointed(tree, pointer)
        if found is None:
            message = f"{got.path} has nothing at #{cut(pointer)}"
            raise _Left(EnumSeverity.WARNING, "reference_missing", message, "correct what stands behind the #")
        if at.depth + _height(found) > DEPTH_MAX:
            message = f"with {cut(reference)} in this place, it is nested deeper than {DEPTH_MAX} levels"
            raise _refused("reference_too_deep", message, "flatten it")
        self._spend(0 if is_new else _size(found))
        return self.node(found, _At((*at.files, got.path), at.depth, at.key))

    def _fetched(self, name: str, at: _At) -> IncludedFile:
        """Raises _Left for a name that is not allowed, and for a file that is refused or missing."""
        refusal = _unfit(name)
        if refusal is not None:
            raise _refused(*refusal)
        if len(at.files) > NESTED_MAX:
            message = f"files include one another more than {NESTED_MAX} deep"
            raise _refused("reference_too_deep", message, "include fewer levels")
        self.files += 1
        if self.files > FILES_MAX:
            raise _refused("reference_too_many", f"more than {FILES_MAX} references are followed", "include less")
        if self.fetch is None:
            message = f"{cut(name)} is not read here"
            raise _Left(EnumSeverity.WARNING, "reference_not_followed", message, "check the file where it stands")
        got = self.fetch(at.files[-1], name)
        if isinstance(got, IncludeRefused):
            raise _refused(*got)
        if isinstance(got, IncludeMissing):
            message = f"there is no file {got.path}"
            raise _Left(EnumSeverity.WARNING, "reference_missing", message, "write the file, or remove the reference")
        if got.path in at.files:
            circle = " -> ".join((*at.files[at.files.index(got.path) :], got.path))
            raise _refused("reference_cycle", f"files include one another: {circle}", "remove one of them")
        return got

    def _read(self, got: IncludedFile) -> YamlNode | None:
        """Raises _Left when the files together are too large."""
        self.bytes += len(got.text)
        if self.bytes > BYTES_INCLUDED_MAX:
            message = f"the files included hold more than {BYTES_INCLUDED_MAX // 1024:,} KiB in all"
            raise _refused("reference_too_large", message, "include less")
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
            message = f"with the files included there are more than {NODES_MAX:,} keys and values"
            raise _refused("reference_too_large", message, "include less")

    def _add(self, finding: Finding) -> None:
        if len(self.findings) < FINDINGS_MAX and finding not in self.findings:
            self.findings.append(finding)


def _refused(code: str, message: str, fix: str) -> _Left:
    return _Left(EnumSeverity.ERROR, code, message, fix)


def _unfit(name: str) -> IncludeRefused | None:
    """Why a name cannot be a file of this repository; None when it can."""
    relative = "write the path of a file in this repository, relative to this one, with slashes"
    shown = cut(name)
    if not name.strip() or not name.isprintable():
        return IncludeRefused("reference_refused", f"{shown!r} names no file", relative)
    if "://" in name or name.startswith(("//", "file:", "http:", "https:", "data:")):
        return IncludeRefused("reference_refused", f"{shown} is an address; nothing is fetched", relative)
    if name.startswith(("/", "~")) or name[1:2] == ":":
        return IncludeRefused("reference_refused", f"{shown} is an absolute path", relative)
    if "\\" in name:
        return IncludeRefused("reference_refused", f"{shown} holds a backslash", relative)
    if ".." in name.split("/"):
        return IncludeRefused("reference_refused", f"{shown} leaves its folder with ..", "move the file below this one")
    return None


def _pointed(tree: YamlNode, pointer: str) -> YamlNode | None:
    """What a JSON pointer (RFC 6901) leads to; '' and '/' are the whole file."""
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
    """Whether there may be a reference. Few contracts have one; the others are not walked a second time."""
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
    """Levels of mappings and lists, at most DEPTH_MAX."""
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
