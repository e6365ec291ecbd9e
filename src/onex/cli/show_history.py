"""What happened to one instance, for ``onex show --history``: its actions with who sent what, and the tries of its intents."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import orjson

from ..ports import LogEntry, Pointer
from ..views.hidden import HiddenFields
from ..views.intent_story import IntentStory, took_ms
from ..views.stored_value import intent_names, parse_json
from .console import harmless, note, now_us, say, short, styled, table, when

PAYLOAD_CHARACTERS: Final = 400
_INDENT: Final = " " * 11


def show_history(entries: Sequence[LogEntry], hide: HiddenFields | None) -> None:
    """One line per action, and its payload below. A payload is cut to 400 characters, on a terminal to its width."""
    now, room, cut = now_us(), _room(), False
    below: list[str] = []
    for entry in entries:
        value = parse_json(entry.row.payload)
        text = harmless(orjson.dumps(hide.hide(value) if hide is not None else value).decode())
        below.append("" if value in (None, {}) else short(text, room))
        cut = cut or len(text) > room
    table(
        ["  version", "trigger", "status", "by", "intents", "when"],
        [
            [
                f"  {entry.version}",
                entry.row.kind,
                entry.row.status,
                entry.row.issuer,
                ", ".join(intent_names(entry.row.intents)),
                when(entry.row.issued_us, now),
            ]
            for entry in entries
        ],
        right=(0,),
        below=[f"{_INDENT}{styled(text, 'dim')}" if text else "" for text in below],
    )
    if cut:
        note("payloads are cut; with --json they are whole")


def show_attempts(stories: Sequence[IntentStory], stands: Mapping[Pointer, str]) -> None:
    """Each intent with what became of it, and below it the tries that are kept, each with where your code raised.

    Several intents of one name in a step have an ``n``, as in the log. ``stands`` is the word for each open one.
    """
    now = now_us()
    if not stories:
        say("  no intents were emitted")
    for story in stories:
        which = f" n={story.n}" if story.of_name > 1 else ""
        end = harmless(_end(story, stands.get(story.pointer, story.state)))
        say(f"  {harmless(story.name)}{which} of version {story.emitted_at}: {end}")
        if not story.tries:
            continue
        rows = [
            [
                f"    {one.attempt}",
                when(one.ended_us, now),
                "" if (ms := took_ms(one)) is None else f"{ms:,.1f} ms",
                one.outcome.value.replace("_", " "),
                ": ".join(part for part in (one.code, one.message) if part),
            ]
            for one in story.tries
        ]
        table(
            ["  try", "ended", "took", "outcome", "why"],
            rows,
            right=(0, 2),
            below=[trace_lines(one.trace, " " * 7) for one in story.tries],
        )


def trace_lines(trace: str, indent: str) -> str:
    """The frames of a kept trace, indented, one per line; '' for none."""
    return "\n".join(f"{indent}{styled(harmless(from_here(line)), 'dim')}" for line in trace.splitlines())


def from_here(place: str) -> str:
    """A path, perhaps with a line behind it, as seen from the working directory, if it is below it."""
    return place.removeprefix(os.path.join(os.getcwd(), ""))


def _end(story: IntentStory, stands: str) -> str:
    number = story.tries_made
    tries = f"{number} {'try' if number == 1 else 'tries'}" if number else ""
    if story.trigger:
        after = f"after {tries}, " if tries else ""
        return (
            f"{after}{story.trigger} at version {story.version}, {story.after_us / 1000:,.0f} ms after it was emitted"
        )
    if story.state == "ended":
        return f"{story.ended_as or 'ended'}{f' after {tries}' if tries else ''}"
    return ", ".join(part for part in (stands, f"{tries} so far" if tries else "", story.error) if part)


def _room() -> int:
    """How much of a payload is shown."""
    if not sys.stdout.isatty():
        return PAYLOAD_CHARACTERS
    return min(PAYLOAD_CHARACTERS, max(20, shutil.get_terminal_size().columns - len(_INDENT)))
