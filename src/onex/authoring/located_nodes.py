"""Values as nodes of a located tree: each has the place of the call in Python that declared it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from ..contracts.text.yaml_tree import YamlEntry, YamlList, YamlMap, YamlNode, YamlPlace, YamlScalar, located
from .intents import SourcePlace

Show = Callable[[str], str]
"""A file as Python names it -> the path that a person is shown."""


class LocatedNodes:
    """``home`` is the file that declares the workflow. A place in another file of the app names that file."""

    def __init__(self, home: str, show: Show) -> None:
        self._home, self._show = home, show

    def of(self, value: JsonValue, place: SourcePlace) -> YamlNode:
        return located(value, self._place(place))

    def mapping(self, parts: Mapping[str, YamlNode], place: SourcePlace) -> YamlMap:
        at = self._place(place)
        return YamlMap({name: YamlEntry(YamlScalar(name, at), node) for name, node in parts.items()}, at)

    def listing(self, items: Sequence[YamlNode], place: SourcePlace) -> YamlList:
        return YamlList(tuple(items), self._place(place))

    def _place(self, place: SourcePlace) -> YamlPlace:
        return YamlPlace(place.line, place.column, "" if place.path == self._home else self._show(place.path))
