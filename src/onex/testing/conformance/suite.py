"""How one behaviour is run: in an empty folder of its own, on as many handles of one store as it opens."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Protocol, TypeVar, cast
from unittest import SkipTest

from ...kernel.errors import OnexError
from .owner import AnySharedStore, AnyStore, Owner

BEHAVIOUR_S = 60.0


class Place:
    """The store of one behaviour. Each ``open`` gives another handle on it, as each process has its own."""

    def __init__(self, suite: Suite, path: Path) -> None:
        self._suite = suite
        self._path = path
        self._opened: list[AnyStore] = []

    async def open(self) -> AnyStore:
        store = await self._suite.open(self._path)
        self._opened.append(store)
        return store

    async def open_shared(self) -> AnySharedStore:
        """Of a suite of shared stores."""
        assert isinstance(self._suite, SharedSuite)
        store = await self._suite.open_shared(self._path)
        self._opened.append(store)
        return store

    async def owner(self) -> Owner:
        """A handle that owns the store."""
        return await Owner.of(await self.open())

    async def crash(self, store: AnyStore) -> None:
        await self._suite.crash(store)

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


class Closing(Protocol):
    """A place that is closed after its behaviour."""

    async def close(self) -> None: ...


class Placed(Protocol):
    """A suite: it makes the place of one behaviour."""

    def place(self, folder: Path) -> Closing: ...


class Suite(ABC):
    """What a subclass says of its store."""

    persistent: ClassVar[bool] = True
    """False: closing the last handle loses everything."""
    rejections_kept: ClassVar[int] = 20
    """How many rejections a store from ``open`` keeps: few, so that tests reach the limit."""

    def place(self, folder: Path) -> Place:
        return Place(self, folder)

    @abstractmethod
    async def open(self, place: Path) -> AnyStore:
        """Another handle on the store of this place, an empty folder at first. Make the store when there is none."""

    async def crash(self, store: AnyStore) -> None:
        """Ends this handle as the death of its process would: nothing is closed, ownership is free. ``close`` follows later."""
        raise SkipTest("this suite does not say how a process of this store dies")


class SharedSuite(Suite):
    """What a subclass says of a store that has at least four shards and that workers share."""

    short_s: ClassVar[float] = 0.2
    """A lease that runs out soon."""

    @abstractmethod
    async def open_shared(self, place: Path) -> AnySharedStore:
        """As ``open``."""

    async def open(self, place: Path) -> AnyStore:
        return await self.open_shared(place)

    async def time_passes(self, store: AnySharedStore) -> None:
        """By the clock of the store, which the suite reads through ``beat``: until a short lease has run out, again and again."""
        await asyncio.sleep(0.02)


S = TypeVar("S", bound=Placed)
P = TypeVar("P", bound=Closing)


def behaviour(body: Callable[[S, P], Awaitable[None]]) -> Callable[[S], None]:
    """Makes a test of a coroutine, without a plugin: it is given a new place, which is closed after it."""

    def test(self: S) -> None:
        async def run(folder: Path) -> None:
            place = cast(P, self.place(folder))  # what a suite makes is what its behaviours take
            try:
                async with asyncio.timeout(BEHAVIOUR_S):
                    await body(self, place)
            finally:
                await place.close()

        with TemporaryDirectory(prefix="onex-conformance-") as folder:
            asyncio.run(run(Path(folder)))

    # not functools.wraps: pytest would follow it to the coroutine and take ``place`` for a fixture
    test.__name__, test.__qualname__, test.__doc__ = body.__name__, body.__qualname__, body.__doc__
    test.__module__ = body.__module__
    return test


def needs_persistence(suite: Suite) -> None:
    if not suite.persistent:
        raise SkipTest("this store says that it does not outlive its last handle")


async def refused(call: Awaitable[object], error: type[OnexError]) -> OnexError:
    """The error that the call raises. Fails when it raises none."""
    try:
        given = await call
    except error as raised:
        return raised
    raise AssertionError(f"expected {error.__name__}, got {given!r}")
