"""``onex submit -``: actions as lines of JSON on standard input, sent in groups, answered in their order.

Theory of operation.

1. ``LineSender.run`` takes what lines there are, up to BATCH, and stores them in one transaction.
2. Then it asks for answers of all actions that have none. There are at most WINDOW of them; while it is full, no line is taken.
3. A line that is no action stands in the window at its place, with its error. The lines behind it go on.
4. Answers are reported from the front of the window, so they come in the order of the lines.
5. If no answer comes for ``SILENT_S``, and no engine runs by then, that is said once; it is looked at first when the first
   action is stored. If none comes for ``wait_s``, nobody
   waits any more: the rest is stored, and reported without answers.
6. The first Ctrl-C or SIGTERM ends the reading. A transaction that has begun is waited for, so the count of what is durable
   is true. Answers that are there are reported, the other lines without one.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import orjson
from pydantic import JsonValue

from ..engine.arguments import checked, count
from ..engine.arguments import trigger as checked_trigger
from ..engine.encode import check_json
from ..engine.intake import id_of_idempotency_key, write_wire
from ..kernel.action import ModelAction, WorkflowKey
from ..kernel.errors import OnexError
from ..kernel.route import shard_of
from ..kernel.size_limits import WIRE_BYTES, WIRE_DEPTH
from ..ports import Sender
from ..wiring import engine_runs, new_action_id, shown_url
from .console import counted, harmless, note, now_us, say, say_json
from .exit_codes import ENVIRONMENT, FINE, FOUND, InvalidLine, Misused
from .input_lines import LINE_BYTES, InputLines, RawLine
from .own_output import own_stdout
from .progress import ProgressBar
from .store_reading import open_sender_telling

BATCH: Final = 500
WINDOW: Final = 2_000
ASK_S: Final = 0.005
ASK_S_MAX: Final = 0.1
SILENT_S: Final = 2.0
TOLD: Final = 20
"""Lines with an error that are told on a terminal; the others are counted."""
FIELDS: Final = ("key", "trigger", "payload", "action_id", "idempotency_key", "expected_version")


@dataclass(slots=True)
class SentLine:
    """One line, and what became of it. ``ticket`` is None for a line that is no action. Without ``answer`` none came in time."""

    number: int
    action: ModelAction | None = None
    ticket: int | None = None
    answer: dict[str, JsonValue] | None = None
    error: OnexError | None = None

    @property
    def is_over(self) -> bool:
        return self.answer is not None or self.error is not None

    def as_json(self) -> dict[str, object]:
        """As ``onex submit --json`` prints one action, with the line's number before."""
        said: dict[str, object] = {"line": self.number}
        if self.action is not None:
            said |= {
                "key": str(self.action.workflow_key),
                "trigger": self.action.kind,
                "action_id": str(self.action.action_id),
            }
        said["answered"] = self.answer is not None
        if self.ticket is not None:
            said["ticket"] = self.ticket
        if self.error is not None:
            said["error"] = self.error.as_json()
        return {**said, **(self.answer or {})}


@dataclass(slots=True)
class SentCounts:
    """How many lines there were, and what became of them. ``stored`` are durable. They are applied or refused, or will be."""

    lines: int = 0
    bad: int = 0
    stored: int = 0
    applied: int = 0
    duplicates: int = 0
    refused: int = 0
    interrupted: int | None = None

    @property
    def unanswered(self) -> int:
        return self.stored - self.applied - self.duplicates - self.refused


def parsed(line: bytes) -> ModelAction:
    """``{"key": ..., "trigger": ..., "payload": {...}, "action_id" or "idempotency_key": ..., "expected_version": N}``.

    Only key and trigger must be there.

    Raises InvalidLine, and what ``onex submit`` raises for one action.
    """
    try:
        given = check_json(line, WIRE_BYTES, WIRE_DEPTH)
    except OnexError as error:
        raise InvalidLine(error.message.replace("payload", "line", 1)) from error
    if not isinstance(given, dict):
        raise InvalidLine("""a line is a JSON object, for example {"key": "orders:1", "trigger": "cancel"}""")
    for name in given:
        if name not in FIELDS:
            raise InvalidLine(f"a line has no field {name!r}; it has {', '.join(FIELDS)}")
    key, payload = given.get("key"), given.get("payload", {})
    if not isinstance(key, str) or not isinstance(given.get("trigger"), str):
        raise InvalidLine("""a line needs "key" and "trigger", both text""")
    if not isinstance(payload, dict):
        raise InvalidLine(""""payload" is a JSON object""")
    return ModelAction(
        workflow_key=WorkflowKey.parse(key),
        kind=checked(checked_trigger, "trigger", given["trigger"]),
        command_payload=payload,
        action_id=_id(given.get("action_id"), given.get("idempotency_key")),
        expected_version=_version(given.get("expected_version")),
        issuer="cli",
    )


def _id(action_id: JsonValue, idempotency_key: JsonValue) -> UUID:
    if action_id is not None and idempotency_key is not None:
        raise InvalidLine("""a line has "action_id" or "idempotency_key", not both""")
    if idempotency_key is not None:
        if not isinstance(idempotency_key, str):
            raise InvalidLine(""""idempotency_key" is text""")
        return id_of_idempotency_key(idempotency_key)
    if action_id is None:
        return new_action_id()
    try:
        return UUID(action_id if isinstance(action_id, str) else "")
    except ValueError as error:
        raise InvalidLine(f""""action_id" is a UUID as text, not {action_id!r}""") from error


def _version(expected: JsonValue) -> int | None:
    if expected is None:
        return None
    try:
        return checked(count, "expected_version", expected)
    except OnexError as error:
        raise InvalidLine(f""""expected_version" is a whole number, at least 0, not {expected!r}""") from error


Told = Callable[[], Awaitable[None]]


class LineSender:
    """``report`` gets each line once, in order, when its answer has come, or nobody waits for it any more. ``silent`` is called
    before the first action is stored, and after each SILENT_S in which answers are awaited and none came."""

    def __init__(self, sender: Sender, report: Callable[[SentLine], None], silent: Told, *, wait_s: float) -> None:
        """``wait_s``: 0 does not wait for answers."""
        self.counts = SentCounts()
        self._sender, self._report, self._silent = sender, report, silent
        self._waits, self._wait_s = wait_s > 0, wait_s
        self._window: deque[SentLine] = deque()
        self._open: dict[int, SentLine] = {}
        self._heard_s = time.monotonic()
        self._look_s = self._heard_s + SILENT_S

    async def run(self, descriptor: int) -> SentCounts:
        """Raises what the store raises; the counts then tell what was durable before."""
        loop = asyncio.get_running_loop()
        lines = InputLines(descriptor, loop)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop, number, lines)
        pause_s = ASK_S
        try:
            while self.counts.interrupted is None and not (lines.is_empty and not self._open):
                taken = lines.take(min(BATCH, self._room()))
                if taken:
                    await self._store(taken)
                came = await self._ask()
                self._flush()
                pause_s = ASK_S if came or taken else min(2 * pause_s, ASK_S_MAX)
                if not taken:
                    await self._pause(lines, pause_s)
            await self._ask()
        finally:
            self._waits = False
            self._flush()
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)
        return self.counts

    def _stop(self, number: int, lines: InputLines) -> None:
        """A second signal ends the process as signals do."""
        self.counts.interrupted = number
        lines.more.set()
        asyncio.get_running_loop().remove_signal_handler(number)

    def _room(self) -> int:
        return WINDOW - len(self._open)

    async def _store(self, taken: Sequence[RawLine]) -> None:
        """Lines that are actions, in one transaction. One that is none gets its error."""
        sent: list[SentLine] = []
        bodies: list[bytes] = []
        shards: list[int] = []
        for line in taken:
            one = SentLine(line.number)
            try:
                if line.text is None:
                    raise InvalidLine(f"a line has at most {LINE_BYTES:,} bytes, and this one has more")
                one.action = parsed(line.text)
                bodies.append(write_wire(one.action))
                shards.append(shard_of(one.action.workflow_key, self._sender.shards))
                sent.append(one)
            except OnexError as error:
                one.error = error
            self._window.append(one)
            self.counts.lines += 1
            self.counts.bad += one.error is not None
        if not bodies:
            return
        if self._waits and not self.counts.stored:
            await self._silent()
        tickets = await self._sender.send_all(bodies, now_us(), shards)
        self.counts.stored += len(tickets)
        for one, ticket in zip(sent, tickets, strict=True):
            one.ticket = ticket
        if self._waits:
            self._open.update((one.ticket, one) for one in sent if one.ticket is not None)

    async def _ask(self) -> int:
        """How many answers have come."""
        now_s = time.monotonic()
        if not self._open:
            self._heard_s, self._look_s = now_s, now_s + SILENT_S
            return 0
        answers = await self._sender.answers([*self._open])
        for ticket, answer in answers.items():
            one = self._open.pop(ticket)
            one.answer = orjson.loads(answer)
            self._count(one.answer)
        if answers:
            self._heard_s, self._look_s = now_s, now_s + SILENT_S
        elif now_s - self._heard_s > self._wait_s:
            self._waits = False
            self._open.clear()
        elif now_s > self._look_s:
            self._look_s = now_s + SILENT_S
            await self._silent()
        return len(answers)

    def _count(self, answer: dict[str, JsonValue]) -> None:
        if "error" in answer:
            self.counts.refused += 1
        elif answer.get("duplicate"):
            self.counts.duplicates += 1
        else:
            self.counts.applied += 1

    def _flush(self) -> None:
        """Reports what stands at the front of the window and is over. Whoever reads our output may wait for it."""
        if self._window and (self._window[0].is_over or not self._waits):
            while self._window and (self._window[0].is_over or not self._waits):
                self._report(self._window.popleft())
            own_stdout().flush()

    async def _pause(self, lines: InputLines, pause_s: float) -> None:
        """Until a line comes; while answers are awaited, ``pause_s`` at most."""
        if self._open and (self._room() <= 0 or lines.is_empty):
            await asyncio.sleep(pause_s)
            return
        try:
            async with asyncio.timeout(pause_s if self._open else None):
                await lines.more.wait()
        except TimeoutError:
            return


# --- the command ------------------------------------------------------------------------------------------------------


def submit_lines(url: str, wait_s: float, *, as_json: bool) -> int:
    """Sends what stands on standard input, and says what became of it. Returns the exit code."""
    if sys.stdin is None:  # it was closed before the process started
        raise Misused("onex submit -: there is no standard input")
    descriptor, began_s = sys.stdin.fileno(), time.monotonic()
    with ProgressBar("submit", "lines", wait_s=0.3) as bar:
        report = _JsonReport(bar) if as_json else _TroubleReport(bar)
        silent = _Silent(bar, url, wait_s)
        counts, failed = asyncio.run(_send(url, report, silent, descriptor, wait_s))
    if not as_json:
        _show(counts, report.left_out, time.monotonic() - began_s)
    if failed is not None or counts.interrupted is not None:
        note(
            f"stopped after {counted(counts.lines, 'line')}: {counted(counts.stored, 'action')} durable; no later line was sent"
        )
    if failed is not None:
        raise failed
    return _exit_code(counts, waited=wait_s > 0)


async def _send(
    url: str, report: Callable[[SentLine], None], silent: Told, descriptor: int, wait_s: float
) -> tuple[SentCounts, OnexError | None]:
    """What was durable before the store failed counts too."""
    sender = await open_sender_telling(url)
    lines = LineSender(sender, report, silent, wait_s=wait_s)
    try:
        await lines.run(descriptor)
    except OnexError as error:
        return lines.counts, error
    finally:
        await sender.close()
    return lines.counts, None


class _Silent:
    """Says once that no engine runs, at the start or as soon as one has ended, and how long is waited for the next."""

    def __init__(self, bar: ProgressBar, url: str, wait_s: float) -> None:
        self._bar, self._url, self._wait_s, self._said = bar, url, wait_s, False

    async def __call__(self) -> None:
        if not self._said and not await engine_runs(self._url):
            self._said = True
            waits = (
                f"actions are stored for the next: onex run APP; this command waits {self._wait_s:g} s for an answer"
            )
            _say_beside(self._bar, f"no engine runs on {shown_url(self._url)}, so {waits}")


def _say_beside(bar: ProgressBar, text: str) -> None:
    bar.say_above(text) if bar.is_drawn else note(text)


class _JsonReport:
    """Each line as JSON, in order."""

    left_out = 0

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar

    def __call__(self, line: SentLine) -> None:
        say_json(line.as_json())
        self._bar.advance(1)


class _TroubleReport:
    """The first lines that were refused or are no actions, as sentences on stderr."""

    def __init__(self, bar: ProgressBar) -> None:
        self._bar, self._told, self.left_out = bar, 0, 0

    def __call__(self, line: SentLine) -> None:
        self._bar.advance(1)
        error = line.error.as_json() if line.error is not None else (line.answer or {}).get("error")
        if not isinstance(error, dict):
            return
        if self._told == TOLD:
            self.left_out += 1
            return
        self._told += 1
        what = "refused" if line.error is None else "not sent"
        said = f"line {line.number}: {what} ({error['code']}): {harmless(str(error['message']))}"
        _say_beside(self._bar, said)


def _show(counts: SentCounts, left_out: int, took_s: float) -> None:
    if left_out:
        note(f"and {counted(left_out, 'line')} more; --json tells each")
    parts = [
        (counts.applied, "applied"),
        (counts.duplicates, "applied before"),
        (counts.refused, "refused"),
        (counts.unanswered, "stored without an answer"),
        (counts.bad, "no action"),
    ]
    each = ", ".join(f"{number:,} {what}" for number, what in parts if number)
    rate = f"{counts.lines / took_s:,.0f} a second" if took_s > 0 else ""
    say(f"{counted(counts.lines, 'line')}: {each or 'nothing to send'}  ({took_s:.1f} s, {rate})")


def _exit_code(counts: SentCounts, *, waited: bool) -> int:
    if counts.interrupted is not None:
        return 128 + counts.interrupted
    if counts.refused or counts.bad:
        return FOUND
    return ENVIRONMENT if waited and counts.unanswered else FINE
