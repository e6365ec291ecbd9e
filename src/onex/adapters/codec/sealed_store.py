"""SealedStore: any store, with its values encrypted on the way in and decrypted on the way out. The engine sees a store.

Theory of operation.

- ``commit`` learns the keys of the instances that it changes, makes one for each instance that has none, encrypts, and hands the
  commit on. A new key is written in the same transaction, so there is never a row without its key. Canonical bytes and hashes
  were made before, of plain values.
- A read asks the store, then for the keys of the owners it found, then decrypts.

What may go wrong, and why it is still right:

- The commit fails, or its answer is lost: a key that was made for it is forgotten here, and asked for again before the next one.
- A change is in conflict: its key may have been written all the same. It is asked for again, and used by the next change.
- The instance was erased while its change was on the way: the change is answered as a conflict, so the engine reads the instance
  anew and finds it erased. ``_writing`` lets no commit and no erasure run side by side.
- This process takes the store or shards of it: what it knew of keys is forgotten, since another owner may have destroyed some.

Without master keys (``ring.masters`` is None) marks are read in place of values (``kernel.data_key``), and nothing is written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ...codec import STORE_OWNER, ErasedRows, Sealable, Sealing, StoreChanges, blob_owner
from ...kernel.action import WorkflowKey
from ...kernel.data_key import CodecKeyMissing, NotEncrypted, WrappedKey
from ...kernel.errors import NotFound
from ...kernel.size_limits import check_body
from ...ports import (
    Applied,
    Code,
    Commit,
    Conflict,
    Cut,
    EnumOutboxState,
    Env,
    KeyChange,
    NewBlob,
    Note,
    ProjectionRow,
    SearchField,
    SearchFill,
    SearchSpec,
)
from ..store_limits import storable, storable_attempt, storable_text
from .envelope import BLOB_MORE, DataKey
from .key_ring import Closed, KeyRing
from .rows import (
    nonces_for,
    owner_of,
    sealed_answer,
    sealed_attempt,
    sealed_blob,
    sealed_body,
    sealed_change,
    sealed_fields,
    sealed_note,
    sealed_rejection,
)
from .sealed_reads import SealedReads


class SealedStore(SealedReads):
    """Store, Reader, Sender, Projections and Retention over ``inner``."""

    def __init__(self, inner: Sealable, ring: KeyRing) -> None:
        super().__init__(inner, ring)
        self._writing = asyncio.Lock()

    def _store_key(self) -> DataKey:
        key = self.ring.store
        if not isinstance(key, DataKey):
            raise CodecKeyMissing(
                "this store is encrypted, and its key is not at hand; name the master keys: ONEX_CODEC_KEYS"
            )
        return key

    async def erase(self, key: WorkflowKey, by: str, at_us: int) -> ErasedRows | None:
        return await self.inner.erase(key, by, at_us)

    async def rewrite(self, key: WorkflowKey, wrapped: WrappedKey, sealing: Sealing) -> None:
        await self.inner.rewrite(key, wrapped, sealing)

    async def keys_under_others(self, master: str, after: str, limit: int) -> Sequence[WrappedKey]:
        return await self.inner.keys_under_others(master, after, limit)

    async def rewrap(self, pairs: Sequence[tuple[WrappedKey, WrappedKey]]) -> int:
        return await self.inner.rewrap(pairs)

    async def overwrite(self, *, whole: bool = False) -> bool:
        return await self.inner.overwrite(whole=whole)

    async def add_data_keys(self, keys: Sequence[WrappedKey]) -> None:
        await self.inner.add_data_keys(keys)

    # --- the owner ----------------------------------------------------------------------------------------------------

    async def own(self, owner: str) -> Mapping[int, int]:
        fences = await self.inner.own(owner)
        if fences:
            await self._begin(alone=True)
        return fences

    async def _begin(self, *, alone: bool) -> None:
        """From now on this process commits. The store is encrypted from its first commit with a key on."""
        ring = self.ring
        ring.forget()
        ring.owns = alone
        await ring.learn(())
        if ring.store is None:
            await self.inner.add_data_keys([ring.make(STORE_OWNER)])
            ring.forget()  # of two workers that begin at once, one has written it
            await ring.learn(())
        self._store_key()

    async def intern(self, code: Code, env: Env) -> tuple[int, int]:
        return await self.inner.intern(code, env)

    async def commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        async with self._writing:
            return await self._commit(commit)

    async def _commit(self, commit: Commit) -> Sequence[Applied | Conflict]:
        ring, changes, blobs = self.ring, commit.changes, commit.blobs
        noted = [await self._noted(note) for note in commit.notes if note.result]
        owners = [owner_of(change.key) for change in changes]
        await ring.learn(
            (*owners, *(owner_of(key) for key in noted if key), *(blob_owner(one.digest) for one in blobs))
        )
        store = self._store_key()
        made: dict[str, WrappedKey] = {}
        erased: list[int] = []
        sealed: list[KeyChange] = []
        nonces = nonces_for(changes)
        for at, (owner, change) in enumerate(zip(owners, changes, strict=True)):
            key = ring[owner]
            if key is None and change.rows:
                made[owner] = ring.make(owner, change.based_on)
                key = ring[owner]
            if isinstance(key, Closed) and change.rows:
                erased.append(at)
            else:
                sealed.append(sealed_change(_storable(change), key, store, nonces))
        notes = [self._sealed_note(note, noted, store) for note in commit.notes]
        whole = commit._replace(
            changes=tuple(sealed),
            blobs=tuple(self._sealed_blob(blob, made) for blob in blobs),
            notes=tuple(notes),
            rejections=tuple(sealed_rejection(storable(one), store) for one in commit.rejections),
            answers=tuple(sealed_answer(one, store) for one in commit.answers),
            attempts=tuple(sealed_attempt(storable_attempt(one), store) for one in commit.attempts),
            keys=tuple(made.values()),
        )
        try:
            outcomes = list(await self.inner.commit(whole))
        except BaseException:
            ring.forget(made)
            raise
        for at in erased:
            outcomes.insert(at, Conflict(changes[at].based_on))
        ring.forget(
            one for one, outcome in zip(owners, outcomes, strict=True) if isinstance(outcome, Conflict) and one in made
        )
        return outcomes

    async def erase_instance(self, key: WorkflowKey, by: str, at_us: int) -> ErasedRows:
        """See ``Erasable``. Its own lock keeps commits out: one that was on the way is answered as a conflict after it."""
        async with self._writing:
            owner = owner_of(key)
            await self.ring.learn([owner])
            if self.ring[owner] is None and (await self.inner.load([key])).get(key) is not None:
                raise NotEncrypted(
                    f"{key} is stored plain: it has done nothing since encryption was turned on. Encrypt it first: "
                    "onex store encrypt"
                )
            rows = await self.inner.erase(key, by, at_us)
            if rows is None:
                raise NotFound(f"{key} has not begun; onex ls lists instances")
            self.ring.close(owner, by, at_us)
            return rows

    async def _noted(self, note: Note) -> WorkflowKey | None:
        """The instance of the row that a note of a held result is about."""
        before = note.pointer._replace(ordinal=note.pointer.ordinal - 1)
        rows = await self.inner.outbox(tuple(EnumOutboxState), None, before, 1)
        return rows[0].key if rows and rows[0].pointer == note.pointer else None

    def _sealed_note(self, note: Note, noted: list[WorkflowKey | None], store: DataKey) -> Note:
        """``noted`` are the instances of the notes that hold a result, in their order; the first is taken out."""
        instance = noted.pop(0) if note.result else None
        key = self.ring[owner_of(instance)] if instance is not None else None
        return sealed_note(note._replace(error=storable_text(note.error)), key, store)

    def _sealed_blob(self, blob: NewBlob, made: dict[str, WrappedKey]) -> NewBlob:
        owner = blob_owner(blob.digest)
        if not isinstance(self.ring[owner], DataKey):
            made[owner] = self.ring.make(owner)
        key = self.ring[owner]
        assert isinstance(key, DataKey), "it was just made"
        return sealed_blob(blob, key)

    def judging(self, record: bytes) -> None:
        self.inner.judging(record)

    async def judged(self) -> bytes:
        return await self.inner.judged()

    async def woken(self) -> None:
        await self.inner.woken()

    def crash_file(self) -> int | None:
        return self.inner.crash_file()

    async def close(self) -> None:
        await self.inner.close()

    # --- any process ------------------------------------------------------------------------------------------------------

    async def send(self, body: bytes, at_us: int, shard: int = 0) -> int:
        return (await self.send_all([body], at_us, [shard]))[0]

    async def send_all(self, bodies: Sequence[bytes], at_us: int, shards: Sequence[int] = ()) -> Sequence[int]:
        """Plain as long as no engine with a key has begun: one without could not read them."""
        checked = [check_body(body) for body in bodies]
        await self.ring.learn(())
        if self.ring.store is not None:
            store = self._store_key()
            checked = [sealed_body(body, at_us, store) for body in checked]
        return await self.inner.send_all(checked, at_us, shards)

    def watch(self) -> StoreChanges:
        return self.inner.watch()

    # --- projections and retention ------------------------------------------------------------------------------------------

    async def project(self, name: str, shard: int, from_n: int, to_n: int, rows: Sequence[ProjectionRow]) -> bool:
        await self.ring.learn({owner_of(row.key) for row in rows})
        sealed: list[ProjectionRow] = []
        for row in rows:
            key = self.ring[owner_of(row.key)]
            if isinstance(key, DataKey):
                sealed.append(sealed_fields(name, row, key))
            elif key is None:
                sealed.append(row)
        return await self.inner.project(name, shard, from_n, to_n, sealed)

    async def cut(self, cuts: Sequence[Cut], at_us: int, *, dry: bool = False) -> Sequence[bool]:
        return await self.inner.cut(cuts, at_us, dry=dry)

    async def unnamed_blobs(self, after: bytes, before_us: int, limit: int) -> Sequence[tuple[bytes, int]]:
        found = await self.inner.unnamed_blobs(after, before_us, limit)
        await self.ring.learn(blob_owner(digest) for digest, _ in found)
        return [(digest, size if self.ring[blob_owner(digest)] is None else size - BLOB_MORE) for digest, size in found]

    async def drop_blobs(self, digests: Sequence[bytes]) -> int:
        return await self.inner.drop_blobs(digests)

    async def expire(self, at_us: int, *, dry: bool = False) -> int:
        return await self.inner.expire(at_us, dry=dry)

    # --- search: values stand in clear text, since they are compared by the store --------------------------------------------

    async def declare_search(self, wanted: Mapping[str, Sequence[SearchField]]) -> Mapping[str, SearchSpec]:
        return await self.inner.declare_search(wanted)

    async def fill_search(self, rows: Sequence[SearchFill]) -> None:
        await self.inner.fill_search(rows)

    async def search_filled(self, spec: SearchSpec) -> bool:
        return await self.inner.search_filled(spec)


def _storable(change: KeyChange) -> KeyChange:
    """Texts are cut and made plain before they are encrypted; a store would cut what is encrypted."""
    if not change.notes and not change.rejections:
        return change
    return change._replace(
        notes=tuple(note._replace(error=storable_text(note.error)) for note in change.notes),
        rejections=tuple(storable(one) for one in change.rejections),
    )
