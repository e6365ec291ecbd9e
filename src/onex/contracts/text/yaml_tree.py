"""YAML text becomes a tree in which every value knows its line and column, or findings. Never an exception.

Theory of operation. PyYAML is used as a tokenizer only: its events come one at a time (``_events``), and ``_take`` builds the
tree from them with an explicit stack (``open``). So each limit is checked before anything is built:

- Size: more than BYTES_MAX bytes are not parsed at all. More than NODES_MAX keys and values, or more than DEPTH_MAX levels,
  stop the reading at that event. So no input takes much memory, and no later recursion over the tree is deeper than 32.
- Characters that an editor does not show are findings before parsing. Some of them count as line breaks for PyYAML; then its
  lines would not be the lines of an editor.
- Anchors, aliases, tags, directives, merge keys and a second document are refused. An alias could make a small file huge.
- A plain scalar means what YAML 1.2 says (``yaml_scalar``). One that YAML 1.1 reads otherwise (``yes``, ``0777``, a date) is a
  finding: two readers of one file must not see two values.

After most findings the reading goes on, so that all are reported at once. The refused value stays in the tree as text or None;
a refused key takes the value behind it along (``ignored``). ``_Stop`` ends it where nothing more can be understood: the syntax
is broken, a limit is reached, or FINDINGS_MAX findings are there. Then there is no tree.

Who gets a tree may rely on this: keys are text and unique within a mapping, numbers are finite, and whole numbers lie within
2^53. The tree is never changed. ``model.key_usage`` relies on that: it knows a key by the identity of its ``YamlScalar``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

import yaml
from pydantic import JsonValue

from ...kernel.finding import EnumSeverity, Finding
from .yaml_scalar import Scalar, ScalarRefused, cut, scalar

BYTES_MAX = 256 * 1024
DEPTH_MAX = 32
NODES_MAX = 3_500
FINDINGS_MAX = 100
INCLUDE = "!include"


class YamlPlace(NamedTuple):
    """Where a value begins. Both count from 1; ``(0, 0)`` is the whole file.

    ``path`` is '' in the file that was asked for; in a file that it includes, it is the path of that file.
    """

    line: int
    column: int
    path: str = ""

    def spot(self, path: str) -> tuple[str, int, int]:
        """File, line and column. ``path`` is the file that was asked for."""
        return self.path or path, self.line, self.column


@dataclass(frozen=True, slots=True)
class YamlScalar:
    """``text_at`` is the place of the first character when the text stands on one line as its value is, else None."""

    value: Scalar
    place: YamlPlace
    text_at: YamlPlace | None = None


@dataclass(frozen=True, slots=True)
class YamlInclude(YamlScalar):
    """``!include FILE``: stands for what that file holds. ``value`` names the file, as written."""


class YamlEntry(NamedTuple):
    """A key of a mapping, and its value."""

    key: YamlScalar
    node: YamlNode


@dataclass(frozen=True, slots=True)
class YamlMap:
    """A mapping, in the order written."""

    entries: Mapping[str, YamlEntry]
    place: YamlPlace

    def get(self, name: str) -> YamlNode | None:
        entry = self.entries.get(name)
        return None if entry is None else entry.node


@dataclass(frozen=True, slots=True)
class YamlList:
    """A sequence, in the order written."""

    items: tuple[YamlNode, ...]
    place: YamlPlace


YamlNode = YamlScalar | YamlMap | YamlList
Loc = tuple[str | int, ...]
"""A path from the top of a tree: keys, and positions in lists from 0."""


class YamlText(NamedTuple):
    """``tree`` is None when the text could not be read to its end. There may be findings beside a tree too."""

    tree: YamlNode | None
    findings: tuple[Finding, ...]


def plain(node: YamlNode) -> JsonValue:
    """The value without its places. Depth is bounded by DEPTH_MAX."""
    if isinstance(node, YamlScalar):
        return node.value
    if isinstance(node, YamlList):
        return [plain(item) for item in node.items]
    return {name: plain(entry.node) for name, entry in node.entries.items()}


def located(value: JsonValue, place: YamlPlace) -> YamlNode:
    """A value as a tree that stands at one place. A StrEnum becomes its text."""
    if isinstance(value, dict):
        entries = {name: YamlEntry(YamlScalar(name, place), located(part, place)) for name, part in value.items()}
        return YamlMap(entries, place)
    if isinstance(value, list):
        return YamlList(tuple(located(part, place) for part in value), place)
    return YamlScalar(str(value) if isinstance(value, str) else value, place)


def node_at(node: YamlNode | None, path: Loc) -> YamlNode | None:
    """The node at ``path``; None when the path leads nowhere."""
    for step in path:
        if isinstance(node, YamlMap) and isinstance(step, str):
            node = node.get(step)
        elif isinstance(node, YamlList) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
        else:
            return None
    return node


def place_of(node: YamlNode, path: Loc) -> YamlPlace:
    """The place of the node at ``path``; when the path leads nowhere, that of the last node on it."""
    for step in path:
        if isinstance(node, YamlMap) and isinstance(step, str) and step in node.entries:
            node = node.entries[step].node
        elif isinstance(node, YamlList) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
        else:
            break
    return node.place


def read_yaml(text: str, path: str, *, references: bool = False, included: bool = False) -> YamlText:
    """The tree, and everything that is wrong with ``text`` as YAML. ``path`` only names it in findings.

    With ``references``, for contracts of others, the tag ``!include`` is read as YamlInclude, and a number that is a key as
    text (``429: retry``). Without, both are findings. When ``included``, every place carries ``path``.
    """
    return _Reader(path, references=references, included=included).read(text)


# characters that no editor shows, and line breaks that PyYAML counts and most editors do not
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_LOADER: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end was not read yet."""

    place: YamlPlace
    is_mapping: bool
    entries: dict[str, YamlEntry] = field(default_factory=dict)
    items: list[YamlNode] = field(default_factory=list)
    key: YamlScalar | None = None
    ignored: bool = False  # the next value belongs to a key that was refused


class _Stop(Exception):
    """Nothing after this place can be read."""


class _Mark(Protocol):
    """A place of the parser's, counted from 0. PyYAML's two parsers have two classes for it."""

    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int: ...


class _Reader:
    def __init__(self, path: str, *, references: bool, included: bool) -> None:
        self.path = path
        self.references = references
        self.home = path if included else ""
        self.nodes = 0
        self.findings: list[Finding] = []
        self.open: list[_Open] = []
        self.root: YamlNode | None = None

    def read(self, text: str) -> YamlText:
        text = text.removeprefix("\ufeff")
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > BYTES_MAX:
            message = f"the file has {size:,} bytes; allowed are {BYTES_MAX:,}"
            self._add(YamlPlace(0, 0), "yaml_too_large", message, "split the contract into several workflows")
        elif not self._controls(text):
            try:
                for event in self._events(text):
                    self._take(event)
                if self.root is None and not self.findings:
                    self._add(YamlPlace(0, 0), "yaml_empty", "the file holds no document", "write a contract into it")
            except _Stop:
                self.root = None
        return YamlText(self.root, tuple(self.findings))

    def _controls(self, text: str) -> bool:
        line, column, seen = 1, 1, 0
        for found in islice(_CONTROL.finditer(text), 10):
            before = re.split(r"\r\n|\r|\n", text[seen : found.start()])
            line += len(before) - 1
            column = len(before[-1]) + (1 if len(before) > 1 else column)
            seen = found.start()
            code = ord(found.group())
            self._add(
                YamlPlace(line, column, self.home),
                "yaml_control_character",
                f"the character U+{code:04X} is not allowed in a contract",
                "remove it; inside double quotes it can be written as an escape",
            )
        return bool(self.findings)

    def _events(self, text: str) -> Iterator[yaml.Event]:
        loader = _LOADER(text)
        try:
            while (event := loader.get_event()) is not None:
                yield event
        except yaml.MarkedYAMLError as error:
            place = self._place(error.problem_mark or error.context_mark)
            problem = ", ".join(part for part in (error.context, error.problem) if part)
            self._add(place, "yaml_syntax", f"not YAML: {problem}", _hint(problem, text, place))
            raise _Stop from error
        except yaml.YAMLError as error:
            self._add(YamlPlace(0, 0), "yaml_syntax", f"not YAML: {error}", "")
            raise _Stop from error
        finally:
            loader.dispose()

    def _take(self, event: yaml.Event) -> None:
        # nearly all events are scalars, so they are tested first
        if isinstance(event, yaml.ScalarEvent):
            place = self._begun(event)
            if event.tag is None or not self._tagged(event.tag, str(event.value), place):
                self._put(self._leaf(event, place))
        elif isinstance(event, yaml.CollectionStartEvent):
            place = self._begun(event)
            if event.tag is not None:
                self._tagged(event.tag, None, place)
            if len(self.open) == DEPTH_MAX:
                self._add(place, "yaml_too_deep", f"nested deeper than {DEPTH_MAX} levels", "flatten it")
                raise _Stop
            self.open.append(_Open(place, isinstance(event, yaml.MappingStartEvent)))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            place = self._place(event.start_mark)
            self._add(place, "yaml_alias", f"*{event.anchor} is an alias; contracts have none", "write the value out")
            self._put(YamlScalar(None, place))
        elif isinstance(event, yaml.DocumentStartEvent):
            self._document(event, self._place(event.start_mark))
        if len(self.findings) >= FINDINGS_MAX:
            raise _Stop

    def _begun(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> YamlPlace:
        place = self._place(event.start_mark)
        self.nodes += 1
        if self.nodes > NODES_MAX:
            message = f"more than {NODES_MAX:,} keys and values"
            self._add(place, "yaml_too_many", message, "split the contract into several workflows")
            raise _Stop
        if event.anchor is not None:
            self._add(place, "yaml_anchor", f"&{event.anchor} is an anchor; contracts have none", "remove it")
        return place

    def _tagged(self, tag: str, text: str | None, place: YamlPlace) -> bool:
        """True when the tag made the value (``!include``). ``text`` is None before a list or mapping."""
        if tag == INCLUDE and self.references:
            if text is not None:
                self._put(YamlInclude(text, place))
                return True
            self._add(place, "yaml_tag", f"{INCLUDE} stands before a list or mapping", f"write {INCLUDE} FILE.yaml")
            return False
        shown = cut(tag.replace("tag:yaml.org,2002:", "!!"))
        only = f" but {INCLUDE}" if self.references else ""
        self._add(place, "yaml_tag", f"{shown} is a tag; contracts have none{only}", "remove it")
        return False

    def _document(self, event: yaml.DocumentStartEvent, place: YamlPlace) -> None:
        if event.version or event.tags:
            self._add(place, "yaml_directive", "YAML directives (%) are not allowed", "remove the line")
        if self.root is not None:
            self._add(place, "yaml_documents", "a second document begins here", "one file holds one contract")
            raise _Stop

    def _leaf(self, event: yaml.ScalarEvent, place: YamlPlace) -> YamlScalar:
        text: str = event.value
        end: _Mark | None = event.end_mark
        one_line = end is not None and end.line + 1 == place.line
        if event.style in ("'", '"', "|", ">"):
            verbatim = one_line and end is not None and end.column + 1 - place.column == len(text) + 2
            if event.style == '"' and (hostile := re.search("[\x00\ud800-\udfff]", text)):
                code = ord(hostile.group())
                self._add(place, "yaml_control_character", f"the text holds the character U+{code:04X}", "remove it")
                text = ""
            return YamlScalar(text, place, place._replace(column=place.column + 1) if verbatim else None)
        try:
            return YamlScalar(scalar(text), place, place if one_line else None)
        except ScalarRefused as refusal:
            self._add(place, refusal.code, refusal.message, refusal.fix)
            return YamlScalar(text, place, place if one_line else None)

    def _put(self, node: YamlNode) -> None:
        if not self.open:
            self.root = node
            return
        top = self.open[-1]
        if not top.is_mapping:
            top.items.append(node)
        elif top.key is not None:
            top.entries[str(top.key.value)] = YamlEntry(top.key, node)
            top.key = None
        elif top.ignored:
            top.ignored = False
        else:
            self._key(top, node)

    def _key(self, top: _Open, node: YamlNode) -> None:
        if self.references and isinstance(node, YamlScalar) and type(node.value) is int:
            node = YamlScalar(str(node.value), node.place, node.text_at)
        if not isinstance(node, YamlScalar) or not isinstance(node.value, str):
            what = f"{node.value!r}" if isinstance(node, YamlScalar) else "a mapping or sequence"
            self._add(node.place, "yaml_key", f"a key is a word, not {what}", "write the key in quotes")
            top.ignored = True
        elif node.value in top.entries:
            first = top.entries[node.value].key.place
            message = f"{cut(node.value)!r} stands twice in this mapping, first on line {first.line}"
            self._add(node.place, "yaml_duplicate_key", message, "keep one of them")
            top.ignored = True
        else:
            top.key = node

    def _close(self) -> None:
        done = self.open.pop()
        self._put(YamlMap(done.entries, done.place) if done.is_mapping else YamlList(tuple(done.items), done.place))

    def _place(self, mark: _Mark | None) -> YamlPlace:
        """A parser's mark, counted from 1; without one, the whole file."""
        return YamlPlace(0, 0, self.home) if mark is None else YamlPlace(mark.line + 1, mark.column + 1, self.home)

    def _add(self, place: YamlPlace, code: str, message: str, fix: str) -> None:
        self.findings.append(Finding(code, EnumSeverity.ERROR, *place.spot(self.path), message, fix))


def _hint(problem: str, text: str, place: YamlPlace) -> str:
    # the parser may name a line after the last one
    line = next(islice(re.split(r"\r\n|\r|\n", text), max(place.line - 1, 0), None), "")
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "the line begins with a tab: indent with spaces"
    if "mapping values are not allowed" in problem:
        return "check the indentation above; a text that holds ': ' needs quotes"
    if "expected ',' or" in problem:
        return "close the bracket, or put a comma between the items"
    if "quoted scalar" in problem:
        return "close the quote"
    return "check indentation, brackets and quotes around this place"
