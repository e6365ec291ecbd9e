"""What became of each intent of an instance: its tries, and the action that its outcome was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from ..kernel.intent import CANCEL, intent_id, outcome_id
from ..ports import Attempt, EnumAttempt, LogEntry, OutboxRow, Pointer
from .stored_value import is_failure, iso, parse_json, position_text


@dataclass(frozen=True, slots=True)
class IntentStory:
    """One intent. ``n`` counts, from 0, the ``of_name`` intents of its name in the step that emitted it.

    ``state``: that of its row (waiting, held, dead), else ``ended``.

    ``trigger`` is what its outcome came back as, at ``version``, ``after_us`` microseconds after the intent was emitted; '' and 0
    when none did. ``tries`` are those that are kept: none for an intent whose first try succeeded.
    ``succeeded``: its outcome carries no failure. ``ended_as``: how it ended without an outcome, in words, as far as the log and
    the kept tries tell; else ''.
    """

    pointer: Pointer
    name: str
    n: int
    of_name: int
    emitted_at: int
    state: str
    error: str
    trigger: str
    version: int
    after_us: int
    tries: Sequence[Attempt]
    succeeded: bool = False
    ended_as: str = ""

    @property
    def tries_made(self) -> int:
        """How many tries there were, as far as they are kept; 0 when nobody can say.

        A try that was cut off is made again under its number. When that one succeeds it is the first, so it is not kept.
        """
        if not self.tries:
            return 0
        was_cut_off = self.tries[-1].outcome is EnumAttempt.CUT_OFF
        if was_cut_off and self.state == "ended" and not self.trigger:
            return 0
        unkept = was_cut_off and self.succeeded
        return unkept + max(len(self.tries), *(one.attempt for one in self.tries))  # the first ones may be kept no more


def intent_stories(
    history: Sequence[LogEntry],
    open_rows: Iterable[OutboxRow],
    attempts: Iterable[Attempt],
    *,
    ended_at: int = 0,
    all_accepted: bool = False,
) -> list[IntentStory]:
    """The intents that these actions emitted, in order. A timer is left out unless it is held or has a try.

    ``ended_at`` is the version at which the instance ended; 0: it has not. ``all_accepted``: these are all
    its actions so far, and no outcome was refused.
    """
    rows = {row.pointer: row for row in open_rows}
    tries: dict[Pointer, list[Attempt]] = {}
    for attempt in attempts:
        tries.setdefault(attempt.pointer, []).append(attempt)
    by_id = {entry.row.action_id: entry for entry in history}
    stories = [story for entry in history for story in _of_one(entry, rows, tries, by_id)]
    return [_with_end(story, history, ended_at, all_accepted) for story in stories]


def _with_end(story: IntentStory, history: Sequence[LogEntry], ended_at: int, all_accepted: bool) -> IntentStory:
    """Of one without row and outcome. A first try that succeeds is not kept, so without tries nobody knows which came first."""
    if story.state != "ended" or story.trigger:
        return story
    last = story.tries[-1].outcome if story.tries else None
    if last is EnumAttempt.SUCCEEDED:
        return replace(story, ended_as="done")
    named = (entry.version for entry in history if entry.version > story.emitted_at and story.name in _cancels(entry))
    ended = ended_at if ended_at > story.emitted_at else 0
    version, how = next(named, 0), "cancelled"
    if not version and ended:
        version, how = ended, "left when the instance ended,"
    if last not in (None, EnumAttempt.CUT_OFF):  # a success after it would be kept
        return replace(story, ended_as=f"{how} at version {version}" if version else "")
    if version:
        return replace(story, ended_as=f"done, or {how} at version {version}")
    return replace(story, ended_as="done" if all_accepted else "")


def _cancels(entry: LogEntry) -> list[object]:
    """The names that a step cancelled. One that was cancelled by its id is not found."""
    found = parse_json(entry.row.intents)
    listed = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    return [one.get("to") for one in listed if one.get("name") == CANCEL]


def _of_one(
    entry: LogEntry,
    rows: Mapping[Pointer, OutboxRow],
    tries: Mapping[Pointer, Sequence[Attempt]],
    by_id: Mapping[bytes, LogEntry],
) -> Iterable[IntentStory]:
    found = parse_json(entry.row.intents)
    counted: Counter[str] = Counter()
    of_name = (
        Counter(one.get("name") for one in found if isinstance(one, dict)) if isinstance(found, list) else Counter()
    )
    for ordinal, one in enumerate(found if isinstance(found, list) else ()):
        if not isinstance(one, dict) or not isinstance(name := one.get("name"), str):
            continue  # a damaged row
        emitted = intent_id(UUID(bytes=entry.row.action_id), entry.key, name, counted[name])
        n = counted[name]
        counted[name] += 1
        pointer = Pointer(entry.position.shard, entry.position.n, ordinal)
        row, outcome = rows.get(pointer), by_id.get(outcome_id(emitted).bytes)
        is_timer = one.get("cancel") or one.get("due_us")
        if is_timer and pointer not in tries and row is None:
            continue
        yield IntentStory(
            pointer,
            name,
            n,
            of_name[name],
            entry.version,
            row.state.value if row is not None else "ended",
            row.error if row is not None else "",
            outcome.row.kind if outcome is not None else "",
            outcome.version if outcome is not None else 0,
            outcome.row.issued_us - entry.row.issued_us if outcome is not None else 0,
            tries.get(pointer, ()),
            outcome is not None and not is_failure(parse_json(outcome.row.payload)),
        )


def intent_story_json(story: IntentStory) -> dict[str, object]:
    return {
        "pointer": position_text(story.pointer),
        "intent": story.name,
        "n": story.n,
        "version": story.emitted_at,
        "state": story.state,
        "ended_as": story.ended_as or None,
        "error": story.error or None,
        "outcome": story.trigger or None,
        "outcome_version": story.version or None,
        "outcome_after_ms": story.after_us / 1000 if story.trigger else None,
        "attempts": [_attempt_json(one) for one in story.tries],
    }


def _attempt_json(one: Attempt) -> dict[str, object]:
    return {
        "attempt": one.attempt,
        "began_at": iso(one.began_us) if one.began_us else None,
        "ended_at": iso(one.ended_us),
        "ms": took_ms(one),
        "outcome": one.outcome.value,
        "code": one.code or None,
        "error": one.message or None,
        "trace": one.trace.splitlines(),
    }


def took_ms(one: Attempt) -> float | None:
    """How long the try took; None where its process ended before it could say."""
    return max(0, one.ended_us - one.began_us) / 1000 if one.began_us else None
