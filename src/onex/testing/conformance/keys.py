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
