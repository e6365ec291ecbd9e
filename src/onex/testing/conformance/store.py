"""The suite: what every store does, however it keeps its rows."""

from __future__ import annotations

from .attempts import KeptAttempts
from .commits import Commits
from .keys import DataKeys
from .leases import Leases
from .outbox import Outbox
from .ownership import Ownership
from .projecting import Projecting
from .reading import Reading
from .refusals import Refusals
from .retaining import Retaining
from .searching import Searching
from .sharding import Sharding


class StoreConformance(
    Ownership, Commits, Outbox, KeptAttempts, Refusals, Reading, Projecting, Retaining, Searching, DataKeys
):
    """Every behaviour of ``ports.Store``, ``Reader``, ``Sender``, ``Projections``, ``Retention``, ``SearchTables`` and
    ``codec.KeyTables``.

    .. code-block:: python

        class TestMyStore(StoreConformance):
            async def open(self, place: Path) -> MyStore:
                return await MyStore.connect(schema=place.name, rejections_kept=self.rejections_kept)
    """


class ShardConformance(Sharding, Leases):
    """Every behaviour of a store with at least four shards, and of ``ports.ShardLeases``. Beside ``StoreConformance``.

    .. code-block:: python

        class TestMyShards(ShardConformance):
            async def open_shared(self, place: Path) -> MyStore:
                return await MyStore.connect(schema=place.name, shards=4)
    """
