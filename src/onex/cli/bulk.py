"""``onex bulk``: one command for all instances that a condition finds, with a record that a later process can go on from.

The selection is taken once (``bulk_job``). Then the actions go through the inbox of the store, as those of ``onex submit`` and
``onex release`` do: WINDOW at most have no answer, BATCH are stored at a time, and no more in a second than ``--rate`` says.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Final
from uuid import uuid4

import orjson
import typer

from ..contracts.orchestration.expansion import CANCEL
from ..engine.arguments import checked
from ..engine.arguments import trigger as checked_trigger
from ..engine.operator_requests import REDRIVE, RELEASE, STOPPED, NothingStopped
from ..engine.search_text import asked_query
from ..kernel.action import WorkflowKey
from ..kernel.route import shard_of
from ..kernel.search_query import SearchPlace, Test
from ..ports import Pointer
from ..views.stored_value import position_text
from ..wiring import ClosableSender, WatchedReader, engine_runs, open_sender, shown_url
from ..wiring.engine import open as open_engine
from .bulk_job import BulkHead, BulkItem, BulkJob, BulkOutcome
from .console import counted, harmless, note, now_us, say, say_json
from .exit_codes import FOUND, INTERRUPTED, Misused, Unanswered
from .progress import ProgressBar
from .searching import OfType, Where
from .store_options import ROWS_MAX, AppOption, Json, Store, url_of
from .store_reading import look
from .submit import payload_of

BATCH: Final = 1000
WINDOW: Final = 4000
PAGE: Final = 1000
SAMPLE: Final = 5
TOLD: Final = 10
LOOK_S: Final = 0.25
COMMANDS: Final = ("signal", "cancel", "release", "redrive", "resume")


def bulk(
    command: Annotated[str, typer.Argument(metavar="COMMAND", help="signal, cancel, release, redrive or resume.")],
    name: Annotated[
        str | None,
        typer.Argument(metavar="TRIGGER|JOB", show_default=False, help="Of signal: the trigger. Of resume: the job."),
    ] = None,
    where: Where = None,
    of_type: OfType = None,
    payload: Annotated[str, typer.Option(metavar="JSON", help="Of signal: the payload, or @FILE.")] = "{}",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many there are, and show some.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before something is sent.")] = False,
    limit: Annotated[int, typer.Option(metavar="ROWS", min=1, max=ROWS_MAX, help="Not more than so many.")] = ROWS_MAX,
    rate: Annotated[
        float, typer.Option(metavar="NUMBER", min=0.0, help="Not more in a second; 0: as fast as it goes.")
    ] = 0.0,
    app: AppOption = None,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="End when no answer comes for so long.")
    ] = 60.0,
    store: Store = None,
    as_json: Json = False,
) -> None:
    """Do one thing to all instances that a condition finds.

    signal sends a trigger; cancel sends the trigger cancel; release lets held instances go on; redrive runs dead and held
    intents again. The condition is that of onex ls --where; signal and cancel leave out instances that have ended. What is
    found is fixed before something is sent, and stands in .onex/bulk/JOB.jsonl with what came of each. After Ctrl-C or a
    crash, resume JOB goes on: nothing is done twice. The engine that runs on the store does the work; if none runs, one is
    opened, which needs --app.

    \b
    Examples:
      onex bulk cancel --where "status = 'in_doubt' and updated < '2026-11-01'" --dry-run
      onex bulk signal declined --where "status = 'in_doubt'" --payload '{"message": "closed"}' --yes
      onex bulk redrive --where "type = 'orders'" --rate 50 --yes
      onex bulk resume 5b1f2c1e-1111-4222-8333-444455556666
    """
    if command not in COMMANDS:
        raise Misused(f"{harmless(command)!r} is no bulk command; there are {', '.join(COMMANDS)}")
    url = url_of(store)
    if command == "resume":
        if name is None or where is not None:
            raise Misused("onex bulk resume takes the id of a job, and no condition: its selection is fixed")
        with BulkJob.found(name) as job:
            if job.head.store != shown_url(url):
                raise Misused(
                    f"job {job.head.job} is of the store {job.head.store}, not of {shown_url(url)}: --store URL"
                )
            _run(job, url, app, rate, timeout, as_json=as_json)
        return
    head = BulkHead(uuid4(), command, _kind(command, name), payload_of(payload), shown_url(url))
    if where is None and of_type is None:
        raise Misused("name the instances: --where CONDITION, or --type TYPE for all of a workflow")
    items = look(url, lambda reader: _selected(reader, command, where, of_type, limit))
    if dry_run or not items:
        _show_selection(head, items, as_json=as_json)
        return
    if not yes:
        _confirm(head, items)
    with BulkJob.begun(head, items) as job:
        _run(job, url, app, rate, timeout, as_json=as_json)


def _kind(command: str, name: str | None) -> str:
    if (command == "signal") != (name is not None):
        raise Misused("signal needs a trigger, and no other command takes one: onex bulk signal TRIGGER --where ...")
    if name is not None:
        return checked(checked_trigger, "trigger", name)
    return {"cancel": CANCEL, "release": RELEASE, "redrive": REDRIVE}[command]


async def _selected(
    reader: WatchedReader, command: str, where: str | None, of_type: str | None, limit: int
) -> list[BulkItem]:
    """In the order of keys; intents in that of their rows. Raises what a bad condition raises."""
    beside = {"release": [Test("held", "=", (True,))], "redrive": []}.get(command, [Test("ended", "=", (False,))])
    query = await asked_query(reader, where, of_type=of_type, beside=beside)
    keys: list[WorkflowKey] = []
    after: SearchPlace | None = None
    most = ROWS_MAX if command == "redrive" else limit
    while rows := await reader.find(query, after, min(PAGE, most - len(keys))):
        keys += [stored.key for stored, _ in rows]
        after = SearchPlace(keys[-1])
        if len(keys) >= most:
            break
    if command != "redrive":
        return [BulkItem(str(key)) for key in keys]
    wanted, items = set(keys), list[BulkItem]()
    behind: Pointer | None = None
    while stopped := await reader.outbox(STOPPED, None, behind, PAGE):
        items += [BulkItem(str(row.key), position_text(row.pointer)) for row in stopped if row.key in wanted]
        behind = stopped[-1].pointer
    return items[:limit]


def _show_selection(head: BulkHead, items: list[BulkItem], *, as_json: bool) -> None:
    what = "intent" if head.command == "redrive" else "instance"
    if as_json:
        say_json({"command": head.command, "selected": len(items), "sample": [one.key for one in items[:SAMPLE]]})
        return
    say(f"{head.command}: {counted(len(items), what)}; nothing was sent")
    for one in items[:SAMPLE]:
        say(f"  {one.key} {one.pointer}".rstrip())
    if len(items) > SAMPLE:
        say(f"  and {len(items) - SAMPLE:,} more")


def _confirm(head: BulkHead, items: list[BulkItem]) -> None:
    """Raises Misused where nobody can be asked; Abort."""
    what = counted(len(items), "intent" if head.command == "redrive" else "instance")
    if not sys.stdin or not sys.stdin.isatty():
        raise Misused(f"{head.command} {what}: nobody can be asked here; look with --dry-run, then give --yes")
    kind = f" {head.kind}" if head.command == "signal" else ""
    typer.confirm(f"{head.command}{kind} {what}, for example {items[0].key}?", abort=True, err=True)


# --- sending --------------------------------------------------------------------------------------------------------------


def _run(job: BulkJob, url: str, app: Path | None, rate: float, wait_s: float, *, as_json: bool) -> None:
    """Raises Exit with 1 where something was refused, 130 after Ctrl-C; Unanswered; Misused where no engine runs."""
    began_s, before = time.monotonic(), len(job.outcomes)
    with ProgressBar("bulk", "instances", len(job.items), shown=not as_json, wait_s=0.3) as bar:
        bar.update(before)

        def tell(outcomes: Mapping[int, BulkOutcome]) -> None:
            job.record(outcomes)
            bar.update(len(job.outcomes))
            if as_json:
                for n, one in outcomes.items():
                    say_json({**job.items[n]._asdict(), **one.as_json()})

        try:
            asyncio.run(_work(job, url, app, rate, wait_s, tell))
        except KeyboardInterrupt:
            note(f"stopped; {counted(len(job.left), 'instance')} without an answer: onex bulk resume {job.head.job}")
            raise typer.Exit(INTERRUPTED) from None
    _report(job, time.monotonic() - began_s, len(job.outcomes) - before, as_json=as_json)
    if any(one.outcome == "refused" and one.code != NothingStopped.code for one in job.outcomes.values()):
        raise typer.Exit(FOUND)


async def _work(
    job: BulkJob,
    url: str,
    app: Path | None,
    rate: float,
    wait_s: float,
    tell: Callable[[Mapping[int, BulkOutcome]], None],
) -> None:
    async with _engine(url, app):
        sender = await open_sender(url)
        try:
            await send_all(job, sender, rate, wait_s, tell)
        finally:
            await sender.close()


@asynccontextmanager
async def _engine(url: str, app: Path | None) -> AsyncIterator[None]:
    """The one that runs, or one that is opened here for as long as this lasts. Raises Misused."""
    if await engine_runs(url):
        yield
        return
    if app is None:
        raise Misused(f"no engine runs on {shown_url(url)}; name the app, and one is opened for this: --app PATH")
    async with await open_engine(url, app):
        yield


async def send_all(
    job: BulkJob, sender: ClosableSender, rate: float, wait_s: float, tell: Callable[[Mapping[int, BulkOutcome]], None]
) -> None:
    """Send what has no answer, and tell each answer as it comes. Raises Unanswered, and what the store raises."""
    left, waiting = deque(job.left), dict[int, int]()
    watch = sender.watch()
    began_s = heard_s = time.monotonic()
    sent = 0
    while left or waiting:
        now_s = time.monotonic()
        allowed = len(left) if not rate else max(0, int(rate * (now_s - began_s)) + 1 - sent)
        group = [left.popleft() for _ in range(min(BATCH, WINDOW - len(waiting), allowed, len(left)))]
        if group:
            items = [job.items[n] for n in group]
            shards = [shard_of(WorkflowKey.parse(one.key), sender.shards) for one in items]
            tickets = await sender.send_all([one.body(job.head) for one in items], now_us(), shards)
            waiting.update(zip(tickets, group, strict=True))
            sent += len(group)
        answers = await sender.answers([*waiting]) if waiting else {}
        if answers:
            heard_s = now_s
            tell({waiting.pop(ticket): BulkOutcome.of(orjson.loads(answer)) for ticket, answer in answers.items()})
        elif waiting and now_s - heard_s > wait_s:
            raise Unanswered(
                f"no answer has come for {wait_s:g} s; what was sent is stored, and the next engine does it. Then: "
                f"onex bulk resume {job.head.job}"
            )
        elif not group:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(LOOK_S, 1 / rate) if rate else LOOK_S):
                    await (watch.changed() if waiting else asyncio.sleep(LOOK_S))


def _report(job: BulkJob, took_s: float, done: int, *, as_json: bool) -> None:
    found = Counter(one.outcome for one in job.outcomes.values())
    if as_json:
        say_json({"job": str(job.head.job), "file": str(job.path), "selected": len(job.items), **found})
        return
    refused = [(job.items[n].key, one) for n, one in job.outcomes.items() if one.outcome == "refused"]
    for key, one in refused[:TOLD]:
        note(f"{key}: refused ({one.code}): {harmless(one.message)}")
    if len(refused) > TOLD:
        note(f"and {len(refused) - TOLD:,} more; {job.path} has each")
    words = {"applied": "applied", "duplicate": "applied before", "done": "done", "refused": "refused"}
    each = ", ".join(f"{found[name]:,} {word}" for name, word in words.items() if found[name])
    say(f"{job.head.command}: {each or 'nothing'}  ({took_s:.1f} s, {done / max(took_s, 1e-9):,.0f} a second)")
    note(f"job {job.head.job}; what came of each: {job.path}")
