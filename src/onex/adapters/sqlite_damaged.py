"""A row whose values have other types than were written: SQLite keeps any value in any column.

Such a row is read as values of the right types that mean nothing, so that it is refused where it is used, alone.
"""

from __future__ import annotations

from typing import Final

STORED_TYPES: Final = (str, str, int, int, int, str, int, bytes, int, bytes, int, int, int, int, str)
"""Of a row of ``workflow_state``, up to ``held``, in the order the store reads them."""
OUTBOX_TYPES: Final = (int, int, str, str, int, bytes, bytes, bytes, str, int, int, int, int, int, str, bytes, str, int)


def typed(row: tuple[object, ...], types: tuple[type, ...]) -> tuple[object, ...]:
    """The row with each value that is not of its type replaced by one that is."""
    return tuple(value if type(value) is kind else _made(value, kind) for value, kind in zip(row, types, strict=True))


def _made(value: object, kind: type) -> object:
    if kind is int:
        return 0
    text = value.decode(errors="replace") if isinstance(value, bytes) else "" if value is None else str(value)
    return text if kind is str else text.encode()
