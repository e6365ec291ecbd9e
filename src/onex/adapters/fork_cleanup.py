"""What a forked child must release at once: the owner's lock, and database connections.

A fork copies every open file. The child of an engine would hold the owner's lock after the engine has ended. At its own end
SQLite would copy a WAL into the file that by then may belong to another owner. So the child releases both, at once.

A fork from C code calls none of Python's hooks and is not seen here. Then an orderly end of the parent still frees the lock,
since it unlocks and does not only close. If the parent was killed, the child keeps the lock until it ends too.
"""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet


class Inherited(Protocol):
    def forget_parent(self) -> None:
        """Called in the child, in which only the forking thread exists. Must not wait for any lock."""


_things: Final[WeakSet[Inherited]] = WeakSet()


def release_in_forked_child(thing: Inherited) -> None:
    """Have ``thing.forget_parent`` called in each child that is forked while ``thing`` exists."""
    _things.add(thing)


def _forget() -> None:
    for thing in list(_things):
        thing.forget_parent()


os.register_at_fork(after_in_child=_forget)
