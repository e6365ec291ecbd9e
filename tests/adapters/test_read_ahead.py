"""What is read ahead is what would be read one by one, in whatever order it is asked for, and takes fewer reads."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onex.adapters.read_ahead import LONG, ROWS, ReadAhead
from onex.adapters.sqlite.read import SqliteReads
from onex.bench.load import entries, opened, refuse_refusals
from onex.kernel.action import WorkflowKey
from onex.ports import LogEntry, Stored

KEYS = 60
LENGTHS = {"account:7": LONG + 10, "account:8": LONG}
"""Of instances that have more rows than the others, which have one to four."""


async def written(folder: Path) -> None:
    async with opened("sqlite", folder) as engine:
        for n in range(KEYS):
            count = LENGTHS.get(f"account:{n}", 1 + n % 4)
            sent = [(f"account:{n}", trigger, payload) for _, trigger, payload in entries(0, 1, 1, 0, count)]
            refuse_refusals(await engine.submit_many(sent))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("read_ahead")
    asyncio.run(written(place))
    return place


@pytest.fixture(scope="module")
def reads(folder: Path) -> Iterator[SqliteReads]:
    found = SqliteReads(folder / "store.db")
    yield found
    found.close()


class Counted:
    """Reads of several histories at once, and how many there were."""

    def __init__(self, reads: SqliteReads) -> None:
        self.reads, self.calls = reads, 0

    async def histories(self, instances: Sequence[Stored]) -> Mapping[WorkflowKey, Sequence[LogEntry]]:
        self.calls += 1
        assert len(instances) > 1 and sum(stored.version for stored in instances) <= ROWS
        return self.reads.histories(instances)


def whole(ahead: ReadAhead, key: WorkflowKey) -> Sequence[LogEntry] | None:
    return asyncio.run(ahead.whole(key))


def page_of(reads: SqliteReads) -> Sequence[Stored]:
    page = reads.instances(None, None, None, 1000)
    assert len(page) == KEYS
    return page


@pytest.mark.parametrize("stride", [1, 2, 7])
def test_instances_that_are_asked_for_in_steps_are_read_several_at_once(reads: SqliteReads, stride: int) -> None:
    counted, page = Counted(reads), page_of(reads)
    ahead = ReadAhead(counted.histories)
    ahead.begin(page)
    asked = page[stride - 1 :: stride]
    alone = 0
    for stored in asked:
        entries = whole(ahead, stored.key)
        if entries is None:
            alone += 1
        else:
            assert entries == reads.history(stored.key, 0, 1000)
    assert counted.calls + alone <= 2 + len(asked) // 3
    assert counted.calls


@settings(max_examples=60, deadline=None)
@given(order=st.lists(st.integers(0, KEYS - 1), max_size=80))
def test_in_any_order_each_history_is_the_one_that_is_stored_or_is_read_alone(
    reads: SqliteReads, order: list[int]
) -> None:
    page = page_of(reads)
    ahead = ReadAhead(Counted(reads).histories)
    ahead.begin(page)
    for place in order:
        key = page[place].key
        found = whole(ahead, key)
        assert found is None or found == reads.history(key, 0, 1000)


def test_what_is_damaged_or_missing_is_left_to_the_read_that_says_so(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(folder / "store.db") as source, sqlite3.connect(path) as target:
        source.backup(target)
        target.execute("pragma ignore_check_constraints = on")
        target.execute(
            "delete from log where version = 2 and instance = (select min(instance) from log where version = 3)"
        )
    reads = SqliteReads(path)
    page = [stored for stored in page_of(reads) if stored.version <= LONG]
    found = reads.histories(page)
    assert len(page) - len(found) == 1
    (damaged,) = (stored for stored in page if stored.key not in found)
    ahead = ReadAhead(Counted(reads).histories)
    ahead.begin([damaged._replace(instance="one"), *page])  # type: ignore[arg-type]  # as a damaged row gives it
    for stored in page:
        entries = whole(ahead, stored.key)
        assert entries is None or (entries == found[stored.key] and stored is not damaged)
    reads.close()
