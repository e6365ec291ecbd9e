"""An exported history replays as the store it came from, is the same bytes each time, and is refused where it is not whole."""

from __future__ import annotations

import asyncio
import functools
import json
import re
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO, StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.adapters.clock import SystemClock, UuidV7
from onex.adapters.memory.store import MemoryStore
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.refold import Recorded
from onex.kernel.action import WorkflowKey
from onex.ports import Env
from onex.replay.history_export import export_history
from onex.replay.history_line import HistoryUnreadable
from onex.replay.history_reader import HistoryReader
from onex.replay.replay import Replay
from onex.replay.verdict import Segment
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


def rows_of(lines: list[str]) -> list[int]:
    return [number for number, line in enumerate(lines) if line.startswith('{"line":"row"')]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: [*lines[:2], lines[1], *lines[2:]], ":3: version 1 of job:1 follows version 1"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], ":3: version 1 of job:1 follows version 2"),
        (lambda lines: [lines[0], *lines[2:4], lines[1], *lines[4:]], ":4: it is not a row of job:2"),
        (lambda lines: [*lines, *lines[1:]], ":18: job:1 stands twice"),
        (lambda lines: [lines[0], *lines[4:7], *lines[1:4], *lines[7:]], ":7: job:1 is out of order"),
        (lambda lines: [*lines[:-2], lines[-1]], "of its batch|is kept"),
        (lambda lines: [*lines[:-2], lines[-2], lines[-2], lines[-1]], "at version 3 is out of order"),
        (lambda lines: [*lines[:3], lines[-2], *lines[3:]], ":4: the states before it are of .*, not of job:1|:5: the s"),
        (lambda lines: [*lines[:-3], lines[-2], lines[-3], lines[-1]], "a row stands behind its instance's kept states"),
        (lambda lines: [lines[0], lines[1].replace('"code_id"', '"redacted":[1],"code_id"'), *lines[2:]], ":2 is a row"),
        (lambda lines: [lines[0], "x" * (32 * 1024 * 1024 + 1), *lines[1:]], ":2 is no line .* more than 33554432 bytes"),
        (lambda lines: [lines[0], "[" * 100_000, *lines[1:]], ":2 is no line .* depth limit"),
        (lambda lines: [lines[0], lines[1].replace('"version":1', f'"version":{10**400}'), *lines[2:]], ":2 is no .* infinity"),
        (lambda lines: [lines[0], lines[1].replace('"version":1', f'"version":{2**63}'), *lines[2:]], ":2 .* no number of 8"),
        (lambda lines: [lines[0], lines[1].replace('"position":[0,', '"position":[0.0,'), *lines[2:]], ":2 .* no number of 8"),
        (lambda lines: [lines[0], lines[1].replace('"kind":"', '"kind":"\\ud800'), *lines[2:]], ":2 is no line .* surrogate"),
        (lambda lines: [line.replace('["job","1"]', '["job","\\udfff"]') for line in lines], ":4 is no line .* surrogate"),
    ],
)  # fmt: skip
def test_a_file_that_was_put_together_otherwise_is_refused_at_its_line(change: Change, sentence: str) -> None:
    lines = asyncio.run(recorded_lines())
    assert (rows_of(lines), len(lines)) == ([1, 2, 4, 5, 7, 8, 9, 10, 11, 12], 15)

    async def go() -> list[str]:
        found = await segments(read("".join(f"{line}\n" for line in change(lines))))
        return [one.reason for one in found if one.reason]

    try:
        told = "; ".join(asyncio.run(go()))
    except HistoryUnreadable as error:
        told = error.message
    assert re.search(sentence, told), told


@functools.cache
def whole() -> bytes:
    return "\n".join(asyncio.run(recorded_lines())).encode()


@given(st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 3)), min_size=1, max_size=3))
def test_whatever_is_done_to_a_file_it_is_refused_or_judged(changes: list[tuple[int, bytes, int]]) -> None:
    data = whole()
    for where, put, cut in changes:
        at = where % len(data)
        data = data[:at] + put + data[at + cut :]
    verdicts = ["unreadable"]
    with suppress(HistoryUnreadable):
        verdicts = [one.verdict.value for one in asyncio.run(segments(HistoryReader(BytesIO(data))))]
    assert data.rstrip(b"\n") == whole() or set(verdicts) != {"equal"} or _means_the_same(data)


def _means_the_same(data: bytes) -> bool:
    """What no verdict speaks of: where and under what a row was made, and what no reducer sees of an instance."""
    unjudged = (
        "position",
        "env_id",
        "envs",
        "epoch",
        "failures",
        "held",
        "lease_id",
        "lease_until_us",
        "codes",
        "redacted",
    )

    def plain(text: bytes) -> list[dict[str, object]]:
        return [{n: v for n, v in json.loads(line).items() if n not in unjudged} for line in text.splitlines() if line]

    return plain(asyncio.run(exported(read(data.decode()))).encode()) == plain(whole())


def test_the_end_may_lack_its_line_end() -> None:
    text = "\n".join(asyncio.run(recorded_lines()))
    assert len(asyncio.run(segments(read(text)))) == 4


def test_an_instance_is_read_page_by_page_from_wherever_it_was_left() -> None:
    async def go() -> None:
        run = read(await exported(await recorded()))
        assert run.actions == 10
        whole = await run.history(K, 0, 100)
        assert [entry.version for entry in whole] == [1, 2, 3, 4, 5, 6]
        pages = [await run.history(K, after, 2) for after in (0, 2, 4, 6)]
        assert [one for page in pages for one in page] == whole
        assert await run.history(K, 3, 2) == whole[3:5]  # back again
        assert await run.history(WorkflowKey("job", "nobody"), 0, 9) == []
        assert list(await run.load([K, WorkflowKey("job", "nobody")])) == [K]
        assert [one.key.instance_id for one in await run.instances("job", None, WorkflowKey("job", "1"), 1)] == ["2"]

    asyncio.run(go())


def test_a_changed_byte_in_the_file_is_a_mismatch() -> None:
    async def go() -> None:
        text = await exported(await recorded())
        assert text.count('{\\"amount\\":3}') == 2
        changed = text.replace('{\\"amount\\":3}', '{\\"amount\\":4}', 1)
        assert [one.verdict.value for one in await segments(read(changed))].count("MISMATCH") == 1

    asyncio.run(go())
