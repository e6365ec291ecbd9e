"""Values in a server that speaks Redis's protocol, by redis-py: Redis, Valkey, and what else understands it.

A connection is taken from the pool first: if that fails, nothing was done. Once a command was sent, a lost connection is unknown,
but for a read. Nothing is sent twice here: whether to try again is the relay's decision.

An increment is a script, which the server runs as one step: it counts and remembers the key of the intent, or neither.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from ..kernel.errors import EffectFailed, EffectUnknown
from .secrets import SettingValues

CONNECT_S: Final = 10.0
COUNT_ONCE: Final = """
local done = redis.call('GET', KEYS[2])
if done then return done end
redis.call('INCRBY', KEYS[1], ARGV[1])
if tonumber(ARGV[2]) > 0 and redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
local sum = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[2], sum, 'PX', ARGV[3])
return sum
"""
_PASSING: Final = ("LOADING", "BUSY", "READONLY", "OOM", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN")
_FORBIDDEN: Final = ("NOAUTH", "NOPERM", "WRONGPASS")
_ERRORS: Final = (RedisError, OSError, TimeoutError)


class RedisCache:
    """One pool of connections."""

    def __init__(self, url: str, pool_max: int, settings: SettingValues) -> None:
        """Raises EffectFailed for a URL that is none."""
        try:
            parts = urlsplit(url)
            self.shown = f"{parts.hostname}:{parts.port or 6379}{parts.path}"
            settings.hide(unquote(parts.password or ""))
            self._pool = BlockingConnectionPool.from_url(
                url,
                max_connections=pool_max,
                timeout=None,
                socket_connect_timeout=CONNECT_S,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            raise EffectFailed("the url is none; write redis://HOST:PORT/0", code="bad_url") from error

    async def get(self, key: bytes) -> bytes | None:
        answer = await self._command("GET", key, reads=True)
        return None if answer is None else bytes(answer) if isinstance(answer, bytes) else str(answer).encode()

    async def set(self, key: bytes, value: bytes, ttl_ms: int | None) -> None:
        await self._command("SET", key, value, *(() if ttl_ms is None else ("PX", ttl_ms)))

    async def delete(self, key: bytes) -> bool:
        return bool(await self._command("DEL", key))

    async def increment(self, key: bytes, by: int, ttl_ms: int | None, once: bytes, dedup_ms: int) -> int:
        answer = await self._command("EVAL", COUNT_ONCE, 2, key, once, by, ttl_ms or 0, dedup_ms)
        if not isinstance(answer, bytes | str | int):
            raise EffectUnknown(
                f"{self.shown} answered an increment with no number", retryable=False, code="wrong_result"
            )
        return int(answer)

    async def _command(self, *words: str | bytes | int, reads: bool = False) -> object:
        connection = await self._connection()
        try:
            await connection.send_command(*words)
            return await connection.read_response()
        except BusyLoadingError as error:
            raise self._refused(error, "LOADING") from error
        except ResponseError as error:
            raise self._refused(error, str(error).partition(" ")[0]) from error
        except _ERRORS as error:
            await self._dropped(connection)
            lost = f"the connection to {self.shown} was lost: {error}"
            if reads:
                raise EffectFailed(lost, retryable=True, code="connection_lost") from error
            raise EffectUnknown(lost, code="connection_lost") from error
        except BaseException:  # cancelled: an answer may still come, and nobody may take it for its own
            await self._dropped(connection)
            raise
        finally:
            await self._pool.release(connection)

    async def _connection(self) -> AbstractConnection:
        try:
            return await self._pool.get_connection()  # type: ignore[no-any-return, no-untyped-call]  # as it says itself
        except AuthenticationError as error:
            raise EffectFailed(f"{self.shown} does not let this user in: {error}", code="not_allowed") from error
        except ResponseError as error:
            raise self._refused(error, str(error).partition(" ")[0]) from error
        except _ERRORS as error:
            raise EffectFailed(
                f"{self.shown} cannot be reached: {error}", retryable=True, code="unreachable"
            ) from error

    def _refused(self, error: RedisError, word: str) -> EffectFailed:
        said = f"{self.shown}: {error}"
        if word in _FORBIDDEN:
            return EffectFailed(said, code="not_allowed")
        return EffectFailed(said, retryable=word in _PASSING, code="refused_by_server")

    async def _dropped(self, connection: AbstractConnection) -> None:
        with suppress(*_ERRORS):
            await connection.disconnect(nowait=True)

    async def close(self) -> None:
        with suppress(*_ERRORS, asyncio.CancelledError):
            await self._pool.disconnect()
