"""The tables of a SQLite store, how a store is made, and how a connection to one is opened and checked.

Why the tables are as they are. The log is the only table that grows with every action, so it is laid out for appending: its
rows stand in position order, and one index covers all of them. That index (``log_action``) serves dedup and also finds all
rows of an instance. A row names the row before it of its instance (``prev``), and only every 64th version is indexed
(``log_anchor``). A second full index would change one more page per action, which cost a third of the throughput at one
million rows. See docs/decisions/0005.

How a store is made (``create``). It is built under another name, ``FILE.new``, then renamed, so nobody ever sees half a store.
A lock on the folder lets one process at a time do this, and removes what killed makers left behind. A ``-wal`` or ``-shm``
without its file is a store that was moved away while it may still be open. SQLite would mix the two, so nothing is made
there (StoreReplaced).

A store of an older schema is brought to ours by the first process that may write, in one transaction (``_upgrade``).

How a connection is opened (``connect``): first that the WAL belongs to the file (``location``), then the application id, the
schema version and whether the store was imported; then the pragmas, each read back, since SQLite ignores silently what
it does not know. The file is opened by SQLite only: closing any other descriptor of it would drop SQLite's locks.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from ..fork_cleanup import release_in_forked_child
from ..search_sql import SQLITE_TABLES
from ..store_errors import NotAStore, StoreBusy, StoreMissing, StoreTooNew
from .data_keys import TABLE as DATA_KEYS
from .errors import StoreIsBackup, StoreIsHistory, StoreReplaced, translated
from .location import check_mount, check_wal_belongs

SCHEMA_VERSION: Final = 5
SHARDS: Final = 1
PAGE_BYTES: Final = 16384
APPLICATION_ID: Final = 0x4F4E4558  # "ONEX": by this, file(1) and we recognise a store
BUSY_MS: Final = 30_000  # a sender waits this long for its turn among the owner's commits
IMPORTED: Final = "imported"  # in ``meta``: the store was made from recorded runs
BACKUP: Final = "backup"  # in ``meta``: the file is a backup, made at that time
CACHE_KIB: Final = 65_536
_BESIDE: Final = ("", "-wal", "-shm", "-journal")

_ATTEMPTS: Final = """
create table attempts(
  id integer primary key, instance integer not null, n integer not null, ordinal integer not null,
  attempt integer not null, began_us integer not null, ended_us integer not null, outcome text not null,
  code text not null, message text not null, trace text not null, unique(instance, n, ordinal, began_us, attempt));
create index attempts_ended on attempts(ended_us);
"""
TABLES: Final = """
create table meta(name text primary key, value text not null) without rowid;
create table shards(shard integer primary key, n integer not null, fence integer not null, owner text not null);
create table codes(
  id integer primary key, workflow_type text not null, contract_version text not null, digest blob not null,
  state_schema integer not null, unique(workflow_type, contract_version, digest, state_schema));
create table envs(
  id integer primary key, onex text not null, pydantic text not null, python text not null, tzdata text not null,
  git_revision text not null, unique(onex, pydantic, python, tzdata, git_revision));

create table workflow_state(
  instance integer primary key, workflow_type text not null, instance_id text not null,
  workflow_key text generated always as (workflow_type || ':' || instance_id) virtual,
  version integer not null, epoch integer not null, status text not null, terminal integer not null,
  state_schema integer not null, state_hash blob not null, code_id integer not null, position integer not null,
  last_us integer not null, failures integer not null, held text not null,
  lease_id blob, lease_until_us integer not null default 0, updated_us integer not null, state blob not null,
  checksum integer not null default 0, cut integer not null default 0, began_us integer not null default 0,
  unique(workflow_type, instance_id));

create table log(
  n integer primary key, instance integer not null, version integer not null, prev integer not null,
  action_id blob not null, kind text not null, payload blob not null, payload_schema integer not null,
  issued_us integer not null, correlation blob not null, cause blob, issuer text not null, body_hash blob not null,
  intents blob not null, status text not null, code_id integer not null, env_id integer not null,
  state_hash blob not null, checksum integer not null default 0);
create unique index log_action on log(instance, action_id);
create index log_anchor on log(instance, version) where version % 64 = 0;

create table outbox(
  n integer not null, ordinal integer not null, instance integer not null, priority integer not null,
  due_us integer not null, timer text not null, state text not null default 'waiting',
  attempt integer not null default 0, fence integer not null default 0, started integer not null default 0,
  crashes integer not null default 0, result blob not null default x'', error text not null default '',
  primary key(n, ordinal)) without rowid;
create index outbox_timer on outbox(instance, timer) where timer <> '' and state = 'waiting';
create index outbox_due on outbox(due_us) where timer <> '' and state = 'waiting';
create index outbox_stopped on outbox(state) where state <> 'waiting';

create table rejections(
  id integer primary key, key text not null, action_id blob not null, code text not null, message text not null,
  body blob not null, times integer not null, first_us integer not null, last_us integer not null,
  trace text not null default '', unique(key, action_id, code));
create index rejections_last on rejections(last_us);

create table inbox(
  ticket integer primary key autoincrement, body blob not null, at_us integer not null, answer blob,
  answered_us integer not null default 0);
create index inbox_open on inbox(ticket) where answer is null;
create index inbox_answered on inbox(answered_us) where answer is not null;

create table snapshots(
  instance integer not null, version integer not null, state_schema integer not null, code_id integer not null,
  state_hash blob not null, at_us integer not null, state blob not null, checksum integer not null default 0,
  primary key(instance, version));
create table blobs(
  digest blob primary key, media_type text not null, size integer not null, at_us integer not null,
  data blob not null);
create table blob_refs(n integer not null, digest blob not null, primary key(n, digest)) without rowid;
create index blob_refs_digest on blob_refs(digest);

create table workflow_projection(
  name text not null, workflow_type text not null, instance_id text not null,
  workflow_key text generated always as (workflow_type || ':' || instance_id) virtual,
  version integer not null, tag text not null, last_action text not null, fields blob not null,
  primary key(name, workflow_type, instance_id)) without rowid;
create index workflow_projection_tag on workflow_projection(name, tag, workflow_type, instance_id);
create table projection_watermarks(
  name text not null, shard integer not null, n integer not null, primary key(name, shard)) without rowid;

create view workflow_state_json as select
  workflow_key, version, epoch, status, terminal,
  case when json_valid(cast(state as text)) then json(cast(state as text)) end as state,
  state_schema as schema_version, held, strftime('%Y-%m-%dT%H:%M:%fZ', updated_us / 1e6, 'unixepoch') as updated_at
  from workflow_state;
create view action_dedup_log as select
  w.workflow_key, lower(hex(l.action_id)) as action_id, lower(hex(l.body_hash)) as body_hash,
  lower(hex(l.state_hash)) as result_hash, l.version, l.n as position,
  strftime('%Y-%m-%dT%H:%M:%fZ', l.issued_us / 1e6, 'unixepoch') as processed_at
  from log l join workflow_state w using (instance);
"""

_CHECKSUM: Final = "add column checksum integer not null default 0;"
UPGRADES: Final = {
    2: f"{_ATTEMPTS} alter table rejections add column trace text not null default '';",
    3: f"alter table log {_CHECKSUM} alter table snapshots {_CHECKSUM} alter table workflow_state {_CHECKSUM}"
    " alter table workflow_state add column cut integer not null default 0;",
    4: DATA_KEYS,
    5: f"alter table workflow_state add column began_us integer not null default 0; {SQLITE_TABLES}",
}
"""What makes schema ``n`` of schema ``n - 1``. A process that only reads leaves a store as it is, and reads either."""

Access = Literal["rw", "ro"]


def connect(path: Path, access: Access, *, synchronous: Literal["full", "off"] = "full") -> sqlite3.Connection:
    """A checked connection to a store that exists. ``path`` is real. Raises DatabaseConnectionError, StateConsistencyError."""
    if not path.exists():
        raise StoreMissing(f"there is no store at {path}; start an engine on it first", path=str(path))
    check_wal_belongs(path)
    try:
        connection = _opened(path, access)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    try:
        _check(connection, path, access)
        _set(connection, "journal_mode", "wal", "wal", write=access == "rw")
        _set(connection, "synchronous", synchronous, {"full": 2, "off": 0}[synchronous])
        _set(connection, "busy_timeout", BUSY_MS, BUSY_MS)
        _set(connection, "cache_size", -CACHE_KIB, -CACHE_KIB)
        _set(connection, "temp_store", "memory", 2)
        if access == "rw":
            _upgrade(connection)
    except sqlite3.Error as error:
        connection.close()
        raise translated(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def is_intact(path: Path, n: int) -> bool:
    """Whether the file, read anew, is undamaged and its log reaches ``n``. Then it was vacuumed, and not cut or replaced."""
    try:
        connection = _opened(path, "ro")
        try:
            (result,) = connection.execute("pragma quick_check(1)").fetchone()
            (last,) = connection.execute("select n from shards where shard = 0").fetchone()
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return bool(result == "ok" and last >= n)


def create(path: Path) -> None:
    """Make an empty store at ``path`` unless a file is there. Of two processes that try at once, one makes it; both go on.

    Raises StoreReplaced when the file of a store was taken away and its WAL was left; StoreMissing, StoreBusy.
    """
    if not path.parent.is_dir():
        raise StoreMissing(f"the folder {path.parent} of the store does not exist; make it first", path=str(path))
    check_mount(path)
    if path.exists():
        return
    with creation_lock(path):
        if not path.exists():
            refuse_left(path)
            _make(path)


def refuse_left(path: Path) -> None:
    """A process that still has the old file open would share these with the new one: both would write into both files."""
    for left in (Path(f"{path}-wal"), Path(f"{path}-shm")):
        if left.exists():
            raise StoreReplaced(
                f"{path} is gone, and its {left.name} is still there: it was moved or removed, perhaps while it was open. "
                f"Put it back; or, for a new store, stop every process on it and move {left.name} away",
                path=str(path),
            )


@contextmanager
def creation_lock(path: Path) -> Iterator[None]:
    """Hold the lock on the folder: one process at a time makes a store there. Files that killed makers left are removed.

    Inside, a file may be renamed to ``path`` when nothing is there. Raises StoreMissing, StoreBusy.
    """
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreMissing(f"no store can be made at {path}: {error}", path=str(path)) from error
    try:
        _lock(folder, path)
        _sweep(path)
        yield
    finally:
        with suppress(OSError):  # unlock first: a child that was forked meanwhile must not keep the lock
            fcntl.flock(folder, fcntl.LOCK_UN)
        os.close(folder)


def _lock(folder: int, path: Path) -> None:
    until_s = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > until_s:
                raise StoreBusy(
                    f"another process holds the lock on the folder {path.parent}; try again", path=str(path)
                ) from error
            time.sleep(0.005)
        except OSError as error:
            raise StoreMissing(f"no store can be made at {path}: {error}", path=str(path)) from error


def _sweep(path: Path) -> None:
    """Remove the files of makers that died. An import takes longer than the lock is held, so its process must be dead."""
    left = re.compile(re.escape(path.name) + r"(?:\.\d+)?\.new(?:-wal|-shm|-journal)?")
    imports = re.compile(re.escape(path.name) + r"\.(\d+)\.import(?:\.new)?(?:-wal|-shm|-journal|-owner)?")
    with suppress(OSError):
        for one in list(path.parent.iterdir()):
            importing = imports.fullmatch(one.name)
            if left.fullmatch(one.name) or (importing is not None and not _lives(int(importing[1]))):
                one.unlink(missing_ok=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _make(path: Path) -> None:
    made = path.with_name(f"{path.name}.new")
    try:
        connection = _opened(made, "rwc")
        try:
            _set(connection, "page_size", PAGE_BYTES, PAGE_BYTES)
            _set(connection, "application_id", APPLICATION_ID, APPLICATION_ID)
            _set(connection, "journal_mode", "wal", "wal")
            connection.executescript(f"begin immediate; {TABLES} {_ATTEMPTS} {DATA_KEYS} {SQLITE_TABLES} commit;")
            connection.execute("begin immediate")
            connection.executemany(
                "insert into meta values(?, ?)", [("schema_version", str(SCHEMA_VERSION)), ("shards", str(SHARDS))]
            )
            connection.executemany("insert into shards values(?, 0, 0, '')", [(shard,) for shard in range(SHARDS)])
            connection.execute("commit")
        finally:
            connection.close()  # the last connection: copies the WAL into the file and removes it
        os.rename(made, path)
        sync_folder(path.parent)
    except sqlite3.Error as error:
        raise translated(error, path) from error
    except OSError as error:
        raise StoreMissing(f"no store can be made at {path}: {error}", path=str(path)) from error
    finally:
        remove(made)


def remove(path: Path) -> None:
    """Remove a store that nobody has open, with the files that SQLite keeps beside it."""
    for suffix in _BESIDE:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


class _Connection(sqlite3.Connection):
    """A forked child keeps it unused for ever: closing it there would checkpoint a WAL that the child does not own."""

    def forget_parent(self) -> None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))


def _opened(path: Path, access: str) -> sqlite3.Connection:
    # Never open the file by other means than SQLite: closing any descriptor of it drops SQLite's own POSIX locks.
    connection = sqlite3.connect(
        f"file:{quote(str(path.absolute()))}?mode={access}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
        timeout=BUSY_MS / 1000,
        factory=_Connection,
    )
    release_in_forked_child(connection)
    return connection


def _set(
    connection: sqlite3.Connection, pragma: str, value: str | int, expected: str | int, *, write: bool = True
) -> None:
    """Set a pragma and read it back, since SQLite ignores silently a pragma that it does not follow."""
    if write:
        connection.execute(f"pragma {pragma} = {value}").fetchall()
    (found,) = connection.execute(f"pragma {pragma}").fetchone()
    if found != expected:
        raise sqlite3.OperationalError(f"pragma {pragma} is {found!r} after it was set to {value!r}")


def _check(connection: sqlite3.Connection, path: Path, access: Access) -> None:
    (application,) = connection.execute("pragma application_id").fetchone()
    if application != APPLICATION_ID:
        raise NotAStore(
            f"{path} is not an ONEX store (application id {application}); name another path", path=str(path)
        )
    found = dict(connection.execute("select name, value from meta").fetchall())
    version = int(found["schema_version"])
    if version > SCHEMA_VERSION:
        raise StoreTooNew(
            f"{path} has schema {version}; this ONEX knows up to {SCHEMA_VERSION}: use the newer one",
            path=str(path),
            found=version,
            known=SCHEMA_VERSION,
        )
    if access == "rw" and BACKUP in found:
        raise StoreIsBackup(
            f"{path} is a backup, and stays as it is: onex restore {path} --store sqlite:///NEW makes a store of it",
            path=str(path),
        )
    if access == "rw" and IMPORTED in found:
        raise StoreIsHistory(
            f"{path} was imported from {found[IMPORTED]}: its actions are history, and no engine continues them. "
            "Read and replay it; run the app on another store",
            path=str(path),
        )


def schema_version(connection: sqlite3.Connection) -> int:
    """The schema that the open store has: ours, or an older one where nobody has written since."""
    (version,) = connection.execute("select value from meta where name = 'schema_version'").fetchone()
    return int(version)


def _upgrade(connection: sqlite3.Connection) -> None:
    """Bring an older store to our schema, all steps in one transaction. Of two processes at once, one does it."""
    if schema_version(connection) == SCHEMA_VERSION:
        return
    connection.execute("begin immediate")
    try:
        for version in range(schema_version(connection) + 1, SCHEMA_VERSION + 1):
            for statement in UPGRADES[version].split(";"):
                connection.execute(statement)
            connection.execute("update meta set value = ? where name = 'schema_version'", (str(version),))
        connection.execute("commit")
    except BaseException:
        connection.execute("rollback")
        raise


def sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
