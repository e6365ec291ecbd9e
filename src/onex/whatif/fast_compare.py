"""Fast compare: rows folded on other code for as long as every byte comes out as recorded.

Most instances are the same under changed code, so this is one tight loop. It answers one question: up to which batch is
everything equal? Where, what and why something differs is for ``slow_compare``, which is asked about the rest.

For each row, in this order:

1. It is the next version, and its outcome or message would have come under the other code as well. A message that its
   sender no longer sends ends the loop; so does any outcome of a send once some message is refused where it arrives.
2. Its code has the same state schema as the other code. Bytes of another schema differ by design.
3. The action is folded. Status and intents are compared at once, as bytes.
4. At the end of a batch the state is written and hashed, with the digest of the code that made the record. An equal hash
   means equal bytes of the state. So the recorded states in between, which are not stored, are not needed.

What may go wrong: the code refuses or raises, a row cannot be read, a hash differs. Each ends the loop in the same way,
and nothing is reported from here. That is right, because the slow compare begins at the first row and meets it again;
what was found equal here it trusts only up to the last equal hash, ``last_equal``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..engine.encode import encode_intents, state_hash
from ..engine.refold import Refold
from ..engine.registry import Workflow
from ..kernel.intent import EnumIntentType
from ..kernel.step import State
from ..kernel.user_code import caught
from ..ports import Code, LogEntry, LogRow, SnapshotRow
from ..replay.segment import UNKNOWN_CODE
from .branch import OUTCOME, arrivals
from .messages import MessageChanges


class OtherWorkflow:
    """One workflow of the other code, looked up once for all its instances.

    ``sends``: issuers of outcomes of messages. ``arrives[issuer]``: the triggers under which outcomes of it return.
    """

    __slots__ = ("arrives", "refold", "sends", "write")

    def __init__(self, workflow: Workflow) -> None:
        reducer = workflow.reducer
        self.refold = Refold(workflow)
        self.write: Callable[[State], bytes] = reducer.state_type.__pydantic_serializer__.to_json
        specs = reducer.intents.by_name.values()
        self.sends = {f"{OUTCOME}{spec.name}" for spec in specs if spec.kind == EnumIntentType.ACTION_SEND}
        self.arrives = {f"{OUTCOME}{spec.name}": arrivals(spec) for spec in specs}


class FastCompare:
    """One instance, from ``begin`` on. ``foreign``: some of what was taken came from other instances."""

    def __init__(
        self,
        other: OtherWorkflow,
        begin: SnapshotRow,
        state: State,
        codes: Mapping[int, Code],
        messages: MessageChanges,
    ) -> None:
        self.foreign = False
        self._other, self._state, self._codes, self._messages = other, state, codes, messages
        self._begin = begin
        self._equal: tuple[int, bytes] | None = None  # version and state at the end of the last equal batch
        self._batch: list[LogRow] = []
        self._version, self._hash = begin.version, begin.state_hash
        self._code_id, self._digest = -1, b""

    @property
    def last_equal(self) -> SnapshotRow:
        """The end of the last batch that came out as recorded."""
        if self._equal is None:
            return self._begin
        version, state = self._equal
        return SnapshotRow(self._begin.key, version, state, self._other.refold.schema, self._code_id, self._hash)

    def take(self, rows: Sequence[LogEntry], last: int, *, intent_is_a_type: bool) -> bool:
        """The next rows, up to version ``last``. False when something does not come out as recorded, whatever it is."""
        try:
            return self._take(rows, last, intent_is_a_type)
        except BaseException as error:  # refused, raised, unreadable: the slow compare says where and why
            caught(error)
            return False

    def _take(self, rows: Sequence[LogEntry], last: int, intent_is_a_type: bool) -> bool:
        other, key, state, version = self._other, self._begin.key, self._state, self._version
        refold, write = other.refold, other.write
        delta, action, schema = refold.delta, refold.action, refold.schema
        batch = self._batch
        for entry in rows:
            row = entry.row
            version += 1
            if entry.version != version or version > last:
                return entry.version > last
            if row.cause is not None:
                issuer = row.issuer
                if issuer.startswith(OUTCOME) and row.kind not in other.arrives.get(issuer, ()):
                    return False
                if (
                    issuer in other.sends and self._messages.refused
                ):  # the slow compare finds out whether it is one of them
                    return False
                if is_foreign(row, intent_is_a_type=intent_is_a_type):
                    self.foreign = True
                    if row.action_id in self._messages.withdrawn:
                        return False
            if entry.code_id != self._code_id and not self._is_comparable(entry.code_id, schema):
                return False
            done = delta(state, action(key, row))
            state = done.state
            if state.status != row.status or encode_intents(done.intents) != row.intents:
                return False
            batch.append(row)
            if recorded := entry.state_hash:
                data = write(state)
                if state_hash(self._hash, key, self._digest, batch, data) != recorded:
                    return False
                self._hash, self._equal = recorded, (version, data)
                batch.clear()
        self._state, self._version = state, version
        return True

    def _is_comparable(self, code_id: int, schema: int) -> bool:
        """Whether rows of this code may be compared as bytes: their states have the other code's schema."""
        code = self._codes.get(code_id, UNKNOWN_CODE)
        self._code_id, self._digest = code_id, code.digest
        return code.state_schema == schema


def is_foreign(row: LogRow, *, intent_is_a_type: bool) -> bool:
    """Whether another instance may have sent it: its issuer is then that instance's key, and it has a cause.

    ``intent_is_a_type``: a workflow is called ``intent``, so a key may look like the issuer of an outcome.
    """
    if row.cause is None or ":" not in row.issuer:
        return False
    return not row.issuer.startswith(OUTCOME) or intent_is_a_type
