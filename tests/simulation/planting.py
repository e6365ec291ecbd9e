"""How to plant a bug: one generator that makes it, is entered around some runs, and takes it out again.

1. Write a function marked ``@planted`` in the file of the room it breaks (``planted_store``, ``planted_dispatch``,
   ``planted_fold``, ``planted_relay``, ``planted_inbox_and_projections``, ``planted_user_code``). It changes one thing
   with ``swapped`` and yields. Break one promise in a way somebody could have written, and keep every other promise. The name
   says which promise is broken.
2. Give it a row in ``planted.FOUND``: the first run that finds it, and how many runs it may take.
3. ``pytest tests/simulation/test_planted.py -k its_name``. When no run finds it, the simulation
   has a gap: improve faults, workload or invariants until one does. The bug stays as it is.

Even runs run on SQLite, odd ones in memory: a bug in one store is looked for in the runs of both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

Bug = Callable[[], AbstractContextManager[None]]
PLANTED: dict[str, Bug] = {}
"""Every bug that was planted, by name; filled as the files of the rooms are imported."""


def planted(make: Callable[[], Iterator[None]]) -> Bug:
    """Raises ValueError for a name that is taken."""
    if make.__name__ in PLANTED:
        raise ValueError(f"two planted bugs are named {make.__name__}")
    PLANTED[make.__name__] = bug = contextmanager(make)
    return bug


@contextmanager
def swapped(owner: object, name: str, wrong: object) -> Iterator[None]:
    """Inside, ``owner.name`` is ``wrong``; afterwards it is what it was."""
    right = getattr(owner, name)
    setattr(owner, name, wrong)
    try:
        yield
    finally:
        setattr(owner, name, right)
