"""What is read back: the log by position and by version, instances, kept states, blobs, counts."""

from __future__ import annotations

from ...code_use import CodeUse
from ...kernel.action import WorkflowKey
from ...ports import (
    Counts,
    EnumInFlight,
    EnumOutboxState,
    InFlight,
    LogEntry,
    NewBlob,
    NewIntent,
    Note,
    Pointer,
    Position,
    SnapshotRow,
)
from .owner import CODE, ENV, A, B, C, action, row
from .suite import Place, Suite, behaviour

START = Position(0, 0)
HELD, DEAD = EnumOutboxState.HELD, EnumOutboxState.DEAD


class Reading(Suite):
    @behaviour
    async def test_the_log_tells_each_action_as_it_was_applied(self, place: Place) -> None:
        owner = await place.owner()
        await owner.commit(owner.change(A, row("a1", NewIntent(0, 2)), row("a2")), owner.change(B, row("b1")))
        code_id, env_id = owner.code_id, owner.env_id
        assert await owner.store.log(START, 10) == [
            LogEntry(Position(0, 1), A, 1, row("a1"), code_id, env_id, b""),
            LogEntry(Position(0, 2), A, 2, row("a2"), code_id, env_id, b"hash 2"),
            LogEntry(Position(0, 3), B, 1, row("b1"), code_id, env_id, b"hash 1"),
        ]

    @behaviour
    async def test_the_log_is_followed_from_any_position(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, *(row(f"a{number}") for number in range(10)))
        assert [entry.position.n for entry in await owner.store.log(Position(0, 3), 4)] == [4, 5, 6, 7]
        assert await owner.store.log(Position(0, 10), 4) == []

    @behaviour
    async def test_a_history_is_one_instance_in_version_order(self, place: Place) -> None:
        owner = await place.owner()
        for turn in range(4):
            await owner.commit(owner.change(A, row(f"a{turn}")), owner.change(B, row(f"b{turn}"), row(f"bb{turn}")))
        history = owner.store.history
        assert [(one.version, one.row.kind) for one in await history(A, 0, 10)] == [
            (1, "do_a0"), (2, "do_a1"), (3, "do_a2"), (4, "do_a3"),
        ]  # fmt: skip
        assert [one.version for one in await history(B, 3, 2)] == [4, 5]
        assert await history(A, 4, 10) == []
        assert await history(C, 0, 10) == []

    @behaviour
    async def test_a_long_history_is_read_in_pages(self, place: Place) -> None:
        owner = await place.owner()
        for turn in range(60):
            changes = [
                owner.change(A, *(row(f"a{turn}.{number}") for number in range(9))),
                owner.change(B, row(f"b{turn}")),
            ]
            await owner.commit(*changes)
        found: list[LogEntry] = []
        while page := await owner.store.history(A, len(found), 100):
            found += page
        assert [entry.version for entry in found] == list(range(1, 541))
        assert [entry.row.kind for entry in found[:10]] == [*(f"do_a0.{number}" for number in range(9)), "do_a1.0"]
        assert all(entry.key == A for entry in found)
        assert [entry.version for entry in await owner.store.history(A, 317, 5)] == [318, 319, 320, 321, 322]
        assert [entry.version for entry in await owner.store.history(A, 538, 5)] == [539, 540]

    @behaviour
    async def test_an_applied_action_is_found_by_its_key_and_id(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"), row("a2"))
        entry = await owner.store.applied(A, action("a1"))
        assert entry is not None
        assert (entry.version, entry.row.body_hash) == (1, b"body hash of a1")
        assert await owner.store.applied(B, action("a1")) is None
        assert await owner.store.applied(A, action("a3")) is None

    @behaviour
    async def test_load_gives_those_that_exist(self, place: Place) -> None:
        owner = await place.owner()
        await owner.commit(owner.change(A, row("a1")), owner.change(C, row("c1")))
        assert set(await owner.store.load([C, B, A])) == {A, C}
        assert await owner.store.load([]) == {}

    @behaviour
    async def test_keys_are_told_apart_by_type_and_id(self, place: Place) -> None:
        owner = await place.owner()
        keys = [
            WorkflowKey("a", "b:c"),
            WorkflowKey("a_b", "c"),
            WorkflowKey("a", "\u00e9\U0001f600"),
            WorkflowKey("a", "B:C"),
        ]
        await owner.commit(*(owner.change(key, row("one")) for key in keys))
        assert set(await owner.store.load(keys)) == set(keys)

    @behaviour
    async def test_instances_are_listed_by_type_and_id(self, place: Place) -> None:
        owner = await place.owner()
        wide = WorkflowKey("orders", "\u00e9")
        keys = [C, wide, B, A]
        await owner.commit(*(owner.change(key, row("one", NewIntent(0, 2, 9, "timer"))) for key in keys))
        await owner.apply(B, row("two", status="paid"))
        listed = owner.store.instances

        async def keys_of(
            workflow_type: str | None, status: str | None, after: WorkflowKey | None, limit: int
        ) -> list[WorkflowKey]:
            return [one.key for one in await listed(workflow_type, status, after, limit)]

        assert await keys_of(None, None, None, 10) == [A, B, wide, C]
        assert await keys_of("orders", None, None, 2) == [A, B]
        assert await keys_of("orders", None, B, 10) == [wide]
        assert await keys_of(None, "open", A, 10) == [wide, C]
        assert await keys_of("orders", "paid", None, 10) == [B]
        assert (await listed(None, None, None, 1))[0] == (await owner.stored(A))._replace(timers={})

    @behaviour
    async def test_codes_and_environments_are_known_by_value(self, place: Place) -> None:
        owner = await place.owner()
        other_code, other_env = CODE._replace(digest=b"d" * 32), ENV._replace(python="3.12")
        assert await owner.store.intern(CODE, ENV) == (owner.code_id, owner.env_id)
        code_id, env_id = await owner.store.intern(other_code, other_env)
        assert await owner.store.codes() == {owner.code_id: CODE, code_id: other_code}
        assert await owner.store.envs() == {owner.env_id: ENV, env_id: other_env}
        assert await owner.store.intern(other_code, ENV) == (code_id, owner.env_id)

    @behaviour
    async def test_a_snapshot_keeps_the_state_after_its_version(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"), row("a2"), snapshot_after=True)
        await owner.apply(A, row("a3"), row("a4"))
        await owner.apply(A, row("a5"), snapshot_after=True)
        snapshot = owner.store.snapshot
        assert await snapshot(A, 1) is None
        assert await snapshot(A, 4) == SnapshotRow(A, 2, b'{"v":2}', 1, owner.code_id, b"hash 2")
        assert await snapshot(A, 99) == SnapshotRow(A, 5, b'{"v":5}', 1, owner.code_id, b"hash 5")
        assert await snapshot(B, 99) is None

    @behaviour
    async def test_a_snapshot_before_new_code_tells_who_made_it(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"), state_schema=3)
        code_id, _ = await owner.store.intern(CODE._replace(digest=b"d" * 32), ENV)
        await owner.apply(A, row("a2"), snapshot_before=b'{"v":1}', code_id=code_id, state_schema=4)
        assert await owner.store.snapshot(A, 9) == SnapshotRow(A, 1, b'{"v":1}', 3, owner.code_id, b"hash 1")
        assert (await owner.stored(A)).code_id == code_id

    @behaviour
    async def test_a_conflict_keeps_no_snapshot(self, place: Place) -> None:
        owner = await place.owner()
        await owner.apply(A, row("a1"))
        await owner.commit(owner.change(A, row("a2"), based_on=0, snapshot_before=b"x", snapshot_after=True))
        assert await owner.store.snapshot(A, 9) is None

    @behaviour
    async def test_a_blob_is_kept_once_with_the_rows_that_name_it(self, place: Place) -> None:
        owner = await place.owner()
        digest, data = b"b" * 32, bytes(range(256)) * 1_000
        await owner.commit(
            owner.change(A, row("a1"), row("a2"), row_blobs=((1, digest),)), blobs=(NewBlob(digest, "text/html", data),)
        )
        await owner.commit(
            owner.change(B, row("b1"), row_blobs=((0, digest), (0, digest))),
            blobs=(NewBlob(digest, "text/html", b"the same digest: never written"),),
        )
        assert await owner.store.blob(digest) == data
        assert await owner.store.blob(b"n" * 32) is None

    @behaviour
    async def test_counts_tell_what_a_store_holds(self, place: Place) -> None:
        owner = await place.owner()
        nothing = {"waiting": 0, "held": 0, "dead": 0, "cancelled": 0}
        assert await owner.store.counts() == Counts(0, 0, nothing, 0, {})
        await owner.commit(
            owner.change(A, row("a1", NewIntent(0, 2), NewIntent(1, 2), NewIntent(2, 2, 9, "timer"))),
            owner.change(B, row("b1"), row("b2", status="paid")),
            owner.change(C, row("c1")),
        )
        await owner.commit(notes=(Note(Pointer(0, 1, 1), EnumOutboxState.DEAD),))
        by_status = {("orders", "open"): 1, ("orders", "paid"): 1, ("parcels", "open"): 1}
        assert await owner.store.counts() == Counts(
            3, 4, {"waiting": 2, "held": 0, "dead": 1, "cancelled": 0}, 0, by_status
        )

    @behaviour
    async def test_what_is_in_flight_is_counted_by_name(self, place: Place) -> None:
        owner = await place.owner()
        assert await owner.store.in_flight(100) == []
        emitted = b'[{"name":"pack","payload":{}},{"name":"remind"},{"name":"pack"}]'
        one = row("a1", NewIntent(0, 2), NewIntent(1, 2, 9, "remind"), NewIntent(2, 2))._replace(intents=emitted)
        await owner.commit(
            owner.change(A, one),
            owner.change(B, one._replace(action_id=b"b" * 16), terminal=True, status="ended"),
            owner.change(C, row("c1", NewIntent(0, 2), status="paid")),
        )
        result = b'{"kind":"packed","payload":{},"schema":2}'
        await owner.commit(notes=(Note(Pointer(0, 1, 2), HELD, result=result), Note(Pointer(0, 2, 0), DEAD)))
        assert await owner.store.in_flight(100) == [
            InFlight(EnumInFlight.STATE, "orders", 1, "open", 1, A),
            InFlight(EnumInFlight.STATE, "parcels", 1, "paid", 1, C),
            InFlight(EnumInFlight.INTENT, "orders", 3, "pack", 4, A, pointer=Pointer(0, 1, 0)),
            InFlight(EnumInFlight.INTENT, "orders", 3, "remind", 1, A, timer=True, pointer=Pointer(0, 1, 1)),
            InFlight(EnumInFlight.INTENT, "parcels", 3, "", 1, C, pointer=Pointer(0, 3, 0)),
            InFlight(EnumInFlight.OUTCOME, "orders", 2, "packed", 1, A, pointer=Pointer(0, 1, 2)),
        ]
        assert [one.rows for one in await owner.store.in_flight(1) if one.what is EnumInFlight.INTENT] == [1]

    @behaviour
    async def test_instances_are_counted_by_the_code_they_stand_on(self, place: Place) -> None:
        """The first is the one that was changed longest ago; one that goes on under new code stands on that."""
        owner = await place.owner()
        old, (new, _) = owner.code_id, await owner.store.intern(CODE._replace(contract_version="2.0.0"), ENV)
        assert await owner.store.code_uses() == []
        later, d = WorkflowKey("orders", "later"), WorkflowKey("orders", "d")
        await owner.commit(
            owner.change(later, row("l1", issued_us=3_000)),
            owner.change(A, row("a1", issued_us=2_000)),
            owner.change(B, row("b1", issued_us=4_000), held="it failed"),
            owner.change(d, row("d1", issued_us=5_000), terminal=True, status="ended"),
        )
        assert await owner.store.code_uses() == [
            CodeUse(old, "ended", True, False, 1, d, 5_000, 5_000),
            CodeUse(old, "open", False, False, 2, A, 2_000, 3_000),
            CodeUse(old, "open", False, True, 1, B, 4_000, 4_000),
        ]
        await owner.commit(owner.change(A, row("a2", issued_us=6_000), code_id=new))
        assert await owner.store.code_uses() == [
            CodeUse(old, "ended", True, False, 1, d, 5_000, 5_000),
            CodeUse(old, "open", False, False, 1, later, 3_000, 3_000),
            CodeUse(old, "open", False, True, 1, B, 4_000, 4_000),
            CodeUse(new, "open", False, False, 1, A, 6_000, 6_000),
        ]
