"""What a caller is promised: order, durability, one application per id, and a record of every refusal."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid5

import pytest

from onex.engine.limits import Limits
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import (
    ActionExpiredError,
    DuplicateActionError,
    EngineClosed,
    EpochMismatchError,
    GuardFailed,
    InstanceFinished,
    InstanceHeld,
    InvalidKey,
    InvalidPayload,
    InvalidStateTransitionError,
    LeaseValidationError,
    OnexError,
    Overloaded,
    OwnershipLost,
    PayloadTooLarge,
    ReducerFailed,
    UnknownWorkflow,
    ValidationError,
)
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from tests.engine.conftest import OneStore
from tests.engine.jobs import Add, Grow, Job, Start, Told

K = WorkflowKey("job", "1")
ID = uuid5(UUID(int=1), "an id")


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


async def version(engine: ReducerPatternEngine, key: WorkflowKey = K) -> int:
    stored = await engine.stored(key)
    return stored.version if stored is not None else 0


def test_actions_of_one_key_are_applied_in_the_order_sent(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            answers = await engine.submit_many([(K, "add", Add(amount=2 * n)) for n in range(1, 101)])
            assert [a.version for a in answers if not isinstance(a, OnexError)] == list(range(1, 101))
            positions = [a.position for a in answers if not isinstance(a, OnexError)]
            assert [p.n for p in positions] == list(range(1, 101))
            assert await engine.state(K) == Job(status="new", count=10100)

    run(go())


def test_many_keys_share_one_commit(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit_many([(f"job:{n % 50}", "add", Add()) for n in range(500)])
            assert engine.counters.committed == 500
            assert engine.counters.batches < 20

    run(go())


def test_what_was_committed_is_there_after_a_restart(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit("job:1", "add", Add(amount=2))
        async with one_store.engine() as engine:
            done = await engine.submit("job:1", "add", Add(amount=3))
            assert done.version == 2
            assert await engine.state("job:1") == Job(status="new", count=5)

    run(go())


def test_the_same_id_and_body_is_applied_once_and_answered_again(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            first = await engine.submit(K, "start", Start(text="a"), action_id=ID)
            await engine.wait(K)
            # by now the machine would refuse it; the first answer comes all the same
            again = await engine.submit(K, "start", Start(text="a"), action_id=ID)
            assert again == first._replace(duplicate=True)
        async with one_store.engine() as engine:
            again = await engine.submit(K, "start", Start(text="a"), action_id=ID)
            assert again == first._replace(duplicate=True)

    run(go())


def test_a_duplicate_that_would_still_be_legal_is_not_applied_either(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            first = await engine.submit(K, "add", Add(amount=1), action_id=ID)
            calls = [
                engine.submit(K, "add", Add(amount=10)),
                engine.submit(K, "add", Add(amount=1), action_id=ID),
                engine.submit("job:2", "add", Add(amount=7)),
                engine.submit(K, "add", Add(amount=100)),
            ]
            done = await asyncio.gather(*calls)
            assert done[1] == first._replace(duplicate=True)
            assert [d.version for d in done] == [2, 1, 1, 3]
            assert await engine.state(K) == Job(status="new", count=111)

    run(go())


def test_the_same_id_in_flight_is_one_action(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            both = await asyncio.gather(*(engine.submit(K, "add", Add(), action_id=ID) for _ in range(2)))
            assert both[0].version == both[1].version == 1
            assert await version(engine) == 1

    run(go())


def test_the_same_id_with_another_body_is_refused(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add(amount=1), action_id=ID)
            with pytest.raises(DuplicateActionError):
                await engine.submit(K, "start", Start(text="a"), action_id=ID)
            assert await version(engine) == 1

    run(go())


def test_what_was_applied_is_answered_again_while_another_body_under_its_id_is_in_flight(one_store: OneStore) -> None:
    """promise 6: found by a simulated life (182) in which two clients quarrelled over an id."""

    async def go() -> None:
        async with one_store.engine() as engine:
            first = await engine.submit(K, "add", Add(amount=1), action_id=ID)
            other = asyncio.create_task(engine.submit(K, "start", Start(text="a"), action_id=ID))
            await asyncio.sleep(0)
            assert await engine.submit(K, "add", Add(amount=1), action_id=ID) == first._replace(duplicate=True)
            with pytest.raises(DuplicateActionError):
                await other

    run(go())


def test_a_refused_action_leaves_no_trace_but_its_rejection(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            calls = [
                engine.submit(K, "add", Add(amount=1)),
                engine.submit(K, "again", action_id=ID),
                engine.submit(K, "add", Add(amount=2)),
                engine.submit("job:2", "add", Add(amount=3)),
            ]
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert isinstance(done[1], InvalidStateTransitionError)
            assert "it accepts add, alarm, grow" in done[1].message
            assert await engine.state(K) == Job(status="new", count=3)
            assert await engine.state("job:2") == Job(status="new", count=3)
            rows = await engine.reader.rejections(str(K), None, 0, 10)
            assert [(r.code, r.action_id, r.times) for r in rows] == [("illegal_transition", ID.bytes, 1)]
            with pytest.raises(InvalidStateTransitionError):
                await engine.submit(K, "again", action_id=ID)
            rows = await engine.reader.rejections(str(K), ID.bytes, 0, 10)
            assert [r.times for r in rows] == [2]

    run(go())


def test_an_unknown_key_begins_only_with_what_its_initial_state_accepts(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            with pytest.raises(InvalidStateTransitionError):
                await engine.submit("job:ghost", "again")
            assert await engine.stored("job:ghost") is None

    run(go())


def deep(depth: int) -> bytes:
    return b'{"text":' + b"[" * depth + b"]" * depth + b"}"


@pytest.mark.parametrize(
    ("key", "kind", "payload", "error"),
    [
        ("job:1", "start", b'{"text": 7}', InvalidPayload),
        ("job:1", "start", b'{"text": "a", "more": 1}', InvalidPayload),
        ("job:1", "start", b"{}", InvalidPayload),
        ("job:1", "start", b"not json", InvalidPayload),
        ("job:1", "start", b"\xff\xfe", InvalidPayload),
        ("job:1", "start", deep(100_000), InvalidPayload),
        ("job:1", "start", b'{"text": "a", "text": "b"}', InvalidPayload),
        ("job:1", "start", b'{"text": "\\ud800"}', InvalidPayload),
        ("job:1", "start", b'{"text": "a\\u0000b"}', InvalidPayload),
        ("job:1", "add", b'{"amount": NaN}', InvalidPayload),
        ("job:1", "add", b'{"amount": 1e400}', InvalidPayload),
        ("job:1", "add", b'{"amount": 9007199254740993}', InvalidPayload),
        ("job:1", "add", b'{"amount": ' + b"9" * 5000 + b"}", InvalidPayload),
        ("job:1", "start", {"text": object()}, InvalidPayload),
        ("job:1", "start", Add(), InvalidPayload),
        ("job:1", "start", None, InvalidPayload),
        ("job:1", "start", b'{"text": "' + b"x" * 300_000 + b'"}', PayloadTooLarge),
        ("job:1", "start", Start(text="x" * 300_000), PayloadTooLarge),
        ("job:1", "fly", None, InvalidStateTransitionError),
        ("nobody:1", "start", None, UnknownWorkflow),
        ("no colon", "start", None, InvalidKey),
        ("job:", "start", None, InvalidKey),
        ("job:a\nb", "start", None, InvalidKey),
        ("job:" + "x" * 201, "start", None, InvalidKey),
        ("job:e\u0301", "start", None, InvalidKey),
        ("Job:1", "start", None, InvalidKey),
    ],
)
def test_bad_input_gets_a_named_error_and_a_record(
    one_store: OneStore, key: str, kind: str, payload: object, error: type[OnexError]
) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            calls = [
                engine.submit("job:good", "add", Add()),
                engine.submit(key, kind, payload),  # type: ignore[arg-type]
                engine.submit("job:1", "add", Add()),
            ]
            before, bad, after = await asyncio.gather(*calls, return_exceptions=True)
            assert not isinstance(before, BaseException) and not isinstance(after, BaseException)
            assert type(bad) is error
            assert bad.message[0].islower() or bad.message[0].isupper() or bad.message[0] in "'\"0123456789"
            assert await engine.state("job:1") == Job(status="new", count=1)
            rows = await engine.reader.rejections(None, None, 0, 10)
            assert [row.code for row in rows] == [error.code]
            assert len(rows[0].body) <= 4096

    run(go())


def test_a_guard_that_is_false_or_raises_refuses(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="slow"))
            with pytest.raises(GuardFailed, match=r"payload\.amount > 0"):
                await engine.submit(K, "add", Add(amount=-1))
            assert (await engine.submit(K, "add", Add(amount=1))).version == 2

    run(go())


def test_a_finished_instance_accepts_nothing(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "start", Start(text="a"))
            stored = await engine.wait(K)
            assert stored.status == "done"
            with pytest.raises(InstanceFinished):
                await engine.submit(K, "add", Add())
            assert await version(engine) == stored.version

    run(go())


def test_the_third_failure_of_a_reducer_holds_its_instance_and_no_other(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add())
            for _ in range(3):
                with pytest.raises(ReducerFailed, match="thirteen"):
                    await engine.submit(K, "add", Add(amount=13))
            with pytest.raises(InstanceHeld):
                await engine.submit(K, "add", Add())
            assert (await engine.submit("job:2", "add", Add())).version == 1
        async with one_store.engine() as engine:
            with pytest.raises(InstanceHeld):
                await engine.submit(K, "add", Add())
            await engine.release(K)
            assert (await engine.submit(K, "add", Add())).version == 2

    run(go())


def test_new_code_ends_a_hold(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add())
            for _ in range(3):
                with pytest.raises(ReducerFailed):
                    await engine.submit(K, "add", Add(amount=13))
        async with one_store.engine(digest=b"2") as engine:
            assert (await engine.submit(K, "add", Add())).version == 2
            snapshot = await engine.reader.snapshot(K, 1)
            assert snapshot is not None and snapshot.version == 1

    run(go())


def test_an_expired_or_unentitled_action_is_refused(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            past = ActionAt(engine).past
            with pytest.raises(ActionExpiredError):
                await engine.submit(K, "add", Add(), expires_at=past)
            with pytest.raises(LeaseValidationError):
                await engine.submit(K, "add", Add(), lease_id=ID)
            with pytest.raises(EpochMismatchError):
                await engine.submit(K, "add", Add(), epoch=3)
            old = UUID(int=(7 << 76) | (2 << 62))
            with pytest.raises(ActionExpiredError):
                await engine.submit(K, "add", Add(), action_id=old)
            assert await engine.stored(K) is None

    run(go())


class ActionAt:
    def __init__(self, engine: ReducerPatternEngine) -> None:
        from datetime import timedelta

        from onex.kernel.action import EPOCH

        self.past = EPOCH + timedelta(microseconds=engine.clock.now_us() - 1_000_000)


def test_only_the_action_that_makes_a_state_too_large_is_refused(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            calls = [
                engine.submit(K, "grow", Grow(by=600_000)),
                engine.submit(K, "grow", Grow(by=600_000)),
                engine.submit(K, "add", Add(amount=4)),
                engine.submit("job:2", "add", Add()),
            ]
            done = await asyncio.gather(*calls, return_exceptions=True)
            assert [type(d).__name__ for d in done] == ["Committed", "PayloadTooLarge", "Committed", "Committed"]
            state = await engine.state(K)
            assert isinstance(state, Job)
            assert (len(state.big), state.count) == (600_000, 4)

    run(go())


def test_a_full_mailbox_says_so_at_once_and_loses_nothing(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine(limits=Limits(batch=5, waiting=20)) as engine:
            done = await asyncio.gather(*(engine.submit(K, "add", Add()) for _ in range(100)), return_exceptions=True)
            refused = [d for d in done if isinstance(d, Overloaded)]
            assert len(refused) == 80 and all(r.retry_after_s > 0 for r in refused)
            assert await engine.state(K) == Job(status="new", count=20)

    run(go())


def test_a_cancelled_wait_withdraws_nothing(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            call = asyncio.ensure_future(engine.submit(K, "add", Add(amount=9)))
            await asyncio.sleep(0)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
            await engine.idle()
            assert await engine.state(K) == Job(status="new", count=9)

    run(go())


def test_a_second_engine_on_the_same_store_is_turned_away(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            if one_store.kind == "memory":
                assert await engine.store.own("other") == {}
                return
            with pytest.raises(OwnershipLost):
                async with one_store.engine():
                    pass
            assert (await engine.submit(K, "add", Add())).version == 1

    run(go())


def test_a_closed_engine_takes_nothing(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add())
        with pytest.raises(EngineClosed):
            await engine.submit(K, "add", Add())

    run(go())


def test_subscribers_see_each_row_once_in_order(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "add", Add())
            seen: list[int] = []

            async def follow() -> None:
                async for entry in engine.subscribe():
                    seen.append(entry.position.n)
                    if len(seen) == 30:
                        return

            task = asyncio.ensure_future(follow())
            for n in range(29):
                await engine.submit(f"job:{n % 3}", "add", Add())
            await task
            assert seen == list(range(1, 31))

    run(go())


def test_a_message_to_another_instance_arrives_once(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            await engine.submit(K, "tell", Told(text="2"))
            await engine.idle()
            assert await engine.state("job:2") == Job(status="new", count=5)
            assert (await engine.reader.counts()).outbox.get("waiting", 0) == 0

    run(go())


def test_a_rollback_is_a_new_version_and_history_is_never_cut(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            for amount in (1, 2, 4):
                await engine.submit(K, "add", Add(amount=amount))
            assert await engine.state_at(K, 2) == Job(status="new", count=3)
            done = await engine.rollback(K, 2)
            assert done.version == 4
            assert await engine.state(K) == Job(status="new", count=3)
            assert await engine.state_at(K, 3) == Job(status="new", count=7)
            segments = [s async for s in Replay(engine.reader, engine.registry).all()]
            assert [s.verdict for s in segments] == [EnumReplayVerdict.EQUAL]
            with pytest.raises(OnexError, match="no version 9"):
                await engine.rollback(K, 9)

    run(go())


def test_the_past_is_folded_from_the_nearest_snapshot(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            for _ in range(5):
                await engine.submit_many([(K, "add", Add(amount=2))] * 450)
            snapshot = await engine.reader.snapshot(K, 2249)
            assert snapshot is not None and 1000 <= snapshot.version <= 2249
            assert await engine.state_at(K, 2249) == Job(status="new", count=4498)
            assert await engine.state_at(K, 7) == Job(status="new", count=14)

    run(go())


def test_a_wait_that_ends_without_its_status_says_what_it_waited_for(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            with pytest.raises(
                TimeoutError, match=r"^job:1 did not reach a terminal status in 0.01 s; it has not begun$"
            ):
                await engine.wait(K, timeout_s=0.01)
            await engine.submit(K, "add")
            with pytest.raises(
                TimeoutError, match=r"^job:1 did not reach status 'rung' in 0.01 s; its status is 'new'$"
            ):
                await engine.wait(K, until="rung", timeout_s=0.01)

    run(go())


def test_a_wait_for_a_status_that_the_workflow_does_not_have_is_refused_at_once(one_store: OneStore) -> None:
    async def go() -> None:
        async with one_store.engine() as engine:
            with pytest.raises(ValidationError, match=r"^job has no status 'rnug'; did you mean 'rung'\?$"):
                await engine.wait(K, until="rnug", timeout_s=60)
            with pytest.raises(ValidationError, match=r"^job has no status 'x'; it has new, "):
                await engine.wait(K, until="x", timeout_s=60)

    run(go())
