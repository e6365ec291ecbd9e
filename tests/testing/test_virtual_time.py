"""An app in virtual time: idle time costs no work, whatever is due happens at its moment, and every run is the same."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel, JsonValue

import onex.bench.subscription
from examples.orders.payloads import Item, Order, Place
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import EffectFailed, EngineClosed, InstanceFinished, Refused, ValidationError
from onex.kernel.intent import ModelIntent
from onex.nodes.given import InvalidExecutor
from onex.simulation.loop import DeadlockError, UnhandledError, UnsimulatedError
from onex.testing.virtual_time import VirtualRun, virtual
from onex.workflows import code_analysis
from onex.workflows.code_analysis import tree

ROOT = Path(__file__).resolve().parents[2]
ORDERS = ROOT / "examples" / "orders"
SUMS = ROOT / "tests" / "wiring" / "sums"
SUBSCRIPTION = Path(onex.bench.subscription.__file__).parent
ANN = "subscription:ann"
PLAN: dict[str, JsonValue] = {"cents": 900}
TEA: dict[str, JsonValue] = {"items": [{"sku": "tea", "quantity": 2, "cents": 450}]}
MONTH = timedelta(days=30)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def charged_at(run: VirtualRun, key: str) -> list[datetime]:
    at = (entry.row.issued_us for entry in run.history(key) if entry.row.kind == "charged")
    return [datetime.fromtimestamp(us / 1_000_000, UTC) for us in at]


def receipt(intent: ModelIntent[BaseModel]) -> dict[str, str]:
    return {"receipt": "r1"}


def packed(intent: ModelIntent[BaseModel]) -> dict[str, str]:
    return {"parcel": "p1"}


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_year_of_monthly_renewals_takes_no_more_work_than_its_renewals() -> None:
    """On a real clock the engine looks at it twice a minute, a million times a year."""
    with virtual(SUBSCRIPTION) as run:
        run.submit(ANN, "subscribe", PLAN)
        run.skip(days=365)
        assert run.now == BEGIN + timedelta(days=365)
        assert charged_at(run, ANN) == [BEGIN + n * MONTH for n in range(13)]
        assert run.state(ANN).model_dump()["months"] == 13
        assert run.steps < 13 * 30


def test_an_action_may_name_the_version_it_was_decided_on() -> None:
    with virtual(SUBSCRIPTION) as run:
        assert run.submit(ANN, "subscribe", PLAN, expected_version=0).version == 1
        before = run.history(ANN)
        with pytest.raises(Refused, match="is at version 2, not 1") as refused:
            run.submit(ANN, "cancel", expected_version=1)
        assert (refused.value.code, refused.value.retryable) == ("version_conflict", False)
        assert run.history(ANN) == before
        assert run.submit(ANN, "cancel", expected_version=2).version == 3


def test_nothing_polls_while_a_coroutine_sleeps() -> None:
    """It passes over nothing, so every timer of the engine would be met: looks at the inbox, the clock, the store."""
    with virtual(SUBSCRIPTION) as run:
        run.submit(ANN, "subscribe", PLAN)
        before = run.steps
        run.run(asyncio.sleep(29 * 86_400))
        assert run.steps - before < 10
        run.run(asyncio.sleep(331 * 86_400))
        assert charged_at(run, ANN) == [BEGIN + n * MONTH for n in range(13)]
        assert run.steps - before < 13 * 30


def test_each_instance_meets_its_own_moments() -> None:
    """One begins every 37 minutes, so some moments lie less, some more than the engine's look ahead apart."""
    with virtual(SUBSCRIPTION, start=datetime(2031, 5, 17, 11, 3, 7, 250_001, tzinfo=UTC)) as run:
        begun = {}
        for n in range(20):
            begun[f"subscription:{n}"] = run.now
            run.submit(f"subscription:{n}", "subscribe", PLAN)
            run.skip(minutes=37 if n % 2 else 0.5)
        run.skip(days=95)
        for key, at in begun.items():
            assert charged_at(run, key) == [at + n * MONTH for n in range(4)]


def test_a_run_is_the_same_every_time() -> None:
    def told(seed: int) -> tuple[int, list[tuple[bytes, bytes]]]:
        with virtual(SUBSCRIPTION, seed=seed) as run:
            for n in range(5):
                run.submit(f"subscription:{n}", "subscribe", PLAN)
            run.skip(days=100)
            rows = [entry.row for n in range(5) for entry in run.history(f"subscription:{n}")]
            return run.steps, [(row.action_id, row.intents) for row in rows]

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_time_goes_to_a_moment_and_never_back() -> None:
    with virtual(ORDERS, start=BEGIN) as run:
        run.until(BEGIN + timedelta(hours=1))
        assert run.now == BEGIN + timedelta(hours=1)
        with pytest.raises(ValidationError, match="is over"):
            run.until(BEGIN)
        with pytest.raises(ValidationError, match="is over"):
            run.skip(days=-1)
        with pytest.raises(ValidationError, match="no time zone"):
            run.until(datetime(2030, 1, 1))  # noqa: DTZ001 - that is the mistake
    with pytest.raises(ValidationError, match="no time zone"), virtual(ORDERS, start=datetime(2030, 1, 1)):  # noqa: DTZ001
        pass


def test_a_status_that_times_out_does_so_to_the_microsecond() -> None:
    with virtual(ORDERS, executors={"bank": declines}) as run:
        run.submit("orders:1", "place", TEA)
        assert run.state("orders:1").status == "basket"
        run.until(BEGIN + timedelta(days=7) - timedelta(microseconds=1))
        assert run.state("orders:1").status == "basket"
        run.until(BEGIN + timedelta(days=7))
        assert run.state("orders:1").status == "cancelled"


# --- waiting ----------------------------------------------------------------------------------------------------------


def declines(intent: ModelIntent[BaseModel]) -> None:
    raise EffectFailed("no credit", code="declined")


def test_waiting_lets_time_pass_until_the_status_is_there() -> None:
    with virtual(ORDERS, executors={"bank": declines}) as run:
        run.submit("orders:1", "place", TEA)
        assert run.wait("orders:1").status == "cancelled"
        assert run.now == BEGIN + timedelta(days=7)


def test_a_wait_for_what_does_not_come_ends_when_nothing_is_due_any_more() -> None:
    with virtual(ORDERS, executors={"bank": receipt, "warehouse": packed}) as run:
        run.submit("orders:1", "place", TEA)
        with pytest.raises(TimeoutError, match=r"orders:2 did not reach .* nothing is due any more .*it has not begun"):
            run.wait("orders:2")
        assert run.now == BEGIN


def test_a_wait_has_an_end_though_something_is_always_due() -> None:
    with virtual(SUBSCRIPTION) as run:
        run.submit(ANN, "subscribe", PLAN)
        with pytest.raises(
            TimeoutError, match=r"did not reach a terminal status by 2026-03-02.*its status is 'active'"
        ):
            run.wait(ANN, within=2 * MONTH)
        assert run.now == BEGIN + 2 * MONTH
        with pytest.raises(ValidationError, match="no status"):
            run.wait(ANN, "activ")


# --- effects ----------------------------------------------------------------------------------------------------------


def test_retries_wait_in_virtual_time() -> None:
    """Four tries that fail, and the fifth succeeds: the waits between them pass at once."""

    def busy(intent: ModelIntent[BaseModel]) -> dict[str, str]:
        if len(run.calls("bank")) < 5:
            raise EffectFailed("busy", retryable=True)
        return {"receipt": "r1"}

    with virtual(ORDERS, executors={"bank": busy, "warehouse": packed}) as run:
        assert run.submit("orders:1", "place", TEA).status == "charging"
        assert run.wait("orders:1").status == "shipped"
        assert len({intent.idempotency_key for intent in run.calls("bank")}) == 1
        assert len(run.calls("bank")) == 5
        assert timedelta(0) < run.now - BEGIN < timedelta(hours=1)
        assert run.steps < 500


def test_an_async_effect_sleeps_in_virtual_time_and_may_be_timed_out() -> None:
    async def slow(intent: ModelIntent[BaseModel]) -> dict[str, str]:
        await asyncio.sleep(20)
        return {"receipt": "r1"}

    async def hangs(intent: ModelIntent[BaseModel]) -> None:
        await asyncio.sleep(1_000_000)

    with virtual(ORDERS, executors={"bank": slow, "warehouse": packed}) as run:
        run.submit("orders:1", "place", TEA)
        run.skip(seconds=19.9)
        assert run.state("orders:1").status == "charging"
        run.skip(seconds=0.1)
        assert run.state("orders:1").status == "shipped"
    with virtual(ORDERS, executors={"bank": hangs}) as run:
        run.submit("orders:1", "place", TEA)
        assert run.wait("orders:1", "in_doubt").version == 2
        assert "no answer within" in run.state("orders:1").model_dump()["trouble"]


def test_the_apps_own_effects_run_unless_they_are_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path))
    with virtual(ORDERS, executors={"bank": receipt}) as run:
        run.submit("orders:1", "place", TEA)
        assert run.state("orders:1").status == "shipped"
        assert [intent.serialize_payload() for intent in run.calls("bank")] == [{"cents": 900}]
        with pytest.raises(ValidationError, match="nothing serves 'bnak'; there is bank, warehouse"):
            run.calls("bnak")
    assert [folder.name for folder in tmp_path.iterdir()] == ["parcels"]
    with pytest.raises(InvalidExecutor, match="no target 'bnak'"), virtual(ORDERS, executors={"bnak": receipt}):
        pass


def test_compute_functions_run_in_this_process_or_are_replaced() -> None:
    heard: list[str] = []

    def somebody(intent: ModelIntent[BaseModel]) -> None:
        heard.append(intent.payload.model_dump_json())

    with virtual(SUMS, executors={"somebody": somebody}) as run:
        run.submit("sums:1", "add", {"numbers": [1, 2, 39]})
        assert run.state("sums:1").model_dump()["total"] == 42
        assert heard == [f'{{"total":42,"worker":{os.getpid()}}}']
    with virtual(SUMS, executors={"somebody": somebody, "add_up": lambda intent: {"total": 7, "worker": 0}}) as run:
        run.submit("sums:1", "add", {"numbers": [1, 2, 39]})
        assert run.state("sums:1").model_dump()["total"] == 7


def test_blocking_code_runs_while_time_stands_still() -> None:
    """A plain effect sees no running loop, as in the thread that it has in a real engine."""

    def blocks(intent: ModelIntent[BaseModel]) -> dict[str, str]:
        return asyncio.run(asyncio.sleep(0, {"receipt": "r1"}))

    async def hands_over(intent: ModelIntent[BaseModel]) -> dict[str, str]:
        with pytest.raises(LookupError):
            await asyncio.to_thread(dict[str, str]().__getitem__, "nothing")
        return await asyncio.to_thread(packed, intent)

    with virtual(ORDERS, executors={"bank": blocks, "warehouse": hands_over}) as run:
        run.submit("orders:1", "place", TEA)
        assert (run.state("orders:1").status, run.now) == ("shipped", BEGIN)


def test_an_effect_that_opens_a_socket_ends_the_run_and_says_what_to_do() -> None:
    async def calls_out(intent: ModelIntent[BaseModel]) -> None:
        await asyncio.open_connection("localhost", 9)

    with pytest.raises(UnsimulatedError) as raised, virtual(ORDERS, executors={"bank": calls_out}) as run:
        run.submit("orders:1", "place", TEA)
    assert any("give a fake for it" in note for note in raised.value.__notes__)


def test_the_built_in_analysis_runs_whole_with_its_files_blobs_and_messages(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    for name in ("one.py", "two.py"):
        (tmp_path / "tree" / name).write_text("def f(a: int) -> int:\n    return a\n")
    job = tree.begin("mine", str(tmp_path / "tree"), ["one.py", "two.py"], str(tmp_path / "report"), "Two files")
    with virtual(Path(code_analysis.__file__).parent) as run:
        for one in job:
            run.submit(one.key, one.trigger, one.payload)
        assert (run.state("code_total:mine").status, run.now) == ("reported", BEGIN)
    assert "2 files in 1 directory" in (tmp_path / "report" / "report.md").read_text()


# --- the rest ---------------------------------------------------------------------------------------------------------


def test_a_refusal_is_raised_and_the_run_goes_on() -> None:
    with virtual(ORDERS, executors={"bank": receipt, "warehouse": packed}) as run:
        run.submit("orders:1", "cancel")
        with pytest.raises(InstanceFinished):
            run.submit("orders:1", "place", TEA)
        assert run.submit("orders:2", "cancel").status == "cancelled"
        with pytest.raises(ValidationError, match="orders:3 has not begun"):
            run.state("orders:3")


def test_classes_that_the_test_imported_stand_for_the_apps_own() -> None:
    with virtual(ORDERS, executors={"bank": receipt, "warehouse": packed}) as run:
        key = WorkflowKey("orders", "1")
        items = (Item(sku="tea", quantity=2, cents=450),)
        run.submit(key, "place", Place(items=items))
        shipped = Order(status="shipped", items=items, total_cents=900, receipt="r1", parcel="p1")
        assert run.state(key, Order) == shipped
        assert run.state(key) != shipped


def test_coroutines_of_the_engine_run_and_their_time_passes() -> None:
    with virtual(SUBSCRIPTION) as run:

        async def story() -> float:
            await run.engine.submit(ANN, "subscribe", PLAN)
            await asyncio.sleep(90)
            return (await run.engine.submit(ANN, "cancel")).version

        assert run.run(story()) == 3
        assert run.now == BEGIN + timedelta(seconds=90)


def test_a_wait_for_what_can_never_happen_names_who_waits() -> None:
    with virtual(SUBSCRIPTION) as run:
        with pytest.raises(DeadlockError, match=r"Nothing can happen any more.*Event\.wait"):
            run.run(asyncio.Event().wait())
        assert run.submit(ANN, "subscribe", PLAN).status == "charging"


def test_what_fails_and_nobody_awaits_is_raised_by_the_next_call() -> None:
    async def starts_a_task(intent: ModelIntent[BaseModel]) -> dict[str, str]:
        async def fails() -> None:
            raise LookupError("nobody looks")

        lost.append(asyncio.create_task(fails()))
        return {"receipt": "r1"}

    lost: list[asyncio.Task[None]] = []
    with (
        pytest.raises(UnhandledError, match="nobody looks"),
        virtual(ORDERS, executors={"bank": starts_a_task, "warehouse": packed}) as run,
    ):
        run.submit("orders:1", "place", TEA)
        lost.clear()
        run.skip(days=1)


def test_in_a_coroutine_it_says_where_it_belongs() -> None:
    async def story() -> None:
        with virtual(ORDERS):
            pass

    with pytest.raises(ValidationError, match="use it in a plain function"):
        asyncio.run(story())


def test_what_the_run_itself_calls_cannot_drive_it() -> None:
    refused: list[str] = []

    def bank(intent: ModelIntent[BaseModel]) -> dict[str, str]:
        for drive in (lambda: run.skip(days=1), lambda: run.submit("orders:2", "cancel"), lambda: run.wait("orders:1")):
            with pytest.raises(ValidationError, match="only the test can drive it") as raised:
                drive()
            refused.append(raised.value.code)
        return {"receipt": "r1"}

    with virtual(ORDERS, executors={"bank": bank, "warehouse": packed}) as run:
        run.submit("orders:1", "place", TEA)
        assert (run.state("orders:1").status, len(refused)) == ("shipped", 3)


def test_time_does_not_pass_over_an_engine_that_has_stopped() -> None:
    with virtual(SUBSCRIPTION) as run:
        run.submit(ANN, "subscribe", PLAN)
        run.engine.service.lose(EngineClosed("a fault of ours"))
        with pytest.raises(EngineClosed, match="a fault of ours"):
            run.skip(days=365)


def test_the_error_of_a_test_is_the_one_that_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), virtual(ORDERS) as run:
        run.submit("orders:1", "cancel")
        _ = 1 // 0
