"""Intake: whatever a caller hands in is applied, or refused by name and recorded; the engine goes on either way."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, UserDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from enum import StrEnum
from functools import partial
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from onex.engine.pattern_engine import ReducerPatternEngine
from onex.engine.pending import Committed
from onex.engine.registry import ReducerRegistry, Workflow
from onex.kernel.action import WorkflowKey
from onex.kernel.combine import Combined
from onex.kernel.errors import (
    ConcurrentModificationError,
    DuplicateActionError,
    InvalidKey,
    InvalidPayload,
    OnexError,
    Overloaded,
    PayloadTooLarge,
    ReservedKind,
    ValidationError,
)
from onex.kernel.step import ROLLBACK, Rollback, State
from onex.ports import Code, Pointer
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from onex.seed_names.canonical_store import ActionDedupService, CanonicalStoreService
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Job, Start, job_reducer
from tests.engine.test_store_faults import K, run

AN_ID = UUID("6f1d1b5e-4f0a-4c8e-9a54-0e0e5b0c7a01")
NOW = datetime(2026, 11, 29, tzinfo=UTC)


@pytest.fixture
def memory(tmp_path: Any) -> OneStore:
    return OneStore("memory", tmp_path)


class Evil:
    """Raises at whatever is asked of it."""

    def __getattribute__(self, name: str) -> object:
        raise RuntimeError("evil")


class NoFriend(Mapping[str, Any]):
    """A mapping that raises when it is read."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def __getitem__(self, name: str) -> object:
        raise self.error

    def __iter__(self) -> Iterator[str]:
        raise self.error

    def __len__(self) -> int:
        raise self.error


class Untellable(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Endless(NoFriend):
    def __init__(self) -> None:
        super().__init__(KeyError())

    def __getitem__(self, name: str) -> object:
        return 1

    def __iter__(self) -> Iterator[str]:
        n = 0
        while True:
            n += 1
            yield f"{n}"


class Items(dict[str, Any]):
    def items(self) -> Any:
        raise GeneratorExit


def holding_itself() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["text"] = value
    return value


def deep(levels: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(levels):
        value = {"text": value}
    return value  # type: ignore[no-any-return]


UNCHECKED: dict[str, Any] = {"text": 5}
NOTHING_AT_ALL: dict[str, Any] = {}
PAYLOADS: dict[str, tuple[Any, type[OnexError]]] = {
    "text": ('{"text": "pay 5000"}', InvalidPayload),
    "no text": ("", InvalidPayload),
    "a list": ([1], InvalidPayload),
    "an empty list": ([], InvalidPayload),
    "a tuple": (("text", "x"), InvalidPayload),
    "pairs": ([("text", "x")], InvalidPayload),
    "a set": ({"text"}, InvalidPayload),
    "an int": (7, InvalidPayload),
    "zero": (0, InvalidPayload),
    "a bool": (True, InvalidPayload),
    "false": (False, InvalidPayload),
    "a float": (1.5, InvalidPayload),
    "a time": (NOW, InvalidPayload),
    "a bytearray": (bytearray(b'{"text": "x"}'), InvalidPayload),
    "an object": (object(), InvalidPayload),
    "a model class": (Start, InvalidPayload),
    "a model of another class": (Add(), InvalidPayload),
    "a model made unchecked": (Start.model_construct(**UNCHECKED), InvalidPayload),
    "a model made of nothing": (Start.model_construct(**NOTHING_AT_ALL), InvalidPayload),
    "a surrogate in a model": (Start(text="x\ud800"), InvalidPayload),
    "NUL in a model": (Start(text="a\0"), InvalidPayload),
    "no bytes at all": (b"", InvalidPayload),
    "bytes of a list": (b"[1]", InvalidPayload),
    "bytes of text": (b'"x"', InvalidPayload),
    "bytes of null": (b"null", InvalidPayload),
    "bytes of a number": (b"7", InvalidPayload),
    "key twice in bytes": (b'{"text": "a", "text": "b"}', InvalidPayload),
    "a key that is no text": ({"text": "x", 1: 2}, InvalidPayload),
    "a key that is None": ({None: "x"}, InvalidPayload),
    "a key that is bytes": ({b"text": "x"}, InvalidPayload),
    "a key that is no text, deep": ({"text": {1: 2}}, InvalidPayload),
    "a time inside": ({"text": NOW}, InvalidPayload),
    "a set inside": ({"text": {1}}, InvalidPayload),
    "bytes inside": ({"text": b"x"}, InvalidPayload),
    "NaN": ({"text": math.nan}, InvalidPayload),
    "infinity": ({"text": math.inf}, InvalidPayload),
    "an integer of 10,000 digits": ({"text": 10**10_000}, InvalidPayload),
    "a surrogate": ({"text": "\ud800"}, InvalidPayload),
    "a surrogate in a key": ({"\ud800": 1}, InvalidPayload),
    "NUL": ({"text": "\0"}, InvalidPayload),
    "itself": (holding_itself(), InvalidPayload),
    "too deep": (deep(33), InvalidPayload),
    "far too deep": (deep(3_000), InvalidPayload),
    "a mapping that raises": (NoFriend(KeyError("x")), InvalidPayload),
    "a mapping that exits": (NoFriend(SystemExit(1)), InvalidPayload),
    "a mapping that is interrupted": (NoFriend(KeyboardInterrupt()), InvalidPayload),
    "a mapping that stops": (NoFriend(StopIteration()), InvalidPayload),
    "a mapping that raises what cannot be told": (NoFriend(Untellable()), InvalidPayload),
    "a dict whose items raise": (Items(text="x"), InvalidPayload),
    "a mapping without end": (Endless(), PayloadTooLarge),
    "a huge list": ({"text": [1] * 200_000}, PayloadTooLarge),
    "a huge text": ({"text": "x" * 300_000}, PayloadTooLarge),
    "what raises at everything": (Evil(), InvalidPayload),
    "what raises inside": ({"text": Evil()}, InvalidPayload),
}


@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_that_is_none_is_refused_recorded_and_never_replaced_by_defaults(memory: OneStore, name: str) -> None:
    payload, error = PAYLOADS[name]

    async def go() -> None:
        async with memory.engine() as engine:
            # the second could do with its defaults; a model is the right one for one of them
            for trigger in (
                ("start",) if type(payload) is Add else ("add",) if type(payload) is Start else ("start", "add")
            ):
                with pytest.raises(OnexError) as refused:
                    await engine.submit(K, trigger, payload)
                assert type(refused.value) is error
            rows = await engine.reader.rejections(str(K), None, 0, 10)
            assert {row.code for row in rows} == {error.code}
            assert await engine.stored(K) is None
            assert (await engine.submit(K, "add", Add())).version == 1

    run(go())


class Word(str):
    """Text of a class of its own, as members of a StrEnum are."""


class Trigger(StrEnum):
    START = "start"


@pytest.mark.parametrize(
    "payload",
    [
        Start(text="x"),
        {"text": "x"},
        b'{"text":"x"}',
        b' {"text" : "\\u0078"} ',
        MappingProxyType({"text": "x"}),
        UserDict({"text": "x"}),
        OrderedDict(text="x"),
        {Word("text"): Word("x")},
    ],
)
def test_one_id_and_body_is_one_action_in_whatever_it_is_said(one_store: OneStore, payload: Any) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            first = await engine.submit(K, "start", {"text": "x"}, action_id=AN_ID)
            again = await engine.submit(Word("job:1"), Trigger.START, payload, action_id=AN_ID)
            assert (again.version, again.duplicate) == (first.version, True)
            with pytest.raises(DuplicateActionError):
                await engine.submit(K, "start", {"text": "y"}, action_id=AN_ID)

    run(go())


# --- every other argument -----------------------------------------------------------------------------------------------

KEYS: list[Any] = [
    None,
    5,
    True,
    b"job:1",
    ["job", "1"],
    ("job",),
    ("job", "1", "2"),
    ("job", 1),
    (None, None),
    WorkflowKey(5, "1"),  # type: ignore[arg-type]
    WorkflowKey("job", None),  # type: ignore[arg-type]
    WorkflowKey(["job"], "1"),  # type: ignore[arg-type]
    WorkflowKey("job", "a\0"),
    WorkflowKey("job", "\ud800"),
    WorkflowKey("", ""),
    "",
    ":",
    "job",
    "job:\udcff",
    "x" * 1_000_000,
    "job:" + "x" * 1_000_000,
    {"job": "1"},
    {"job:1"},
    WorkflowKey,
    Evil(),
]


@pytest.mark.parametrize("number", range(len(KEYS)))
def test_a_key_that_is_none_is_refused_wherever_one_is_asked_for(memory: OneStore, number: int) -> None:
    key = KEYS[number]

    async def go() -> None:
        async with memory.engine() as engine:
            store = CanonicalStoreService(engine)
            calls: list[Callable[[], Any]] = [
                lambda: engine.submit(key, "add"),
                lambda: store.try_commit(key, "add", expected_version=0),
                lambda: engine.stored(key),
                lambda: engine.state(key),
                lambda: engine.state_at(key, 1),
                lambda: engine.wait(key, timeout_s=1),
                lambda: engine.rollback(key, 1),
                lambda: engine.release(key),
                lambda: store.get_state(key),
                lambda: ActionDedupService(engine).applied(key, AN_ID),
            ]
            for call in calls:
                with pytest.raises(ValidationError) as refused:
                    await call()
                assert len(refused.value.message) < 400
            rows = await engine.reader.rejections(None, None, 0, 10)
            assert rows and all(row.key.startswith("caller:") and len(row.key) < 1_000 for row in rows)
            assert (await engine.submit(K, "add")).version == 1

    run(go())


class Nowhen(tzinfo):
    def utcoffset(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("nowhen")

    def dst(self, moment: datetime | None) -> timedelta:
        raise RuntimeError("nowhen")

    def tzname(self, moment: datetime | None) -> str:
        raise RuntimeError("nowhen")


NO_IDS: list[Any] = ["6f1d1b5e-4f0a-4c8e-9a54-0e0e5b0c7a01", "", 5, b"x" * 16, True, object(), UUID, Evil()]
NO_TIMES: list[Any] = [
    datetime(2026, 1, 1),  # noqa: DTZ001
    date(2026, 1, 1),
    "2026-01-01T00:00:00Z",
    1_700_000_000,
    timedelta(1),
    datetime(2026, 1, 1, tzinfo=Nowhen()),
    datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC),
    datetime.min.replace(tzinfo=UTC),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=14))),
    datetime.max.replace(tzinfo=timezone(-timedelta(hours=12))),
    Evil(),
]
NO_COUNTS: list[Any] = [-1, True, False, "1", 1.0, 2**63, -(2**63), 10**5000, math.nan, [1], Evil()]
NO_SECONDS: list[Any] = [None, "1", -1, math.nan, True, 10**400, [], Evil()]
NO_STATUSES: list[Any] = [None, 5, ["new"], Evil()]
NO_POINTERS: list[Any] = [None, 5, "0:1:0", (), (0,), (0, "1"), (0, -1, 0), (0, True, 0), Evil()]
NO_ISSUERS: list[Any] = [None, 5, 0, False, b"me", ["me"], "nul\0", "\ud800", "x" * 1001, Evil()]
ARGUMENTS: dict[str, list[Any]] = {
    "action_id": NO_IDS,
    "correlation_id": NO_IDS,
    "cause": NO_IDS,
    "lease_id": NO_IDS,
    "issued_at": NO_TIMES,
    "expires_at": NO_TIMES,
    "epoch": NO_COUNTS,
    "expected_version": NO_COUNTS,
    "issuer": NO_ISSUERS,
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_of_a_wrong_type_or_out_of_range_is_that_actions_refusal(one_store: OneStore, name: str) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            for value in ARGUMENTS[name]:
                good, bad, after = await asyncio.gather(
                    engine.submit("job:good", "add"),
                    engine.submit(K, "add", **{name: value}),
                    engine.submit("job:good", "add"),
                    return_exceptions=True,
                )
                assert isinstance(good, Committed) and isinstance(after, Committed), (name, value)
                assert isinstance(bad, ValidationError) and name in bad.message, (name, value, bad)
            rows = await engine.reader.rejections(str(K), None, 0, 100)
            assert len(rows) == len(ARGUMENTS[name])
            assert await engine.stored(K) is None

    run(go())


TRIGGERS: list[Any] = [
    None,
    5,
    b"add",
    "",
    "a\0",
    "\ud800",
    "x" * 1_000_000,
    ["add"],
    {"add"},
    "fly",
    "\u202eadd",
    Evil(),
]


@pytest.mark.parametrize("number", range(len(TRIGGERS)))
def test_a_trigger_that_is_none_is_refused_and_recorded(one_store: OneStore, number: int) -> None:
    trigger = TRIGGERS[number]

    async def go() -> None:
        async with one_store.engine() as engine:
            with pytest.raises(OnexError) as refused:
                await engine.submit(K, trigger)
            assert refused.value.code in ("invalid", "illegal_transition")
            (row,) = await engine.reader.rejections(str(K), None, 0, 10)
            assert row.code == refused.value.code and len(row.message) < 400
            assert (await engine.submit(K, "add")).version == 1

    run(go())


def test_what_is_in_range_is_taken_to_its_ends(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            first = datetime(1970, 1, 1, tzinfo=UTC)
            last = datetime.max.replace(tzinfo=UTC)
            assert (await engine.submit("job:a", "add", issued_at=first, expires_at=last)).version == 1
            assert (await engine.submit("job:b", "add", issued_at=last, epoch=0, expected_version=0)).version == 1
            assert (await engine.submit("job:b", "add", issuer="x" * 1000, action_id=AN_ID)).version == 2
            row = await CanonicalStoreService(engine).get_state("job:b")
            assert row is not None and row.updated_at == last
            seen = await ActionDedupService(engine).applied("job:b", AN_ID)
            assert seen is not None and seen.expires_at == last
            with pytest.raises(ConcurrentModificationError):
                await engine.submit("job:b", "add", expected_version=2**63 - 1)
            with pytest.raises(OnexError, match="expired"):
                await engine.submit("job:b", "add", expires_at=first)

    run(go())


def test_of_many_the_malformed_ones_are_refused_and_the_others_judged(one_store: OneStore) -> None:
    entries: list[Any] = [
        (K, "add"),
        (K,),
        (),
        (K, "add", None, None),
        None,
        "abc",
        5,
        {K: "add"},
        (K, "add", [1]),
        (None, None, None),
        Evil(),
        [K, "add", Add(amount=2)],
    ]

    async def go() -> None:
        async with one_store.engine() as engine:
            answers = await engine.submit_many(entries)
            assert [type(one) for one in answers[1:-1]] == [
                *7 * [ValidationError], InvalidPayload, InvalidKey, ValidationError
            ]  # fmt: skip
            assert [one.version for one in (answers[0], answers[-1]) if isinstance(one, Committed)] == [1, 2]
            assert await engine.state(K) == Job(status="new", count=3)
            for nothing in (None, 5, "text", b"bytes", {"a": 1}, iter([(K, "add")]), Evil()):
                with pytest.raises(ValidationError):
                    await engine.submit_many(nothing)  # type: ignore[arg-type]
            with pytest.raises(Overloaded):
                await engine.submit_many([(K, "add", None)] * 20_001)

    run(go())


def test_whoever_waits_looks_or_operates_is_told_what_is_wrong(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add")
            calls: list[Callable[[], Any]] = [
                *[partial(engine.wait, K, timeout_s=s) for s in NO_SECONDS],
                *[partial(engine.wait, K, until=u, timeout_s=1) for u in NO_STATUSES],
                *[partial(engine.state_at, K, v) for v in NO_COUNTS],
                *[partial(engine.rollback, K, v) for v in (*NO_COUNTS, 0, 2, 2**62)],
                *[partial(engine.redrive, p) for p in NO_POINTERS],
                lambda: engine.redrive(Pointer(0, 2**64, 0)),
                lambda: engine.redrive(Pointer(0, 1, 0)),
                lambda: CanonicalStoreService(engine).try_commit(K, "add", expected_version=None),  # type: ignore[arg-type]
                lambda: ActionDedupService(engine).applied(K, str(AN_ID)),  # type: ignore[arg-type]
            ]
            for call in calls:
                with pytest.raises(ValidationError):
                    await call()
            for after in NO_POINTERS:
                with pytest.raises(ValidationError):
                    engine.subscribe(after)
            assert (await engine.wait(K, "new", math.inf)).version == 1
            assert (await engine.state_at(K, 0)) == Job(status="new")

    run(go())


# --- kinds that begin with @ ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ROLLBACK, "@release", "@redrive", "@shutdown", "@", "@Rollback"])
def test_nobody_submits_what_is_the_engines_own(one_store: OneStore, kind: str) -> None:
    back = Rollback(to_version=1, state={"status": "done", "text": "paid", "count": 0, "why": "", "big": ""})

    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add")
            for payload in (back, back.model_dump(), back.model_dump_json().encode(), None):
                for key in (K, WorkflowKey("job", "ghost")):
                    with pytest.raises(ReservedKind):
                        await engine.submit(key, kind, payload)
                    with pytest.raises(ReservedKind):
                        await CanonicalStoreService(engine).try_commit(key, kind, payload, expected_version=1)
                    (refused,) = await engine.submit_many([(key, kind, payload)])
                    assert type(refused) is ReservedKind
            assert await engine.stored("job:ghost") is None
            assert await engine.state(K) == Job(status="new", count=1)
            codes = {row.code for row in await engine.reader.rejections(None, None, 0, 100)}
            assert codes == {"reserved_kind"}

    run(go())


def test_a_rollback_needs_an_instance_and_a_version_that_it_has(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            with pytest.raises(ValidationError, match="has no version 1"):
                await engine.rollback("job:ghost", 1)
            await engine.submit(K, "add")
            await engine.submit(K, "add")
            with pytest.raises(ValidationError, match="has no version 3"):
                await engine.rollback(K, 3)
            assert (await engine.rollback(K, 1)).version == 3
            assert await engine.state(K) == Job(status="new", count=1)

    run(go())


class Pair(State):
    left: Job
    right: Job


def test_of_a_combined_workflow_the_whole_goes_back_and_nobody_submits_it(memory: OneStore) -> None:
    parts = {"left": job_reducer(), "right": job_reducer()}
    workflow = Workflow(Combined("pair", Pair, parts), Code("pair", "1.0.0", b"pair".ljust(32, b"\0"), 1))
    key = WorkflowKey("pair", "1")

    async def go() -> None:
        async with memory.engine(reducers=ReducerRegistry((workflow,))) as engine:
            await engine.submit(key, "add", Add(amount=1))
            await engine.submit(key, "left.add", Add(amount=2))
            ghost: dict[str, JsonValue] = {"status": "done", "text": "", "count": 9, "why": "", "big": ""}
            whole: dict[str, JsonValue] = {"status": "running", "left": ghost, "right": ghost}
            for kind, state in ((ROLLBACK, whole), (f"left.{ROLLBACK}", ghost)):
                payloads: list[Any] = [Rollback(to_version=1, state=state), {"to_version": 1, "state": state}]
                for payload in payloads:
                    with pytest.raises(OnexError) as refused:
                        await engine.submit(key, kind, payload)
                    assert refused.value.code == ("reserved_kind" if kind == ROLLBACK else "illegal_transition")
            assert (await engine.rollback(key, 1)).version == 3
            state_now = await engine.state(key)
            assert isinstance(state_now, Pair)
            assert (state_now.left.count, state_now.right.count) == (1, 1)
            told = [segment.verdict async for segment in Replay(engine.reader, engine.registry).all()]
            assert told == [EnumReplayVerdict.EQUAL]

    run(go())


# --- anything at all --------------------------------------------------------------------------------------------------

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters()),
    st.binary(max_size=40),
    st.datetimes(),
    st.datetimes(timezones=st.just(UTC)),
    st.dates(),
    st.timedeltas(),
    st.uuids(),
    st.decimals(),
    st.complex_numbers(),
    st.sampled_from([NoFriend(KeyError()), Start, Add(), Start(text="x"), K, object(), len, ...]),
    st.sampled_from(["job:1", "job:2", "add", "start", ROLLBACK, {"text": "x"}, {"amount": 1}, b'{"amount":1}']),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.text(max_size=5), st.integers(), st.none()), inner, max_size=3),
        st.tuples(inner, inner),
        st.tuples(inner, inner, inner),
    ),
    max_leaves=6,
)
NAMES = ["key", "kind", "payload", *ARGUMENTS]


def test_whatever_stands_in_whatever_place_is_applied_or_refused_by_name(memory: OneStore) -> None:
    loop = asyncio.new_event_loop()

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.dictionaries(st.sampled_from(NAMES), ANYTHING, min_size=1, max_size=3), st.lists(ANYTHING, max_size=3))
    def anything(given: dict[str, Any], entries: list[Any]) -> None:
        async def go() -> None:
            words: dict[str, Any] = {"key": "job:1", "kind": "add", **given}
            with suppress(OnexError):
                assert isinstance(await engine.submit(**words), Committed)
            for answer in await engine.submit_many(entries):
                assert isinstance(answer, Committed | OnexError)
            assert isinstance(
                await engine.submit(f"job:good{engine.counters.committed}", "add", {"amount": 1}), Committed
            )

        loop.run_until_complete(go())

    async def opened() -> ReducerPatternEngine:
        return await opening.__aenter__()

    opening = memory.engine()
    engine = loop.run_until_complete(opened())
    try:
        anything()
    finally:
        loop.run_until_complete(opening.__aexit__(None, None, None))
        loop.close()
