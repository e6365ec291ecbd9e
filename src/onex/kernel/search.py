"""Search fields: scalars of a state that a store indexes, so that instances are found by them.

Law: encoding keeps order. ``a < b`` exactly when ``encoded(kind, a) < encoded(kind, b)``, and equal values have equal codes. So a
store compares codes, by number or by bytes of UTF-8, and every store finds the same instances in the same order.

A field stands in a *slot*: ``n1`` to ``n8`` hold whole numbers, ``t1`` to ``t8`` text. A *spec* is the list of fields of one
workflow type, with their slots, as a contract declares them; another list is another spec, with another id. A row of values names
its spec, so values of an older list are never read as those of a newer one.

============ ========================================= =======
kind          code                                      slot
============ ========================================= =======
integer       the number                                n
number        the bits of the float, in order           n
boolean       0 or 1                                    n
time          microseconds since 1970 UTC               n
text          the text; its beginning where it is long  t
============ ========================================= =======
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from hashlib import blake2b
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from .action import EPOCH
from .errors import StateConsistencyError
from .step import State

SearchCode = int | str | None
"""How a value stands in a store. None: there is no value."""
Scalar = int | float | str | bool | date | Decimal | UUID | None
"""A value of a search field; a Decimal is a number in the text of a condition."""

SLOTS_OF_A_KIND: Final = 8
TEXT_BYTES: Final = 1000
"""A longer text is found by its first ``TEXT_HEAD`` characters and a hash of the whole."""
TEXT_HEAD: Final = 200
SLOT_NAMES: Final = tuple(f"{letter}{n}" for letter in "nt" for n in range(1, SLOTS_OF_A_KIND + 1))
"""``SLOT_NAMES[slot]`` is the column of a slot."""
_MICROSECOND: Final = timedelta(microseconds=1)
_new: Final = tuple.__new__  # builds what the class builds, with one call less


class EnumSearchKind(StrEnum):
    """What a search field holds."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    TIME = "time"

    @property
    def is_text(self) -> bool:
        """Whether its codes are text."""
        return self is EnumSearchKind.TEXT


class SearchField(NamedTuple):
    """``name`` is a field of the state, or a dotted path through nested models. ``choices``: the texts there can be; () for any."""

    name: str
    kind: EnumSearchKind
    slot: int
    choices: tuple[str, ...] = ()


class SearchSpec(NamedTuple):
    """The search fields of one workflow type, as a store knows them. ``filled``: every instance has its values."""

    id: int
    workflow_type: str
    fields: tuple[SearchField, ...]
    filled: bool


class SearchMove(NamedTuple):
    """Values that a commit changes: ``values[i]`` goes to ``slots[i]`` of the instance's row. A new instance gets all of them."""

    spec: int
    slots: tuple[int, ...]
    values: tuple[SearchCode, ...]


class SearchFill(NamedTuple):
    """Values for an instance that has none of this spec, made of its state at ``version``."""

    instance: int
    version: int
    move: SearchMove


def with_slots(found: Iterable[tuple[str, EnumSearchKind, tuple[str, ...]]]) -> tuple[SearchField, ...]:
    """Name, kind and choices of each field become fields with slots. Raises ValueError where the slots do not suffice."""
    taken = {False: 0, True: SLOTS_OF_A_KIND}
    fields: list[SearchField] = []
    for name, kind, choices in found:
        slot = taken[kind.is_text]
        if slot == SLOTS_OF_A_KIND * (2 if kind.is_text else 1):
            raise ValueError(f"there is room for {SLOTS_OF_A_KIND} fields of its kind")
        taken[kind.is_text] += 1
        fields.append(SearchField(name, kind, slot, choices))
    return tuple(fields)


class SearchPlan:
    """How the search fields of one state class are read. ``fields`` have their slots."""

    __slots__ = ("_columns", "_of", "_optional", "fields", "spec")

    def __init__(self, fields: Sequence[SearchField], *, optional: bool, spec: int = 0) -> None:
        """``optional``: a model on the way to some field may be None. ``spec``: the id that a store gave them."""
        self.fields, self.spec, self._optional = tuple(fields), spec, optional
        self._columns = tuple((field.slot, CODES[field.kind]) for field in self.fields)
        names = [field.name for field in self.fields]
        self._of: Callable[[State], tuple[Scalar, ...]]
        if optional:
            paths = [name.split(".") for name in names]
            self._of = lambda state: tuple(_at(state, path) for path in paths)
        elif len(names) == 1:
            get: Callable[[State], Scalar] = attrgetter(names[0])
            self._of = lambda state: (get(state),)
        else:
            self._of = attrgetter(*names)

    def under(self, spec: int) -> SearchPlan:
        """The same, for a store that keeps the fields under this id."""
        return SearchPlan(self.fields, optional=self._optional, spec=spec)

    def read(self, state: State | None) -> tuple[Scalar, ...] | None:
        """The values of the fields, in their order; None where there is no state."""
        return None if state is None else self._of(state)

    def move(self, before: tuple[Scalar, ...] | None, state: State | None) -> SearchMove | None:
        """What a step to ``state`` changes: all values where ``before`` is None; None where no value differs."""
        assert state is not None, "a step leaves a state"
        after = self._of(state)
        if before == after:
            return None
        slots: tuple[int, ...] = ()
        values: tuple[SearchCode, ...] = ()
        if before is None:
            slots = tuple([slot for slot, _ in self._columns])
            values = tuple([code(value) for (_, code), value in zip(self._columns, after, strict=True)])
        else:  # once per action: each of these lines counts
            for (slot, code), old, new in zip(self._columns, before, after):  # noqa: B905  # as long as one another
                if old != new:
                    slots += (slot,)
                    values += (code(new),)
        moved: SearchMove = _new(SearchMove, (self.spec, slots, values))
        return moved


def _at(state: State, path: Sequence[str]) -> Scalar:
    value: object = state
    for name in path:
        if value is None:
            return None
        value = getattr(value, name)
    return value  # type: ignore[return-value]  # of the kind that the plan was made for


def encoded(kind: EnumSearchKind, value: Scalar) -> SearchCode:
    """The code of a value. Raises what a value of another kind raises."""
    return CODES[kind](value)


def _integer(value: Scalar) -> SearchCode:
    return value  # type: ignore[return-value]  # of the kind that the plan was made for


def _number(value: Scalar) -> SearchCode:
    if value is None:
        return None
    bits: int = struct.unpack(">q", struct.pack(">d", float(value) + 0.0))[0]  # type: ignore[arg-type]  # as above; -0.0 is 0.0
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)


def _boolean(value: Scalar) -> SearchCode:
    return None if value is None else int(bool(value))


def _time(value: Scalar) -> SearchCode:
    if value is None:
        return None
    assert isinstance(value, date)
    if not isinstance(value, datetime):  # a day is its first moment
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    return (value - EPOCH) // _MICROSECOND


def _text(value: Scalar) -> SearchCode:
    if value is None:
        return None
    text = str(value)
    raw = text.encode()
    if len(raw) <= TEXT_BYTES:
        return text
    return f"{text[:TEXT_HEAD]}\U0010fffd{blake2b(raw, digest_size=16).hexdigest()}"


CODES: Final[Mapping[EnumSearchKind, Callable[[Scalar], SearchCode]]] = {
    EnumSearchKind.INTEGER: _integer,
    EnumSearchKind.NUMBER: _number,
    EnumSearchKind.TEXT: _text,
    EnumSearchKind.BOOLEAN: _boolean,
    EnumSearchKind.TIME: _time,
}


def shown(kind: EnumSearchKind, code: SearchCode) -> int | float | str | bool | None:
    """The value of a code, as JSON: a time in ISO form. A long text stays as it was cut."""
    if code is None:
        return None
    if kind is EnumSearchKind.BOOLEAN:
        return bool(code)
    if isinstance(code, int):
        if kind is EnumSearchKind.TIME:
            return (EPOCH + timedelta(microseconds=code)).isoformat()
        if kind is EnumSearchKind.NUMBER:
            bits = code if code >= 0 else -code | -(1 << 63)
            number: float = struct.unpack(">d", struct.pack(">q", bits))[0]
            return number
        return code
    return code


def spec_rows(fields: Sequence[SearchField]) -> list[dict[str, object]]:
    """The fields as a store keeps them, in JSON."""
    return [
        {"name": field.name, "kind": field.kind.value, "column": SLOT_NAMES[field.slot], "choices": [*field.choices]}
        for field in fields
    ]


def spec_fields(rows: object) -> tuple[SearchField, ...]:
    """What ``spec_rows`` wrote. Raises StateConsistencyError where it is damaged."""
    try:
        return tuple(
            SearchField(one["name"], EnumSearchKind(one["kind"]), SLOT_NAMES.index(one["column"]), (*one["choices"],))
            for one in rows  # type: ignore[attr-defined]  # damage is what the except is for
        )
    except (TypeError, ValueError, KeyError) as error:
        raise StateConsistencyError(f"the stored search fields are damaged: {error}") from error
