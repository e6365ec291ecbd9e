"""``onex workers``: the processes that share a PostgreSQL store, and how many shards each of them has."""

from __future__ import annotations

import asyncio
from collections import Counter

from ..kernel.membership import Membership
from ..wiring import StoreUrl, open_shared, shown_url
from .console import counted, say, say_json, table
from .store_options import Json, Store, url_of


def workers(store: Store = None, as_json: Json = False) -> None:
    """List the workers that share a store: their shards, and when they were last heard of.

    Times are the store's. A worker that is not heard of for as long as its lease is not listed: others have its shards.
    An engine that has the store for itself (onex run) is no worker; it is named instead.

    \b
    Examples:
      onex workers --store postgres://db/shop
      onex workers --store postgres://db/shop --json
    """
    url = url_of(store)
    seen, alone = asyncio.run(_look(url))
    shards = Counter(owner.worker for owner in seen.owners)
    free = 0 if alone else len(seen.owners) - sum(shards[one.worker.id] for one in seen.workers)
    if as_json:
        say_json(
            {
                "shards": len(seen.owners),
                "free": free,
                "alone": alone,
                "workers": [
                    {
                        "id": one.worker.id,
                        "about": one.worker.about,
                        "shards": shards[one.worker.id],
                        "lease_s": one.worker.lease_s,
                        "joined_s": round(one.joined_s, 3),
                        "heard_s": round(one.heard_s, 3),
                    }
                    for one in seen.workers
                ],
            }
        )
        return
    if seen.workers:
        rows = [
            (
                one.worker.id[:8],
                one.worker.about,
                str(shards[one.worker.id]),
                f"{one.joined_s:.0f} s",
                f"{one.heard_s:.1f} s ago",
            )
            for one in seen.workers
        ]
        table(("worker", "process", "shards", "up", "heard"), rows)
    has = f"{counted(len(seen.owners), 'shard')} of {shown_url(url)}"
    if alone:
        say(f"no workers: one engine (onex run) has the {has} for itself")
        return
    shares = "shares" if len(seen.workers) == 1 else "share"
    without = f"; {free} {'has' if free == 1 else 'have'} no worker" if free else ""
    say(f"{counted(len(seen.workers), 'worker')} {shares} {has}{without}")


async def _look(url: str) -> tuple[Membership, bool]:
    """Who is there, and whether one engine has the store for itself.

    The lock of a worker whose machine vanished may outlive its lease, but then its shards still have its name.
    """
    store = await open_shared(StoreUrl.parse(url), create=False)
    try:
        seen = await store.look()
        nobody = not seen.workers and all(owner.worker == "" for owner in seen.owners)
        return seen, nobody and await store.is_owned()
    finally:
        await store.close()
