"""Rows of a store as JSON: instances, their log, open intents, refused actions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from pydantic import JsonValue

from ..kernel.action import ID_BYTES, WorkflowKey
from ..ports import Attempt, Code, LogEntry, LogRow, OutboxRow, RejectionRow, Stored
from ..records import REJECTED_BODY_BYTES
from .hidden import HiddenFields
from .intent_story import IntentStory, intent_stories, intent_story_json
from .stored_value import intent_name, is_running, iso, parse_beginning, parse_json, position_text, tries_made


@dataclass(slots=True)
class InstancePage:
    """All that is shown of one instance. ``stored`` is None when it has not begun; ``code`` made its last version.

    ``owned``: an engine ran on the store at ``now_us``. ``history`` and ``attempts`` are None when nobody asked for them;
    ``hide`` is None when secrets are to be shown. ``at`` and ``state_at`` are of the earlier version asked for;
    ``other_code``: its state was folded by code that did not make it. ``rejections`` are then those last seen by that time.
    """

    key: WorkflowKey
    stored: Stored | None = None
    code: Code | None = None
    open_intents: list[OutboxRow] = field(default_factory=list)
    rejections: list[RejectionRow] = field(default_factory=list)
    more_rejections: bool = False
    owned: bool = False
    now_us: int = 0
    history: list[LogEntry] | None = None
    attempts: list[Attempt] | None = None
    hide: HiddenFields | None = None
    at: LogEntry | None = None
    state_at: bytes = b""
    terminal: bool = False
    other_code: bool = False
    last: LogEntry | None = None
    """The row of its last action, where the log still has it."""

    def shown(self, value: JsonValue) -> JsonValue:
        """``value`` without what is to be hidden."""
        return value if self.hide is None else self.hide.hide(value)

    def running(self, row: OutboxRow) -> bool | None:
        """Whether the effect of this open intent runs now; None when nobody can say."""
        return is_running(row, owned=self.owned, now_us=self.now_us)

    @property
    def stories(self) -> list[IntentStory]:
        """What became of the intents of ``history``."""
        ended_at = self.version if self.terminal and self.at is None else 0
        return intent_stories(
            self.history or (), self.open_intents, self.attempts or (), ended_at=ended_at,
            all_accepted=self.at is None and not self.rejections,
        )  # fmt: skip

    @property
    def version(self) -> int:
        return self.stored.version if self.stored is not None else 0


def instance_page_json(page: InstancePage) -> dict[str, object]:
    """``exists`` is false for an instance that has not begun; then there are only its key and its rejections."""
    stored = page.stored
    shown: dict[str, object] = {"key": str(page.key), "exists": stored is not None}
    if stored is not None:
        shown |= {
            "status": page.at.row.status if page.at else stored.status,
            "version": page.at.version if page.at else stored.version,
            "state": page.shown(parse_json(page.state_at if page.at else stored.state)),
            "terminal": page.terminal,
            "epoch": stored.epoch,
            "changed_at": iso(page.at.row.issued_us if page.at else stored.last_us),
            "held": stored.held or None,
            "failures": stored.failures,
            "cut": stored.cut,
            "code": page.code and {"version": page.code.contract_version, "digest": page.code.digest.hex()},
            "timers": [{"name": name, "due_at": iso(due_us)} for name, (_, due_us) in sorted(stored.timers.items())],
            "open": [open_intent_json(row, page.running(row)) for row in page.open_intents],
        }
        if page.at is not None:
            shown |= {"last_version": stored.version, "folded_with_other_code": page.other_code}
    if page.history is not None:
        shown["history"] = [log_entry_json(entry, page.hide) for entry in page.history]
    if page.attempts is not None:
        shown["attempts"] = [intent_story_json(story) for story in page.stories]
    shown["rejections"] = [rejection_json(row, page.hide) for row in page.rejections]
    shown["more_rejections"] = page.more_rejections
    return shown


def open_intent_json(row: OutboxRow, running: bool | None) -> dict[str, object]:
    """``running`` is null where nobody can say: ``stored_value.is_running``."""
    return {
        "pointer": position_text(row.pointer),
        "intent": intent_name(row),
        "state": row.state.value,
        "running": running,
        "version": row.version,
        "attempt": tries_made(row),
        "due_at": iso(row.due_us) if row.due_us else None,
        "error": row.error or None,
    }


class StoppedIntents(NamedTuple):
    """How many intents of one instance wait for a person."""

    held: int = 0
    dead: int = 0


def instance_json(row: Stored, stopped: StoppedIntents) -> dict[str, object]:
    return {
        "key": str(row.key),
        "status": row.status,
        "terminal": row.terminal,
        "version": row.version,
        "changed_at": iso(row.last_us),
        "held": row.held or None,
        "held_intents": stopped.held,
        "dead_intents": stopped.dead,
        "failures": row.failures,
    }


def log_entry_json(entry: LogEntry, hide: HiddenFields | None = None) -> dict[str, object]:
    row = entry.row
    payload, intents = parse_json(row.payload), parse_json(row.intents) or []
    return {
        "position": position_text(entry.position),
        "key": str(entry.key),
        "version": entry.version,
        "trigger": row.kind,
        "status": row.status,
        "payload": payload if hide is None else hide.hide(payload),
        "intents": intents if hide is None else hide.hide_intents(intents),
        "issued_at": iso(row.issued_us),
        "action_id": str(UUID(bytes=row.action_id)),
        "correlation_id": str(UUID(bytes=row.correlation)),
        "cause": str(UUID(bytes=row.cause_id)) if row.cause_id else None,
        "outcome_of": _outcome_of_json(row),
        "issuer": row.issuer,
    }


def _outcome_of_json(row: LogRow) -> dict[str, object] | None:
    """None too where a damaged row cannot tell: replay reports that."""
    try:
        of = row.outcome_of
    except ValueError:
        return None
    if of is None:
        return None
    return {"intent_id": str(of.intent_id), "intent": of.name, "n": of.n, "version": of.version}


def rejection_json(row: RejectionRow, hide: HiddenFields | None = None) -> dict[str, object]:
    body, is_cut = parse_beginning(row.body, REJECTED_BODY_BYTES)
    return {
        "key": row.key,
        "action_id": str(UUID(bytes=row.action_id)) if len(row.action_id) == ID_BYTES else None,
        "code": row.code,
        "message": row.message,
        "times": row.times,
        "first_at": iso(row.first_us),
        "last_at": iso(row.last_us),
        "body": body if hide is None else hide.hide(body),
        "body_is_cut": is_cut,
        "trace": row.trace.splitlines(),
    }


def stopped_intent_json(row: OutboxRow, status: str | None, hide: HiddenFields | None = None) -> dict[str, object]:
    """``result`` is that of a held outcome, or null. ``status`` is that of its instance."""
    result = parse_json(row.result)
    return {
        "pointer": position_text(row.pointer),
        "key": str(row.key),
        "status": status,
        "intent": intent_name(row),
        "state": row.state.value,
        "version": row.version,
        "attempts": tries_made(row),
        "crashes": row.crashes,
        "error": row.error or None,
        "result": result if hide is None else hide.hide(result),
    }
