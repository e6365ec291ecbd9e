"""What a forked child must not have of its parent: locks it would keep, and database connections it would end.

A fork copies every open file. The child of an engine would go on holding the owner's lock after the engine's end, and at
its own end SQLite would fold a WAL that is long another's into the file. So the child forgets both, at once.

A fork that passes by Python's hooks (from C code) is not seen here. Then an orderly end of the parent still frees the
lock, which is undone, not only closed; a parent that was killed leaves it to the child until that ends too.
"""

from __future__ import annotations

import os
from typing import Final, Protocol
from weakref import WeakSet


class Inherited(Protocol):
    def forget_parent(self) -> None:
        """Called in the child, where only the thread that forked goes on. Must wait for no lock."""


_things: Final[WeakSet[Inherited]] = WeakSet()


def release_in_forked_child(thing: Inherited) -> None:
    """Have ``thing.forget_parent`` called in every child that is forked while ``thing`` lives."""
    _things.add(thing)


def _forget() -> None:
    for thing in list(_things):
        thing.forget_parent()


os.register_at_fork(after_in_child=_forget)
