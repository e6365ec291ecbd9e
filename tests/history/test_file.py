"""An exported history replays as the store it came from, is the same bytes each time, and is refused where it is not whole."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from io import BytesIO, StringIO

import pytest

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory import MemoryStore
from onex.engine.pattern import ReducerPatternEngine
from onex.engine.replay import Recorded, Replay, Segment
from onex.history.export import export_history
from onex.history.line import HistoryUnreadable
from onex.history.reader import HistoryReader
from onex.kernel.action import WorkflowKey
from onex.ports import Env
from tests.engine.jobs import Add, Start, Worker, registry

K = WorkflowKey("job", "Grüße: 茶\u2028")


async def recorded() -> MemoryStore:
    """Two codes, an effect's outcome, a batch of three rows, text beyond ASCII."""
    store = MemoryStore()
    tables = store.tables
    for digest in (b"1", b"2"):
        place = MemoryStore(tables)
        env = Env("0", "2", "3", "", digest.decode())
        engine = ReducerPatternEngine(place, place, registry(Worker(), digest), SystemClock(), UuidV7(), env)
        async with await engine.start("test"):
            await engine.submit_many([(K, "add", Add(amount=n)) for n in (1, 2, 3)])
            await engine.submit(f"job:{digest.decode()}", "start", Start(text="schöne \u2028 Grüße"))
            await engine.idle()
    return store


async def exported(reader: Recorded) -> str:
    out = StringIO()
    assert isinstance(reader, (MemoryStore, HistoryReader))
    await export_history(reader, out)
    return out.getvalue()


async def segments(reader: Recorded) -> list[Segment]:
    replay = Replay(reader, registry(Worker(), b"2"), registry(Worker(), b"1").workflows)
    return [segment async for segment in replay.all()]


def read(text: str) -> HistoryReader:
    return HistoryReader(BytesIO(text.encode()))


def test_a_replay_over_the_file_says_what_a_replay_over_the_store_says() -> None:
    async def go() -> None:
        store = await recorded()
        there = await segments(store)
        assert [(str(one.key), one.first, one.last, one.verdict.value) for one in there] == [
            ("job:1", 1, 2, "equal"),
            ("job:2", 1, 2, "equal"),
            (str(K), 1, 3, "equal"),
            (str(K), 4, 6, "equal"),
        ]
        assert await segments(read(await exported(store))) == there

    asyncio.run(go())


def test_what_was_read_is_exported_as_the_same_bytes() -> None:
    async def go() -> None:
        first = await exported(await recorded())
        assert await exported(read(first)) == first

    asyncio.run(go())


def test_one_type_can_be_exported_alone() -> None:
    async def go() -> None:
        out = StringIO()
        assert await export_history(await recorded(), out, "order") == 0
        assert [json.loads(line)["line"] for line in out.getvalue().splitlines()] == ["head"]

    asyncio.run(go())


Change = Callable[[list[str]], list[str]]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines[:-1], "cut off"),
        (lambda lines: [], "cut off"),
        (lambda lines: lines[1:], ":1 is no line .* a history has one head"),
        (lambda lines: [*lines, lines[0]], "a history has one head"),
        (lambda lines: [lines[0], lines[1][:-9], *lines[2:]], ":2 is no line"),
        (lambda lines: [lines[0].replace('"format_version":1', '"format_version":2'), *lines[1:]], "format_version"),
        (lambda lines: [lines[0], lines[1].replace('"line":"row"', '"line":"code"'), *lines[2:]], ":2 .* KeyError"),
        (lambda lines: [lines[0], lines[1].replace('"version":1', '"version":"one"'), *lines[2:]], ":2 is a row .* version: Input"),
        (lambda lines: [lines[0], lines[1].replace('"action_id":"', '"action_id":"g'), *lines[2:]], ":2 .* fromhex"),
        (lambda lines: [lines[0], lines[1].replace('"status"', '"import"'), *lines[2:]], ":2 is a row .* row.import"),
        (lambda lines: ["[1]"], ":1 is no line"),
        (lambda lines: ["\x00"], ":1 is no line"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_whole_is_refused_at_its_line(change: Change, sentence: str) -> None:
    lines = asyncio.run(recorded_lines())
    with pytest.raises(HistoryUnreadable, match=sentence):
        asyncio.run(segments(read("".join(f"{line}\n" for line in change(lines)))))


async def recorded_lines() -> list[str]:
    return (await exported(await recorded())).removesuffix("\n").split("\n")


def test_a_changed_byte_in_the_file_is_a_mismatch() -> None:
    async def go() -> None:
        text = await exported(await recorded())
        assert text.count('{\\"amount\\":3}') == 2
        changed = text.replace('{\\"amount\\":3}', '{\\"amount\\":4}', 1)
        assert [one.verdict.value for one in await segments(read(changed))].count("MISMATCH") == 1

    asyncio.run(go())
