"""Rows: records of a store with their values encrypted, and back. What is bound to each value stands here, once.

    value                      key of        bound to: the owner, and
    payload, intents           instance      version, action id
    state, kept state          instance      version
    held result                instance      pointer
    fields of a projection     instance      projection, version
    held (why), error, tries   the store     owner or pointer
    refusals                   the store     key, action id, code
    inbox: body; answer        the store     time; ticket
    blob                       the blob      digest

A kept state and the current state of one version are the same bytes, so they are bound to the same. An empty value stays empty.
Hashes are stored keyed (``DataKey.keyed``); positions, times, statuses and kinds stand in clear.

Reading never raises for one damaged row among others: a mark stands in place of the value, and whoever needs it is told by
``check_readable``. ``checked_entry`` and ``checked_snapshot`` raise; history is read by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import urandom

from ...kernel.action import WorkflowKey
from ...kernel.data_key import DAMAGED_MARK, CodecDamaged, check_readable, mark_text
from ...ports import (
    Attempt,
    InboxAnswer,
    InboxRow,
    KeyChange,
    LogEntry,
    LogRow,
    NewBlob,
    Note,
    OutboxRow,
    Pointer,
    ProjectionRow,
    Rejection,
    RejectionRow,
    SnapshotRow,
    Stored,
)
from .envelope import (
    NONCE,
    DataKey,
    damaged,
    is_sealed,
    is_sealed_blob,
    is_sealed_intents,
    is_sealed_text,
    marked_intents,
)
from .key_ring import Closed, Key

_new = tuple.__new__


def owner_of(key: WorkflowKey) -> str:
    return f"{key[0]}:{key[1]}"


# --- what is bound ------------------------------------------------------------------------------------------------------


def bound_to_step(column: bytes, version: int, action_id: bytes) -> bytes:
    return b"%b\0version %d\0%b" % (column, version, action_id)


def bound_to_state(version: int) -> bytes:
    return b"state\0version %d" % version


def _held(key: WorkflowKey) -> bytes:
    return b"held\0" + owner_of(key).encode()


def _at(column: bytes, pointer: Pointer) -> bytes:
    return b"%b\0intent %d:%d:%d" % (column, *pointer)


def bound_to_result(pointer: Pointer) -> bytes:
    return _at(b"result", pointer)


def _refused(column: bytes, row: Rejection | RejectionRow) -> bytes:
    return (
        b"%b of a refusal\0%b\0%b\0" % (column, row.key.encode("utf-8", "replace"), row.code.encode()) + row.action_id
    )


# --- written ------------------------------------------------------------------------------------------------------------


def nonces_for(changes: Sequence[KeyChange]) -> Iterator[bytes]:
    """Random bytes for all values of a commit, by one call of the system: that is dear, and a commit has thousands of values."""
    count = sum(2 * len(change.rows) + 1 for change in changes)
    random = urandom(NONCE * count)
    return (random[at : at + NONCE] for at in range(0, NONCE * count, NONCE))


def sealed_change(change: KeyChange, key: Key, store: DataKey, nonces: Iterator[bytes]) -> KeyChange:
    """Its rows, states, hashes, notes, refusals and answers. ``instance``, versions and leases are as they were.

    Without a key it has no rows. One of an erased instance keeps nothing of what was sent to it.
    """
    if change.rows and isinstance(key, DataKey):
        change = _sealed_rows(change, key, nonces)
    changed: dict[str, object] = {}
    if change.held:
        changed["held"] = store.seal_text(change.held, _held(change.key))
    if change.notes:
        changed["notes"] = tuple(sealed_note(note, key, store) for note in change.notes)
    if change.rejections:
        erased = isinstance(key, Closed)
        refused = (one._replace(body=b"", trace="") if erased else one for one in change.rejections)
        changed["rejections"] = tuple(sealed_rejection(one, store) for one in refused)
    if change.answers:
        changed["answers"] = tuple(sealed_answer(one, store) for one in change.answers)
    return change._replace(**changed) if changed else change  # type: ignore[arg-type]  # each of the type of its field


def _sealed_rows(change: KeyChange, key: DataKey, nonces: Iterator[bytes]) -> KeyChange:
    """Each action comes through here, so few calls are made."""
    version = change.based_on
    last, sealed = version + len(change.rows), list[LogRow]()
    state_hash = change.state_hash
    for (
        action_id,
        kind,
        payload,
        issued_us,
        correlation,
        cause,
        issuer,
        body,
        intents,
        status,
        outbox,
        schema,
    ) in change.rows:
        version += 1
        bound = b"\0version %d\0" % version + action_id
        keyed, end_hash = key.keyed_pair(body, state_hash if version == last else b"", version)
        hidden = key.intents_of_step(intents, b"intents" + bound, next(nonces)) if intents else intents
        sealed.append(_new(LogRow, (
            action_id, kind, key.seal_of_step(payload, b"payload" + bound, next(nonces)), issued_us, correlation,
            cause, issuer, keyed, hidden, status, outbox, schema,
        )))  # fmt: skip
    before = change.snapshot_before
    if before is not None and change.based_on > key.plain_until:  # else the stored row beside it is plain
        before = key.seal(before, bound_to_state(change.based_on))
    return change._replace(
        rows=tuple(sealed),
        state=key.seal_of_step(change.state, bound_to_state(last), next(nonces)),
        state_hash=end_hash,
        snapshot_before=before,
    )


def sealed_note(note: Note, key: Key, store: DataKey) -> Note:
    """``key`` is that of its instance. Of one that was erased no result is kept."""
    if note.error:
        note = note._replace(error=store.seal_text(note.error, _at(b"error", note.pointer)))
    if note.result and key is not None:
        kept = key.seal_result(note.result, bound_to_result(note.pointer)) if isinstance(key, DataKey) else b""
        note = note._replace(result=kept)
    return note


def sealed_rejection(one: Rejection, store: DataKey) -> Rejection:
    return one._replace(
        message=store.seal_text(one.message, _refused(b"message", one)),
        body=store.seal(one.body, _refused(b"body", one)) if one.body else b"",
        trace=store.seal_text(one.trace, _refused(b"trace", one)) if one.trace else "",
    )


def sealed_attempt(one: Attempt, store: DataKey) -> Attempt:
    def sealed(text: str, column: bytes) -> str:
        return store.seal_text(text, _at(column, one.pointer)) if text else ""

    return one._replace(message=sealed(one.message, b"message"), trace=sealed(one.trace, b"trace"))


def sealed_answer(one: InboxAnswer, store: DataKey) -> InboxAnswer:
    return one._replace(answer=store.seal(one.answer, b"answer\0%d" % one.ticket))


def sealed_body(body: bytes, at_us: int, store: DataKey) -> bytes:
    return store.seal(body, b"message\0%d" % at_us)


def sealed_blob(blob: NewBlob, key: DataKey) -> NewBlob:
    return blob._replace(data=key.seal_blob(blob.data, b"blob\0" + blob.digest.hex().encode()))


def sealed_fields(name: str, row: ProjectionRow, key: DataKey) -> ProjectionRow:
    return row._replace(fields=key.seal(row.fields, bound_to_fields(name, row.version)))


def bound_to_fields(name: str, version: int) -> bytes:
    return b"projection\0%b\0%d" % (name.encode("utf-8", "replace"), version)


# --- read ---------------------------------------------------------------------------------------------------------------


def _may_be_plain(key: Key, version: int) -> bool:
    return not isinstance(key, DataKey) or version <= key.plain_until


def _value(key: Key, data: bytes, place: bytes, version: int) -> bytes:
    """Raises CodecDamaged."""
    if is_sealed(data):
        if isinstance(key, DataKey):
            return key.open(data, place)
        return DAMAGED_MARK if key is None else key.mark
    if data and not _may_be_plain(key, version):
        raise damaged(place)
    return data


def _intents(key: Key, data: bytes, place: bytes, version: int) -> bytes:
    """Raises CodecDamaged."""
    if is_sealed_intents(data):
        if isinstance(key, DataKey):
            return key.open_intents(data, place)
        return marked_intents(data, DAMAGED_MARK if key is None else key.mark)
    if data and not _may_be_plain(key, version):
        raise damaged(place)
    return data


def _text(key: Key, text: str, place: bytes) -> str:
    if not is_sealed_text(text):
        return text
    if isinstance(key, DataKey):
        try:
            return key.open_text(text, place)
        except CodecDamaged as error:
            return f"damaged: {error.message}"
    return mark_text(DAMAGED_MARK if key is None else key.mark)


def _body(key: Key, data: bytes, place: bytes) -> bytes:
    """A value under the store's key."""
    if not is_sealed(data):
        return data
    try:
        return _value(key, data, place, 0)
    except CodecDamaged:
        return DAMAGED_MARK


def _unkeyed(key: Key, digest: bytes, what: bytes, version: int, beside: bytes) -> bytes:
    """The hash of the plain value. It is stored keyed where the value ``beside`` it is encrypted."""
    return key.keyed(digest, what, version) if isinstance(key, DataKey) and is_sealed(beside) else digest


def checked_entry(entry: LogEntry, key: Key) -> LogEntry:
    """Raises CodecDamaged."""
    if key is None:
        return entry
    version, row = entry.version, entry.row
    opened = row._replace(
        payload=_value(key, row.payload, bound_to_step(b"payload", version, row.action_id), version),
        intents=_intents(key, row.intents, bound_to_step(b"intents", version, row.action_id), version),
        body_hash=_unkeyed(key, row.body_hash, b"body", version, row.payload),
    )
    return entry._replace(row=opened, state_hash=_unkeyed(key, entry.state_hash, b"state", version, row.payload))


def opened_entry(entry: LogEntry, key: Key) -> LogEntry:
    try:
        return checked_entry(entry, key)
    except CodecDamaged:
        return entry._replace(row=entry.row._replace(payload=DAMAGED_MARK, intents=b""))


def checked_snapshot(row: SnapshotRow, key: Key) -> SnapshotRow:
    """Raises CodecDamaged."""
    if key is None:
        return row
    state = _value(key, row.state, bound_to_state(row.version), row.version)
    return row._replace(state=state, state_hash=_unkeyed(key, row.state_hash, b"state", row.version, row.state))


def opened_stored(row: Stored, key: Key, store: Key) -> Stored:
    held = _text(store, row.held, _held(row.key)) if row.held else ""
    if key is None or not row.version:
        return row._replace(held=held)
    try:
        state = _value(key, row.state, bound_to_state(row.version), row.version)
    except CodecDamaged:
        state = DAMAGED_MARK
    return row._replace(
        state=state, state_hash=_unkeyed(key, row.state_hash, b"state", row.version, row.state), held=held
    )


def opened_outbox(row: OutboxRow, key: Key, store: Key) -> OutboxRow:
    error = _text(store, row.error, _at(b"error", row.pointer)) if row.error else ""
    if key is None:
        return row._replace(error=error)
    try:
        intents = _intents(key, row.intents, bound_to_step(b"intents", row.version, row.action_id), row.version)
        result = row.result
        if is_sealed(result):
            result = key.open_result(result, bound_to_result(row.pointer)) if isinstance(key, DataKey) else key.mark
    except CodecDamaged as broken:
        return row._replace(intents=b"", result=b"", error=broken.message)
    return row._replace(intents=intents, result=result, error=error)


def opened_rejection(row: RejectionRow, store: Key) -> RejectionRow:
    return row._replace(
        message=_text(store, row.message, _refused(b"message", row)),
        body=_body(store, row.body, _refused(b"body", row)),
        trace=_text(store, row.trace, _refused(b"trace", row)),
    )


def opened_attempt(row: Attempt, store: Key) -> Attempt:
    message, trace = _at(b"message", row.pointer), _at(b"trace", row.pointer)
    return row._replace(message=_text(store, row.message, message), trace=_text(store, row.trace, trace))


def opened_inbox(row: InboxRow, store: Key) -> InboxRow:
    answer = None if row.answer is None else opened_answer(row.ticket, row.answer, store)
    return row._replace(body=_body(store, row.body, b"message\0%d" % row.at_us), answer=answer)


def opened_answer(ticket: int, answer: bytes, store: Key) -> bytes:
    return _body(store, answer, b"answer\0%d" % ticket)


def opened_fields(name: str, row: ProjectionRow, key: Key) -> ProjectionRow:
    if not is_sealed(row.fields):
        return row
    try:
        return row._replace(fields=_value(key, row.fields, bound_to_fields(name, row.version), row.version))
    except CodecDamaged:
        return row._replace(fields=DAMAGED_MARK)


def opened_blob(digest: bytes, data: bytes, key: Key) -> bytes | None:
    """None: it was erased. Raises CodecDamaged, CodecKeyMissing."""
    if not is_sealed_blob(data):
        return data
    place = b"blob\0" + digest.hex().encode()
    if isinstance(key, DataKey):
        return key.open_blob(data, place)
    if key is None:
        raise damaged(place)
    if not key.erased:
        check_readable(key.mark, f"blob {digest.hex()[:16]}")
    return None
