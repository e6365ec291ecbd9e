"""What a cut of a log asks and removes, for every SQL store. A ``?`` is a value; ``numbered`` writes them for PostgreSQL.

Whether a cut may be made is asked in its own transaction, of rows as they are then. So it does not matter how old the plan is, nor
which process owns the shard, nor how many cut at once: the second finds ``cut`` moved.
"""

from __future__ import annotations

from itertools import count
from typing import Final

CUTTABLE: Final = """select w.instance, l.n, w.version, w.state from workflow_state w
  join log l on l.instance = w.instance and l.version = ?
  where w.workflow_type = ? and w.instance_id = ? and w.cut = ? and l.version > w.cut and l.state_hash <> {empty}
  and (l.n & 281474976710655) < (select s.n from shards s where s.shard = l.n >> 48)
  and not exists (select 1 from projection_watermarks p where p.shard = l.n >> 48 and p.n < (l.n & 281474976710655))
  and not exists (select 1 from outbox o where o.instance = w.instance and o.n <= l.n)
  and (w.version = l.version
    or exists (select 1 from snapshots s where s.instance = w.instance and s.version = l.version))"""
"""Of ``to, workflow_type, instance_id, was``: a row, where the log of this instance may be cut behind version ``to``: a batch ends
there and its state is kept, it is not the last row of its shard, every projection has read it, and no intent up to it is open."""
KEEP_CURRENT: Final = """insert into snapshots(instance, version, state_schema, code_id, state_hash, at_us, state, checksum)
  select instance, version, state_schema, code_id, state_hash, ?, state, ? from workflow_state where instance = ?
  and terminal = {no} on conflict do nothing"""
"""Of ``at_us, checksum, instance``: the current state stays as the one that later rows are folded from."""
REMOVE: Final = (
    ("delete from blob_refs where n in (select n from log where instance = ? and version <= ?)", ("instance", "to")),
    ("delete from attempts where instance = ? and n <= ?", ("instance", "n")),
    ("delete from log where instance = ? and version <= ?", ("instance", "to")),
    ("delete from snapshots where instance = ? and version < ?", ("instance", "to")),
    ("update workflow_state set cut = ? where instance = ?", ("to", "instance")),
)
UNNAMED: Final = """select b.digest, b.size from blobs b where b.digest > ? and b.at_us <= ?
  and not exists (select 1 from blob_refs r where r.digest = b.digest) order by b.digest limit ?"""
DROP_BLOB: Final = (
    "delete from blobs where digest = ? and not exists (select 1 from blob_refs r where r.digest = blobs.digest)"
)


def numbered(sql: str) -> str:
    """With ``$1``, ``$2`` and so on in place of each ``?``."""
    places = count(1)
    return "".join(f"${next(places)}" if one == "?" else one for one in sql)
