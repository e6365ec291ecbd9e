"""A worker in a process of its own: it takes shards, says so, and commits one action a line on its standard input.

Its answers are lines: ``took``, then for each line ``committed N`` with the position, or ``fenced SHARDS``, or the name of
another error. ``begin`` commits nothing: it says ``holds`` when a transaction of the writing session has locked the shards' rows.
"""

from __future__ import annotations

import asyncio
import sys

from onex.adapters.postgres.address import Address
from onex.adapters.postgres.store import PostgresStore
from onex.kernel.errors import FencedError, OnexError
from onex.kernel.membership import Worker
from onex.testing.conformance.leases import Member
from onex.testing.conformance.owner import CODE, ENV, row
from onex.testing.conformance.sharding import key_in


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def work(url: str, name: str, lease_s: float, shards: list[int]) -> None:
    store = await PostgresStore.open(Address.parse(url))
    await store.join(Worker(name, lease_s))
    member = Member(store, name, *await store.intern(CODE, ENV))
    await member.take(*shards)
    say("took")
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        if line == "begin":
            connection = store._ownership.link.current
            assert connection is not None
            await connection.execute("begin")
            await connection.execute("update shards set n = n + 5 where owner = $1", name)
            say("holds")
            continue
        try:
            applied = await member.apply(key_in(store, shards[0]), row(line))
            say(f"committed {applied.first.n}")
        except FencedError as error:
            say(f"fenced {list(error.shards)}")
        except OnexError as error:
            say(type(error).__name__)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], sys.argv[2], float(sys.argv[3]), [int(one) for one in sys.argv[4].split(",")]))
