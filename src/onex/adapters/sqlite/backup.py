"""A SQLite store copied while it is in use, and such a copy made a store again.

Theory of operation of ``back_up``. A read transaction sees one moment of the store, however long it lasts, and in WAL mode it
stops no writer. SQLite copies the pages of that moment into a file beside the target. The copy gets a mark, is
made durable, and only then gets its name. While it runs, the WAL cannot begin anew, so it grows by what is written meanwhile.

The mark says when the backup was made. No engine opens a marked file for writing: it would go on in the backup itself, and
the next restore would find another past. Readers open it as any store: show, replay, verify.

``restore`` copies the file to a new store, removes the mark, and raises the fences by far more than a store is ever taken over. So
an owner of the old store, should it meet this one, is older than any owner of this one: its commits are refused.

What may go wrong: a process dies. Then the temporary file stays and the target does not exist. The next one to make a store there
removes it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, NamedTuple

from ...kernel.errors import StateConsistencyError
from .errors import NotABackup, translated
from .integrity import damage_in
from .location import real_path
from .new_file import publish, temporary
from .schema import BACKUP, connect, refuse_left, remove

PAGES: Final = 1024
RAISED: Final = 1_000_000
"""By so many a restore raises a fence; each takeover raises it by one."""


class BackedUp(NamedTuple):
    """``last_us`` is when its last action was issued (0: none), ``made_us`` the moment of the backup. ``waiting``: intents that are
    not settled; ``sent``: actions in the inbox without an answer."""

    instances: int
    actions: int
    last_us: int
    made_us: int
    waiting: int
    sent: int


_HOLDS: Final = """select (select count(*) from workflow_state), (select sum(n) from shards),
  coalesce((select max(last_us) from workflow_state), 0), coalesce((select value from meta where name = 'backup'), 0),
  (select count(*) from outbox), (select count(*) from inbox where answer is null)"""


def back_up(path: Path, target: Path, at_us: int, on_pages: Callable[[int, int], None]) -> BackedUp:
    """Copy the store at ``path``, as it is at one moment, to a new file. ``on_pages(done, total)`` is called between two steps.

    Raises StoreTaken when ``target`` exists; DatabaseConnectionError or a subclass.
    """
    target = real_path(target)
    made = temporary(target, "a backup never replaces a file")
    with closing(connect(real_path(path), "ro")) as source:
        try:
            _copied(source, made, on_pages)
            with closing(sqlite3.connect(made, isolation_level=None)) as copy:
                copy.execute("insert or ignore into meta values(?, ?)", (BACKUP, str(at_us)))
                holds = BackedUp(*map(int, copy.execute(_HOLDS).fetchone()))
                copy.execute("pragma wal_checkpoint(truncate)").fetchall()
            publish(made, target)
        except sqlite3.Error as error:
            raise translated(error, target) from error
        finally:
            remove(made)
    return holds


def restore(backup: Path, path: Path, on_pages: Callable[[int, int], None], *, damaged_too: bool = False) -> BackedUp:
    """Make a store at ``path`` of a backup. Raises NotABackup, StoreTaken, StateConsistencyError when the backup is damaged (not
    with ``damaged_too``), StoreReplaced, DatabaseConnectionError or a subclass."""
    path = real_path(path)
    made = temporary(path, "a backup is restored into a new store only")
    with closing(connect(real_path(backup), "ro")) as source:
        try:
            if not source.execute("select 1 from meta where name = ?", (BACKUP,)).fetchall():
                raise NotABackup(f"{backup} is a store and no backup; onex backup makes one of it", path=str(backup))
            found = damage_in(source, pages=True)
            if found and not damaged_too:
                raise StateConsistencyError(
                    f"{backup} is damaged, and nothing was restored: {found[0].what}. onex verify --store "
                    f"sqlite:///{backup} tells all; take an older backup, or restore it with --damaged-too"
                )
            holds = BackedUp(*map(int, source.execute(_HOLDS).fetchone()))
            _copied(source, made, on_pages)
            with closing(sqlite3.connect(made, isolation_level=None)) as copy:
                copy.execute("begin immediate")
                copy.execute("delete from meta where name = ?", (BACKUP,))
                copy.execute("update shards set fence = fence + ?, owner = ''", (RAISED,))
                copy.execute("commit")
                copy.execute("pragma wal_checkpoint(truncate)").fetchall()
            refuse_left(path)
            publish(made, path)
        except sqlite3.Error as error:
            raise translated(error, path) from error
        finally:
            remove(made)
    return holds


def _copied(source: sqlite3.Connection, made: Path, on_pages: Callable[[int, int], None]) -> None:
    source.execute("begin")
    try:
        source.execute("select n from shards").fetchall()  # from here on the transaction sees one moment
        with closing(sqlite3.connect(made)) as copy:
            source.backup(copy, pages=PAGES, progress=lambda _, left, total: on_pages(total - left, total))
    finally:
        source.execute("rollback")
