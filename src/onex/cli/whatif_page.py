"""A what-if as one page for a reviewer: totals first, then each class of difference with its worst examples.

The page fetches nothing and runs nothing. Whatever comes from a store is text: ``Html`` is the only thing that is not escaped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final, NamedTuple

from ..whatif.result import DifferenceClass, DifferenceGroup, InstanceResult, IntentChange, WhatIfSummary, WhatIfTotals
from ..whatif.value_diff import Changes
from .console import counted, harmless

OPEN_AT_FIRST: Final = 3


class WhatIfQuestion(NamedTuple):
    """What was compared with what, as given to the command."""

    app: str | None
    against: str
    store: str
    type: str | None
    since: str | None
    budget: str | None


class Html(str):
    """Text that goes into the page unescaped."""

    __slots__ = ()


def element(name: str, *inside: str, kind: str = "", **attributes: str) -> Html:
    """``<name class=kind ...>inside</name>``; what is inside is escaped unless it is Html."""
    given = {"class": kind, **attributes} if kind else attributes
    words = "".join(f' {one}="{escape(harmless(value))}"' for one, value in given.items())
    return Html(f"<{name}{words}>{''.join(map(_safe, inside))}</{name}>")


def _safe(text: str) -> str:
    return text if isinstance(text, Html) else escape(harmless(text))


def joined(parts: Iterable[str]) -> Html:
    return Html("".join(map(_safe, parts)))


def write_page(path: Path, asked: WhatIfQuestion, tally: WhatIfSummary, fired: int, passed: Sequence[str]) -> None:
    """Whole or not at all. Raises OSError."""
    text = page(asked, tally, fired, passed)
    with NamedTemporaryFile("w", dir=path.parent, prefix=".", suffix=".html", delete=False, encoding="utf-8") as file:
        try:
            file.write(text)
        except BaseException:
            os.unlink(file.name)
            raise
    os.chmod(file.name, 0o644)  # readable by others, unlike a temporary file
    os.replace(file.name, path)


def page(asked: WhatIfQuestion, tally: WhatIfSummary, fired: int, passed: Sequence[str]) -> str:
    style = files(__package__).joinpath("whatif_page.css").read_text(encoding="utf-8")
    title = f"What if it ran on {asked.against}?"
    body = element(
        "main",
        element("h1", title),
        _asked(asked, tally.totals),
        _budget(asked, passed),
        _totals(tally.totals),
        _groups(tally),
        _foot(tally.totals, fired),
    )
    head = joined(
        (
            Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width">'),
            element("title", title),
            element("style", Html(style)),
        )
    )
    return f"<!doctype html>\n<html lang=en><head>{head}</head><body>{body}</body></html>\n"


def _asked(asked: WhatIfQuestion, totals: WhatIfTotals) -> Html:
    narrowed = [f"only {asked.type}"] * (asked.type is not None) + [f"since {asked.since}"] * (asked.since is not None)
    parts = [
        f"{counted(totals.instances, 'instance')} with {counted(totals.actions, 'action')} as recorded in {asked.store}",
        f"made by {asked.app}" if asked.app else "the code that made them was not given",
        *narrowed,
    ]
    return element("p", " · ".join(parts), kind="asked")


def _budget(asked: WhatIfQuestion, passed: Sequence[str]) -> Html:
    if not asked.budget:
        return Html("")
    if passed:
        return element("p", f"Over budget: {'; '.join(passed)}", kind="over")
    return element("p", f"Within budget: {asked.budget}", kind="within")


# --- totals -----------------------------------------------------------------------------------------------------------


def _totals(totals: WhatIfTotals) -> Html:
    cards = [
        ("same", totals.same, "every action as recorded"),
        ("differs", totals.differs, "an action has another result"),
        ("open", totals.opened, "not compared to the end"),
        ("refused", totals.refused, f"{counted(totals.refused_actions, 'action')} not taken"),
        ("stranded", totals.stranded, "nothing would move it"),
    ]
    shown = [
        element(
            "div",
            element("b", f"{count:,}"),
            element("span", name),
            element("small", _share(count, totals.instances)),
            element("small", about),
            kind=f"card {name}" if count else "card none",
        )
        for name, count, about in cards
    ]
    parts = (("same", totals.same), ("differs", totals.differs), ("open", totals.opened_only))
    bar = [
        element("i", kind=name, style=f"flex-grow:{count}", title=f"{name}: {count:,}")
        for name, count in parts
        if count
    ]
    return joined((element("div", *bar, kind="bar"), element("div", *shown, kind="cards"), _intents_line(totals)))


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f}%" if of else "-"


def _intents_line(totals: WhatIfTotals) -> Html:
    if not (totals.added or totals.lost or totals.changed):
        return element("p", "The same intents would be emitted, as far as they were compared.", kind="asked")
    text = f"Intents: {totals.added:,} added, {totals.lost:,} lost, {totals.changed:,} changed."
    return element("p", text, kind="asked")


# --- classes of difference --------------------------------------------------------------------------------------------


def _groups(tally: WhatIfSummary) -> Html:
    ranked = tally.ranked()
    if not ranked:
        return Html("")
    heading = element("h2", f"{len(ranked)} kind{'s' * (len(ranked) != 1)} of difference")
    shown = [_group(alike, group, tally.totals.instances, number) for number, (alike, group) in enumerate(ranked)]
    return joined((heading, *shown))


def _group(alike: DifferenceClass, group: DifferenceGroup, of: int, number: int) -> Html:
    where = [element("code", alike.workflow_type)]
    if alike.status:
        where += [Html(" in "), element("code", alike.status)]
    if alike.trigger:
        where += [Html(", on "), element("code", alike.trigger)]
    marks = [element("em", part, kind="what") for part in alike.what.split("; ")]
    tolls = [f"{group.opened:,} open"] * bool(group.opened) + [f"{group.stranded:,} stranded"] * bool(group.stranded)
    summary = element(
        "summary",
        element("b", f"{group.instances:,}"),
        element("span", *where, kind="where"),
        element("span", *marks, kind="marks"),
        element("small", " · ".join((_share(group.instances, of), *tolls))),
    )
    first, *others = group.examples
    inside = joined((summary, _example(first), _others(others, group.instances - 1)))
    opened = " open" if number < OPEN_AT_FIRST else ""
    return Html(f"<details{opened}>{inside}</details>")


def _others(examples: Sequence[InstanceResult], like_it: int) -> Html:
    """Collapsed: the first example of a kind is usually enough."""
    if not examples:
        return element("p", f"and {like_it:,} more like it", kind="asked") if like_it else Html("")
    some = f"{len(examples)} of the " if len(examples) < like_it else ""
    summary = element("summary", f"{some}{like_it:,} more like it", kind="more")
    return Html(f"<details>{joined((summary, *map(_example, examples)))}</details>")


def _example(result: InstanceResult) -> Html:
    parts: list[str] = [element("h3", element("code", str(result.key)))]
    lines: list[str] = []
    if (first := result.first) is not None:
        lines.append(f"version {first.version}, {first.trigger}: {first.why}")
    if result.folded and not result.status:
        lines.append(f"does not begin; recorded: {result.recorded_status!r}")
    elif result.folded and result.recorded_status != result.status:
        lines.append(f"ends in {result.status!r}, recorded: {result.recorded_status!r}")
    if (opened := result.opened) is not None:
        on = f" ({opened.trigger})" if opened.trigger else ""
        lines.append(f"open from version {opened.version}{on} of {result.actions}: {opened.why}")
    if result.stranded:
        lines.append(f"stranded: {result.stranded}")
    parts.append(element("ul", *(element("li", line) for line in lines)))
    if result.state is None:
        parts.append(
            element("p", "Its state at that point is not known: the code that made it is not at hand.", kind="asked")
        )
    else:
        at = result.actions if opened is None else opened.version - 1
        parts.append(_state(result.state, at))
    parts.append(_intents(result))
    if result.refused:
        rows = [(str(one.version), one.trigger, f"{one.code}: {one.message}") for one in result.refused]
        parts.append(_table("Refused actions", ("version", "action", "why"), rows, result.counts.get("refused", 0)))
    return element("section", *parts)


def _state(changes: Changes, version: int) -> Html:
    if not changes.total:
        return Html("")
    rows = [(one.path or "all of it", _gone(one.old), _gone(one.new)) for one in changes.first]
    return _table(f"State at version {version}", ("field", "recorded", "now"), rows, changes.total)


def _intents(result: InstanceResult) -> Html:
    if not result.intents:
        return Html("")
    rows = [(f"{one.version}", one.name, *_sides(one)) for one in result.intents]
    total = sum(result.counts.get(how, 0) for how in ("added", "lost", "changed"))
    return _table("Intents", ("version", "intent", "recorded", "now"), rows, total)


def _sides(one: IntentChange) -> tuple[str, str]:
    """Recorded and new payload; of an intent that both emit, only what differs."""
    if one.changes.total:
        old = [f"{change.path}: {change.old or 'absent'}" for change in one.changes.first]
        new = [f"{change.path}: {change.new or 'absent'}" for change in one.changes.first]
        return ", ".join(old), ", ".join(new)
    return _gone(one.old), _gone(one.new)


def _gone(text: str) -> Html:
    return element("s", "absent") if not text else Html(_safe(text))


def _table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> Html:
    head = element("tr", *(element("th", name, kind=name) for name in heads))
    body = [
        element("tr", *(element("td", cell, kind=name) for name, cell in zip(heads, row, strict=True))) for row in rows
    ]
    cut = f"{caption} (the first {len(rows)} of {total:,})" if total > len(rows) else caption
    return element("table", element("caption", cut), head, *body)


def _foot(totals: WhatIfTotals, fired: int) -> Html:
    lines = [
        f"Effects fired: {fired}.",
        "A recorded outcome is used only where the other code emits the same intent with the same payload, a timer only "
        "where it is set for the same time. From where that is not so, an instance is open: nothing beyond is compared, and "
        "it does not count as the same.",
    ]
    if totals.unseen:
        lines.append(f"In {totals.unseen:,} of the same, states in between could not be compared by value.")
    return element("footer", *(element("p", line) for line in lines))
