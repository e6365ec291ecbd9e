"""Data keys of an encrypted store: written with the rows that need them, kept, and destroyed with all that is not under them."""

from __future__ import annotations

from ...codec import STORE_OWNER, blob_owner
from ...kernel.data_key import ERASED, WrappedKey
from ...ports import Attempt, EnumAttempt, EnumOutboxState, NewBlob, NewIntent, Note, Pointer, ProjectionRow, Rejection
from .owner import A, B, row
from .suite import Place, Suite, behaviour

OF_A = WrappedKey("orders:a", "k1", b"\x00wrapped for a", 3)
OF_B = WrappedKey("orders:b", "k2", b"\xffwrapped for b")
OWN, SHARED = b"o" * 32, b"s" * 32
BLOBS = tuple(NewBlob(digest, "text/plain", digest[:5]) for digest in (OWN, SHARED))
HELD, WAITING = EnumOutboxState.HELD, EnumOutboxState.WAITING


class DataKeys(Suite):
    """``codec.KeyTables``."""

    @behaviour
    async def test_a_key_comes_with_the_commit_that_needs_it(self, place: Place) -> None:
        owner = await place.owner()
        assert await owner.store.data_keys([OF_A.owner, STORE_OWNER]) == {}
        await owner.commit(owner.change(A, row("a1")), owner.change(B, row("b1")), keys=(OF_A, OF_B))
        assert await owner.store.data_keys([OF_A.owner]) == {OF_A.owner: OF_A}
        other = await place.open()
        assert await other.data_keys([OF_B.owner, OF_A.owner, STORE_OWNER]) == {OF_A.owner: OF_A, OF_B.owner: OF_B}

    @behaviour
    async def test_an_owner_that_has_a_key_keeps_it(self, place: Place) -> None:
        store = await place.open()
        await store.add_data_keys([OF_A])
        await store.add_data_keys([OF_A._replace(wrapped=b"another"), OF_B])
        assert await store.data_keys([OF_A.owner, OF_B.owner]) == {OF_A.owner: OF_A, OF_B.owner: OF_B}

    @behaviour
    async def test_erasing_destroys_the_key_and_what_is_not_under_it(self, place: Place) -> None:
        owner = await place.owner()
        refused = tuple(
            Rejection(f"orders:{one}", b"i" * 16, "no", "said 4711", b'{"n":4711}', 5, "at 4711") for one in "ab"
        )
        keys = (OF_A, OF_B, *(WrappedKey(blob_owner(one), "k1", one) for one in (OWN, SHARED)))
        await owner.commit(
            owner.change(
                A, row("a1", NewIntent(0, 2), NewIntent(1, 2, 9, "remind")), row_blobs=((0, OWN), (0, SHARED))
            ),
            owner.change(B, row("b1", NewIntent(0, 2)), row_blobs=((0, SHARED),)),
            keys=keys,
            blobs=BLOBS,
            rejections=refused,
            attempts=tuple(Attempt(Pointer(0, n, 0), 1, 5, 9, EnumAttempt.FAILED, "no", "said 4711") for n in (1, 2)),
        )
        await owner.commit(notes=(Note(Pointer(0, 1, 0), HELD, result=b'{"n":4711}', error="4711"),))
        fields = [ProjectionRow(key, 1, "4711", "a1", b"{}") for key in (A, B)]
        assert await owner.store.project("mine", 0, 0, 2, fields)
        before = await owner.stored(A)

        erased = await owner.store.erase(A, "ada", 77)
        assert erased is not None
        assert (erased.intents, erased.blobs) == (2, 1)
        found = await owner.store.data_keys([key.owner for key in keys])
        assert found[OF_A.owner] == WrappedKey(OF_A.owner, "ada", b"", 3, 77)
        assert found.keys() == {OF_A.owner, OF_B.owner, blob_owner(SHARED)}
        after = await owner.stored(A)
        assert after == before._replace(timers={})
        rows = await owner.store.outbox(tuple(EnumOutboxState), None, None, 10)
        assert [(one.key, one.state, one.result, one.error) for one in rows] == [
            (A, EnumOutboxState.DEAD, b"", ERASED),
            (A, EnumOutboxState.DEAD, b"", ERASED),
            (B, WAITING, b"", ""),
        ]
        told = {
            one.key: (one.message, one.body, one.trace, one.times)
            for one in await owner.store.rejections(None, None, 0, 9)
        }
        assert told == {"orders:a": ("erased", b"", "", 1), "orders:b": ("said 4711", b'{"n":4711}', "at 4711", 1)}
        assert [one.message for one in await owner.store.attempts(A, 9)] == [""]
        assert [one.message for one in await owner.store.attempts(B, 9)] == ["said 4711"]
        assert await owner.store.blob(OWN) is None
        assert await owner.store.blob(SHARED) is not None
        assert [one.key for one in await owner.store.projected("mine", None, None, 9)] == [B]
        assert [entry.row.kind for entry in await owner.store.history(A, 0, 9)] == ["do_a1"]

    @behaviour
    async def test_an_instance_that_never_began_is_not_erased(self, place: Place) -> None:
        owner = await place.owner()
        assert await owner.store.erase(A, "ada", 77) is None
        await owner.apply(B, row("b1"))
        assert await owner.store.erase(B, "ada", 77) is not None  # it has no key: nothing but what is beside it goes
        assert (await owner.stored(B)).version == 1

    @behaviour
    async def test_a_key_is_wrapped_anew_only_where_it_stands_as_it_was(self, place: Place) -> None:
        store = await place.open()
        gone = WrappedKey("orders:gone", "ada", b"", 0, 7)
        await store.add_data_keys([OF_A, OF_B, gone])
        assert await store.keys_under_others("k2", "", 10) == [OF_A]
        assert await store.keys_under_others("k3", "", 1) == [OF_A]
        assert await store.keys_under_others("k3", OF_A.owner, 10) == [OF_B]
        new = OF_A._replace(master="k3", wrapped=b"anew")
        assert await store.rewrap([(OF_A, new), (OF_B._replace(wrapped=b"older"), OF_B._replace(wrapped=b"lost"))]) == 1
        assert await store.data_keys([OF_A.owner, OF_B.owner]) == {OF_A.owner: new, OF_B.owner: OF_B}
        assert await store.keys_under_others("k3", "", 10) == [OF_B]

    @behaviour
    async def test_values_are_written_again_where_they_stand(self, place: Place) -> None:
        owner = await place.owner()
        one = owner.change(A, row("a1", NewIntent(0, 2)), row_blobs=((0, OWN),), snapshot_after=True)
        await owner.commit(one, owner.change(B, row("b1")), blobs=BLOBS[:1])
        await owner.commit(notes=(Note(Pointer(0, 1, 0), HELD, result=b"held"),))
        assert await owner.store.project("mine", 0, 0, 2, [ProjectionRow(A, 1, "t", "a1", b"{}")])
        await owner.store.rewrite(A, OF_A, Marked())
        (entry,) = await owner.store.history(A, 0, 9)
        before = row("a1")
        assert entry.row == before._replace(
            payload=b"1" + before.payload, intents=b"2" + before.intents, body_hash=b"3" + before.body_hash
        )
        assert entry.state_hash == b"4hash 1"
        stored = await owner.stored(A)
        assert (stored.state, stored.state_hash) == (b'5{"v":1}', b"6hash 1")
        kept = await owner.store.snapshot(A, 9)
        assert kept is not None
        assert (kept.state, kept.state_hash) == (b'5{"v":1}', b"6hash 1")
        (held,) = await owner.store.outbox((HELD,), A, None, 9)
        assert (held.result, held.intents) == (b"7held", b"2" + before.intents)
        (projected,) = await owner.store.projected("mine", None, None, 9)
        assert projected.fields == b"8{}"
        assert await owner.store.blob(OWN) == b"9ooooo"
        assert await owner.store.data_keys([OF_A.owner, blob_owner(OWN)]) == {
            OF_A.owner: OF_A, blob_owner(OWN): WrappedKey(blob_owner(OWN), "k1", b"w"),
        }  # fmt: skip
        assert (await owner.stored(B)).state == b'{"v":1}'
        assert (await owner.apply(A, row("a2"))).first.n == 3  # and it goes on


class Marked:
    """A ``Sealing`` that can be seen: each value has a digit before it."""

    def row(
        self, version: int, action_id: bytes, payload: bytes, intents: bytes, body_hash: bytes, state_hash: bytes
    ) -> tuple[bytes, bytes, bytes, bytes]:
        return b"1" + payload, b"2" + intents, b"3" + body_hash, b"4" + state_hash

    def state(self, version: int, state: bytes, state_hash: bytes) -> tuple[bytes, bytes]:
        return b"5" + state, b"6" + state_hash

    def result(self, pointer: Pointer, result: bytes) -> bytes:
        return b"7" + result if result else result

    def fields(self, name: str, version: int, fields: bytes) -> bytes:
        return b"8" + fields

    def blob(self, digest: bytes, data: bytes) -> tuple[WrappedKey | None, bytes]:
        return WrappedKey(blob_owner(digest), "k1", b"w"), b"9" + data
