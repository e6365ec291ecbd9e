"""Models that stand in a contract: ``models: {Order: {id: str, cents: int, note: str?}}`` becomes classes of payloads.

A type is ``str int float bool datetime dict Blob``, another model, ``list of TYPE`` or ``dict of TYPE``; with ``?`` behind it the
field may be left out, and is null then. The classes are made anew at each load, and the same text gives the same fields.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Union

from pydantic import AwareDatetime, BaseModel, JsonValue, create_model

from ...kernel.action import Blob, Payload
from ...kernel.finding import EnumSeverity, Finding
from ..guard.problem import suggest
from ..text.yaml_tree import Loc, YamlMap, place_of

_PLAIN: Mapping[str, object] = {
    "str": str, "int": int, "float": float, "bool": bool, "datetime": AwareDatetime, "dict": dict[str, JsonValue],
    "list": tuple[JsonValue, ...], "Blob": Blob,
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")


class _Refused(Exception):
    def __init__(self, loc: Loc, message: str, fix: str) -> None:
        super().__init__(message)
        self.loc, self.message, self.fix = loc, message, fix


class DeclaredModels:
    """``classes[name]``; a model that is wrong is left out, and ``findings`` say why."""

    def __init__(self, tree: YamlMap, declared: Mapping[str, Mapping[str, JsonValue]], path: str) -> None:
        self._declared, self._making = declared, list[str]()
        self.classes: dict[str, type[BaseModel]] = {}
        self.findings: list[Finding] = []
        for name in declared:
            self._making.clear()
            try:
                self._model(name, (name,))
            except _Refused as refused:
                spot = place_of(tree, ("models", *refused.loc)).spot(path)
                finding = Finding("model_type", EnumSeverity.ERROR, *spot, refused.message, refused.fix)
                if finding not in self.findings:
                    self.findings.append(finding)

    def _model(self, name: str, loc: Loc) -> type[BaseModel]:
        if name in self.classes:
            return self.classes[name]
        if name in self._making:
            ring = " -> ".join((*self._making[self._making.index(name) :], name))
            raise _Refused(loc, f"models hold each other without end: {ring}", "put a list or an id in one of them")
        if _NAME.fullmatch(name) is None or name in _PLAIN:
            raise _Refused(
                loc, f"no model can be called {name!r}", "begin with a capital letter, then letters and digits"
            )
        self._making.append(name)
        fields = dict(self._fields(name))
        made: type[BaseModel] = create_model(name, __base__=Payload, **fields)  # type: ignore[call-overload]  # fields of data
        self._making.pop()
        self.classes[name] = made
        return made

    def _fields(self, name: str) -> Iterator[tuple[str, tuple[object, object]]]:
        for field, text in self._declared[name].items():
            loc: Loc = (name, field)
            if _FIELD.fullmatch(field) is None or hasattr(Payload, field):
                raise _Refused(loc, f"no field can be called {field!r}", "use small letters, digits and _")
            if not isinstance(text, str):
                raise _Refused(loc, f"{name}.{field} has no type", "write a type, for example str")
            bare = text.removesuffix("?").strip()
            kind = self._type(bare, loc)
            # of a type that is known now only, which no type checker can read
            yield field, (Union[kind, None], None) if text.endswith("?") else (kind, ...)  # noqa: UP007  # as said above

    def _type(self, text: str, loc: Loc) -> object:
        outer, of, inner = text.partition(" of ")
        if of and outer == "list":
            return tuple[self._type(inner.strip(), loc), ...]  # type: ignore[misc]  # a type that is known now only
        if of and outer == "dict":
            return dict[str, self._type(inner.strip(), loc)]  # type: ignore[misc]  # as above
        if text in _PLAIN:
            return _PLAIN[text]
        if text in self._declared:
            return self._model(text, loc)
        known = [*_PLAIN, *self._declared, "list of TYPE"]
        fix = suggest(text, known) or f"use one of {', '.join(known)}"
        raise _Refused(loc, f"{text!r} is no type", fix)
