"""Notifications: what another process has sent or committed, told by the server (LISTEN), so that nobody asks again and again.

A notification is lost with the connection that would have got it. So the end of a connection counts as one, and so does a
new one. Whoever waits is let look every ``LOOK_S`` without any.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from .link import Connection, Link

LOOK_S: Final = 10.0


def _any(told: str) -> bool:
    return True


class Channel:
    """One channel on one link. It listens once somebody has waited on it. ``concerns`` says of what was told whether it counts."""

    def __init__(self, link: Link, name: str, concerns: Callable[[str], bool] = _any) -> None:
        self.link, self.name = link, name
        self.listening = False
        self.told = 0
        self._concerns = concerns
        self._waiting: set[asyncio.Future[None]] = set()

    async def listen_on(self, connection: Connection) -> None:
        """Called for each new connection of the link: what was sent in between was not told."""
        if self.listening:
            await connection.add_listener(self.name, self._notified)
            connection.add_termination_listener(self._tell)
            self._tell()

    def _notified(self, connection: object, pid: int, name: str, told: object) -> None:
        if self._concerns(str(told)):
            self._tell()

    def _tell(self, *ended: object) -> None:
        self.told += 1
        for one in self._waiting:
            if not one.done():
                one.set_result(None)
        self._waiting.clear()

    async def next(self) -> None:
        """Returns at the next notification, or after ``LOOK_S``."""
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            async with asyncio.timeout(LOOK_S):
                await waiting
        except TimeoutError:
            return
        finally:
            self._waiting.discard(waiting)


class Notified:
    """For one who waits on a channel. Look first, then ``changed``, then look again."""

    def __init__(self, channel: Channel) -> None:
        self._channel, self._seen = channel, channel.told

    async def changed(self) -> None:
        """Returns when there may be something new since the last look. The first on a channel begins to listen, and returns."""
        channel = self._channel
        if not channel.listening:
            channel.listening = True
            await channel.link.use(channel.listen_on)
        elif channel.told == self._seen:
            await channel.next()
        self._seen = channel.told
