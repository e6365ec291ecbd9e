"""Link: one connection to the server, opened again when it was lost, used by one call at a time.

Theory of operation. ``use`` waits for its turn, opens the connection if there is none, and gives it to the caller's work. An
error of the driver becomes an error of ONEX there, and a connection that may be unusable is dropped, so the next call opens
a new one. A transaction that was open on it is rolled back by the server when the connection ends.

``on_open`` runs on each new connection before anybody uses it: the writer takes its lock there, the listener listens. If it
raises, the connection is dropped.

The server is told to give up early: a statement after 60 s, a lock after 30 s, a transaction in which nothing happens after
30 s, and a peer that does not answer keepalives after about 25 s. Without these a machine that vanished would keep its lock.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias, TypeVar

import asyncpg

from ...kernel.errors import EngineClosed, OnexError, TemporaryDatabaseError
from ..fork_cleanup import release_in_forked_child
from .address import Address
from .errors import DRIVER_ERRORS, ConnectionLost, ServerUnreachable, translated

R = TypeVar("R")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

CONNECT_S: Final = 10.0
COMMAND_S: Final = 65.0  # a little longer than the server's own limit, which tells more
CLOSE_S: Final = 10.0
_SERVER: Final = {
    "application_name": "onex",
    "statement_timeout": "60s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "jit": "off",
    "enable_bitmapscan": "off",  # rows are read in the order of an index, and few: a bitmap reads all of a range to sort them
}


async def _nothing(connection: Connection) -> None: ...


class Link:
    """Any method raises EngineClosed after ``close``, and only errors of ONEX."""

    def __init__(
        self,
        address: Address,
        *,
        read_only: bool = False,
        durable: bool = True,
        on_open: Callable[[Connection], Awaitable[None]] = _nothing,
    ) -> None:
        """Not ``durable``: a transaction is answered before it is on the disk or a standby, and a crash may lose it."""
        self.address = address
        self._settings = {
            **_SERVER,
            "search_path": address.schema,
            "default_transaction_read_only": "on" if read_only else "off",
            **({} if durable else {"synchronous_commit": "off"}),
        }
        self._on_open = on_open
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._closed = False
        release_in_forked_child(self)

    @property
    def current(self) -> Connection | None:
        """The open connection, for what needs no turn. None while there is none."""
        return None if self._connection is None or self._connection.is_closed() else self._connection

    async def open(self) -> None:
        """Open the connection now. Raises ServerUnreachable, ServerRefused, DatabaseConnectionError."""
        try:
            await self.use(_nothing)
        except TemporaryDatabaseError as error:
            raise ServerUnreachable(error.message, store=self.address.shown) from error

    async def use(self, work: Callable[[Connection], Awaitable[R]], *, again: bool = False) -> R:
        """What ``work`` gives. ``again``: it changes nothing, so it is tried once more if the connection was lost."""
        async with self._turn:
            try:
                return await self._once(work)
            except ConnectionLost:
                if not again:
                    raise
                return await self._once(work)

    async def _once(self, work: Callable[[Connection], Awaitable[R]]) -> R:
        if self._closed:
            raise EngineClosed(f"the store {self.address.shown} was closed here; open it again")
        try:
            connection = self.current or await self._open()
            return await work(connection)
        except OnexError:
            raise
        except DRIVER_ERRORS as error:
            self.drop()  # it may be in the middle of a transaction: to begin anew costs a few milliseconds
            raise translated(error, self.address.shown) from error
        except BaseException:  # cancelled in the middle of a statement
            self.drop()
            raise

    async def _open(self) -> Connection:
        connection = await asyncpg.connect(
            self.address.dsn, timeout=CONNECT_S, command_timeout=COMMAND_S, server_settings=self._settings
        )
        self._connection = connection
        try:
            await self._on_open(connection)
        except BaseException:
            self.drop()
            raise
        return connection

    def drop(self) -> None:
        """End the connection as a crash does: what was not committed is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self, last: Callable[[Connection], Awaitable[None]] = _nothing) -> None:
        """``last`` is run on the connection, if it is open. Idempotent; raises nothing of the driver's."""
        async with self._turn:
            self._closed = True
            connection = self.current
            if connection is not None:
                with suppress(OnexError, *DRIVER_ERRORS):
                    async with asyncio.timeout(CLOSE_S):
                        await last(connection)
                        await connection.close()
            self.drop()

    def forget_parent(self) -> None:
        """In a forked child: close its copy of the socket, so that the server sees the end of the parent."""
        connection, self._connection, self._closed = self._connection, None, True
        if connection is not None:
            _close_socket(connection)


def _close_socket(connection: Connection) -> None:
    """Close the descriptor only. Ending the connection orderly would tell the server, for the parent too."""
    transport = getattr(connection, "_transport", None)
    found = None if transport is None else transport.get_extra_info("socket")
    if found is not None:
        with suppress(OSError):
            os.close(found.fileno())
