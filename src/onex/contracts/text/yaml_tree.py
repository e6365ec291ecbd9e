"""YAML text becomes a tree that knows the line and column of every value, or findings; never an exception.

Read from the parser's events, one at a time, so that depth, anchors and size are judged before anything is built.
Plain scalars mean what YAML 1.2 says; those on which YAML 1.1 and 1.2 disagree are refused, not guessed.
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

    ``path`` is the file when it is another one than that which was asked for: a file that it includes.
    """

    line: int
    column: int
    path: str = ""

    def spot(self, path: str) -> tuple[str, int, int]:
        """File, line and column, of a text that was read as ``path``."""
        return self.path or path, self.line, self.column


@dataclass(frozen=True, slots=True)
class YamlScalar:
    """A scalar. ``text_at`` is where its first character stands when the value is on one line as written, else None."""

    value: Scalar
    place: YamlPlace
    text_at: YamlPlace | None = None


@dataclass(frozen=True, slots=True)
class YamlInclude(YamlScalar):
    """``!include FILE``: stands for what that file holds. ``value`` names the file, as written."""


class YamlEntry(NamedTuple):
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
    """A sequence."""

    items: tuple[YamlNode, ...]
    place: YamlPlace


YamlNode = YamlScalar | YamlMap | YamlList


class YamlText(NamedTuple):
    """``tree`` is None when the text could not be read to its end; else it stands, with whatever findings beside it."""

    tree: YamlNode | None
    findings: tuple[Finding, ...]


def plain(node: YamlNode) -> JsonValue:
    """The value without its places. Depth is bounded by DEPTH_MAX."""
    if isinstance(node, YamlScalar):
        return node.value
    if isinstance(node, YamlList):
        return [plain(item) for item in node.items]
    return {name: plain(entry.node) for name, entry in node.entries.items()}


def place_of(node: YamlNode, path: tuple[str | int, ...]) -> YamlPlace:
    """Where ``path`` stands; of a path that leads nowhere, the place of the last node on it."""
    for step in path:
        if isinstance(node, YamlMap) and isinstance(step, str) and step in node.entries:
            node = node.entries[step].node
        elif isinstance(node, YamlList) and isinstance(step, int) and 0 <= step < len(node.items):
            node = node.items[step]
        else:
            break
    return node.place


def read_yaml(text: str, path: str, *, references: bool = False, included: bool = False) -> YamlText:
    """Everything wrong with ``text`` as YAML, at once; ``path`` only names it in findings.

    With ``references``, for contracts of others, the tag ``!include`` is read as Include, and a number that is a key as the
    word it is written as (``429: retry``); else both are refused. Of a file that is ``included`` every place says so.
    """
    return _Reader(path, references=references, included=included).read(text)


# what no editor shows and a log should not hold; line breaks of other traditions would part us from the parser's count
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_LOADER: type[yaml.CSafeLoader] | type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class _Open:
    """A mapping or sequence whose end has not been read."""

    place: YamlPlace
    is_mapping: bool
    entries: dict[str, YamlEntry] = field(default_factory=dict)
    items: list[YamlNode] = field(default_factory=list)
    key: YamlScalar | None = None
    ignored: bool = False  # the value to come belongs to a key that was refused


class _Stop(Exception):
    """Nothing after this place can be read with sense."""


class _Mark(Protocol):
    """A place of the parser's, counted from 0. Both of PyYAML's parsers have a class of their own for it."""

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
            self._add(
                YamlPlace(0, 0),
                "yaml_too_large",
                f"the file has {size:,} bytes; allowed are {BYTES_MAX:,}",
                "split the contract into several workflows",
            )
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
        # nearly all events are scalars: they come first, and what few have is asked for at once
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
            told = f"more than {NODES_MAX:,} keys and values"
            self._add(place, "yaml_too_many", told, "split the contract into several workflows")
            raise _Stop
        if event.anchor is not None:
            self._add(place, "yaml_anchor", f"&{event.anchor} is an anchor; contracts have none", "remove it")
        return place

    def _tagged(self, tag: str, text: str | None, place: YamlPlace) -> bool:
        """Whether the tag said all that is to be known of the value; ``text`` is None before a list or mapping."""
        if tag == INCLUDE and self.references:
            if text is not None:
                self._put(YamlInclude(text, place))
                return True
            self._add(place, "yaml_tag", f"{INCLUDE} stands before a list or mapping", f"write {INCLUDE} FILE.yaml")
            return False
        told = cut(tag.replace("tag:yaml.org,2002:", "!!"))
        only = f" but {INCLUDE}" if self.references else ""
        self._add(place, "yaml_tag", f"{told} is a tag; contracts have none{only}", "remove it")
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
            told = f"{node.value!r}" if isinstance(node, YamlScalar) else "a mapping or sequence"
            self._add(node.place, "yaml_key", f"a key is a word, not {told}", "write the key in quotes")
            top.ignored = True
        elif node.value in top.entries:
            first = top.entries[node.value].key.place
            self._add(
                node.place,
                "yaml_duplicate_key",
                f"{cut(node.value)!r} stands twice in this mapping, first on line {first.line}",
                "keep one of them",
            )
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
    # the parser may point behind the last line
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
