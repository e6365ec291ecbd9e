"""Findings for keys that nobody acts on: one for an outermost key with the number of keys in it, and one for rows alike."""

from __future__ import annotations

from collections.abc import Iterator, Set
from difflib import get_close_matches
from typing import NamedTuple

from pydantic import BaseModel

from ...kernel.finding import EnumSeverity, Finding
from ..model.key_usage import EnumKeyUsage, KeyUsage, Usages, keys_of, models_of
from ..text.yaml_tree import FINDINGS_MAX, Loc, YamlMap

LINES_TOLD = 6


class _Group(NamedTuple):
    """An outermost key without effect, at the same place of every row. ``inside`` are all keys within, of all rows."""

    first: KeyUsage
    lines: list[int]
    inside: list[KeyUsage]


def keys_without_effect(
    tree: YamlMap, usages: Usages, gone: Set[int], model: type[BaseModel], path: str
) -> Iterator[Finding]:
    """``tree`` includes its references; a key of an included file is reported in that file. ``gone`` have findings already."""
    groups: dict[tuple[str, str], _Group] = {}
    group, above = None, None
    for key in keys_of(tree, usages):
        if above is not None and group is not None and key.loc[: len(above)] == above:
            if key.usage is not EnumKeyUsage.HONOURED:
                group.inside.append(key)
        elif key.usage is not EnumKeyUsage.HONOURED and id(key.leaf) not in gone:
            above = key.loc
            group = groups.setdefault((generic(key.loc), key.leaf.place.path), _Group(key, [], []))
            group.lines.append(key.leaf.place.line)
        else:
            group, above = None, None
    for n, one in enumerate(groups.values()):
        yield _finding(one, model, path, asked=n < FINDINGS_MAX)


def generic(loc: Loc) -> str:
    """``io_operations[].atomic``: where a key stands, whichever row it is."""
    text = ""
    for step in loc:
        text += "[]" if isinstance(step, int) else f".{step}" if text else step
    return text


def _finding(group: _Group, model: type[BaseModel], path: str, *, asked: bool) -> Finding:
    """``asked``: whether a similar name is searched for. That is slow, so it is done for the first FINDINGS_MAX only."""
    key = group.first
    name = str(key.leaf.value)
    are, them = ("are", "them") if group.inside or len(group.lines) > 1 else ("is", "it")
    within = f" and the {_keys(len(group.inside))} in it" if group.inside else ""
    if len(group.lines) > 1:
        more = ", ".join(str(line) for line in group.lines[1 : LINES_TOLD + 1])
        rest = len(group.lines) - 1 - LINES_TOLD
        lines = f"also on line{'s' if len(group.lines) > 2 else ''} {more}{f' and {rest} more' if rest > 0 else ''}"
        within = f"{within} ({lines})"
    place = key.leaf.place.spot(path)
    if key.usage is EnumKeyUsage.HELD:
        message = f"`{generic(key.loc)}`{within} {are} read and kept; nothing here acts on {them}"
        unknown = [one for one in group.inside if one.usage is EnumKeyUsage.UNKNOWN]
        if unknown:
            named = ", ".join(dict.fromkeys(f"`{one.leaf.value}` on line {one.leaf.place.line}" for one in unknown[:3]))
            message += f", and {_keys(len(unknown))} of them {'are' if len(unknown) > 1 else 'is'} not known: {named}"
            message += ", .." if len(unknown) > 3 else ""
        return Finding("not_honoured", EnumSeverity.INFO, *place, message)
    near = _near(name, _known(model, key.loc)) if asked and 3 < len(name) <= 60 else ""
    message = f"`{generic(key.loc)}`{within} {are} not known; nothing follows from {them}"
    return Finding("unknown_key", EnumSeverity.WARNING if near else EnumSeverity.INFO, *place, message, near)


def _near(name: str, known: list[str]) -> str:
    """There are many foreign keys, so only a nearly equal name counts as a typing error."""
    size = len(name)
    # singular and plural are two keys; an equal name is there already, under another spelling
    known = [one for one in known if name not in (one, f"{one}s") and f"{name}s" != one]
    alike = [one for one in known if abs(len(one) - size) <= 2 and (one[0] == name[0] or one[-1] == name[-1])]
    close = get_close_matches(name, alike, 1, 0.85)
    return f"did you mean {close[0]!r}?" if close else ""


def _keys(count: int) -> str:
    return f"{count} key{'' if count == 1 else 's'}"


def _known(model: type[BaseModel], loc: Loc) -> list[str]:
    """The fields at ``loc`` when the path is the same in the normalised tree, else none."""
    current: type[BaseModel] | None = model
    for step in loc[:-1]:
        if isinstance(step, int) or current is None:
            continue
        field = current.model_fields.get(step)
        current = next(models_of(field.annotation), None) if field else None
    return list(current.model_fields) if current else []
