"""What became of each intent of an instance: its tries, and the action that its outcome was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from ..kernel.intent import intent_id, outcome_id
from ..ports import Attempt, EnumAttempt, LogEntry, OutboxRow, Pointer
from .stored_value import is_failure, iso, parse_json, position_text


@dataclass(frozen=True, slots=True)
class IntentStory:
    """One intent. ``n`` counts, from 0, the ``of_name`` intents of its name in the step that emitted it.

    ``state``: that of its row (waiting, held, dead), else ``ended``.

    ``trigger`` is what its outcome came back as, at ``version``, ``after_us`` microseconds after the intent was emitted; '' and 0
    when none did. ``tries`` are those that are kept: none for an intent whose first try succeeded.
    ``succeeded``: its outcome carries no failure.
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
    history: Sequence[LogEntry], open_rows: Iterable[OutboxRow], attempts: Iterable[Attempt]
) -> list[IntentStory]:
    """The intents that these actions emitted, in order. A timer is left out unless it is held or has a try."""
    rows = {row.pointer: row for row in open_rows}
    tries: dict[Pointer, list[Attempt]] = {}
    for attempt in attempts:
        tries.setdefault(attempt.pointer, []).append(attempt)
    by_id = {entry.row.action_id: entry for entry in history}
    return [story for entry in history for story in _of_one(entry, rows, tries, by_id)]


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
