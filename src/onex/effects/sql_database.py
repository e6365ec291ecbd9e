"""A database as the sql effect asks for it, and the words for what it answers. PostgreSQL and SQLite keep this one promise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from ..kernel.errors import EffectFailed, EffectUnknown

Row = Mapping[str, object]


class Rows(NamedTuple):
    """``changed``: how many rows a write changed; ``rows``: what came back."""

    changed: int
    rows: Sequence[Row]


class OnceOnly(NamedTuple):
    """What makes a write happen once: a row of ``table`` under ``key``, written in the same transaction.

    ``body`` names the request: the same key with another body is refused. ``answer`` turns the rows into the text that is kept.
    """

    table: str
    key: str
    body: str
    answer: Callable[[Rows], str]


class SqlDatabase(Protocol):
    """Any method raises EffectFailed when surely nothing was written, else EffectUnknown."""

    shown: str
    """Where it is, without user and password, for messages."""

    async def write(self, sql: str, values: Sequence[object]) -> Rows:
        """One statement, which is a transaction of its own."""

    async def write_once(self, sql: str, values: Sequence[object], once: OnceOnly) -> str:
        """The text that ``once.answer`` gave, now or when this key was written. What ``once.answer`` raises rolls it back."""

    async def read(self, sql: str, values: Sequence[object], at_most: int) -> Sequence[Row]:
        """In a transaction that cannot write. At most so many rows."""

    async def close(self) -> None:
        """Idempotent."""


def make_dedup_table(table: str) -> str:
    """What to run once, as the owner of the tables."""
    return (
        f"create table {table} (idempotency_key text primary key, body text not null, answer text not null, "
        "done_at timestamp not null default current_timestamp)"
    )


def refused(message: str, code: str) -> EffectFailed:
    """Another try would end in the same way."""
    return EffectFailed(message, code=code)


def try_again(message: str, code: str) -> EffectFailed:
    """Nothing was written, and another try may succeed."""
    return EffectFailed(message, retryable=True, code=code)


def perhaps_written(message: str, code: str = "connection_lost") -> EffectUnknown:
    return EffectUnknown(message, code=code)


def other_body(key: str) -> EffectFailed:
    return refused(
        f"the idempotency key {key} was used before with other values; nothing was written. Give this intent a key of its own",
        "key_used",
    )
