"""What must hold in every SQL store, asked of all rows of a table at once: the references between rows, and how they are asked.

A condition that is not true of a row is damage, also when it is null. The aliases are those of the stores' ``from`` parts: ``l``
a row of the log, ``p`` the one before it, ``w`` its instance, ``t`` an instance's last row, ``o`` the outbox, ``s`` a snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

MOST: Final = 100
"""Rows that one check reports."""

LOG_REFERENCES: Final = (
    ("w.instance is not null", "belongs to an instance that is not there"),
    (
        "w.workflow_type = (select c.workflow_type from codes c where c.id = l.code_id)",
        "was made by code that is not listed, or is of another workflow",
    ),
    ("l.env_id in (select id from envs)", "was made under an environment that is not listed"),
    ("l.version > w.cut", "has a version that was moved to an archive"),
    (
        "case when l.version = w.cut + 1 then l.prev < l.n"
        " else p.instance = l.instance and p.version = l.version - 1 and p.n < l.n end",
        "does not follow the row of its instance that it names",
    ),
)
STATE_REFERENCES: Final = (
    ("w.code_id in (select id from codes)", "was made by code that is not listed"),
    ("w.cut between 0 and w.version", "says that more of its log was cut than it has versions"),
    (
        "w.version = w.cut or (t.instance = w.instance and t.version = w.version)",
        "names a last row of another instance or version",
    ),
    (
        "w.version - w.cut = (select count(*) from log q where q.instance = w.instance)",
        "has more or fewer rows in the log than versions",
    ),
)
OUTBOX_REFERENCES: Final = (
    ("l.n is not null", "names a row of the log that is not there"),
    ("l.instance = o.instance", "is of another instance than the row of the log that it names"),
    (
        "o.timer = '' or o.state <> 'waiting' or not exists (select 1 from outbox q where q.instance = o.instance"
        " and q.timer = o.timer and q.state = 'waiting' and q.n <> o.n)",
        "is one of two timers of that name",
    ),
)
ATTEMPT_REFERENCES: Final = (("l.instance = a.instance", "is of an intent whose row of the log is not there"),)
REF_REFERENCES: Final = (
    (
        "l.n is not null or exists (select 1 from workflow_state q where q.position = r.n)",
        "is of a row of the log that is not there",
    ),
)
NO_SUCH_INTENT: Final = "names an intent that its row of the log does not have"
OTHER_DUE_TIME: Final = "is due at another time than its row of the log says"
SNAPSHOT_REFERENCES: Final = (
    ("w.instance is not null and s.version <= w.version", "is of an instance, or a version, that is not there"),
    ("s.version >= w.cut", "is of a version that was moved to an archive"),
)


class RowCheck(NamedTuple):
    """``row`` is SQL that names a row, ``source`` a ``from ...``. ``wanted``: conditions, each with what is told where it fails."""

    row: str
    wanted: Sequence[tuple[str, str]]
    source: str

    def question(self, key: str) -> str:
        """The statement that finds rows against which something speaks: ``key``, the row's name, the number of the condition."""
        why = " ".join(f"when ({holds}) is not true then {number}" for number, (holds, _) in enumerate(self.wanted))
        return (
            f"select * from (select {key}, {self.row} as what, case {why} else -1 end as why {self.source}) found"  # noqa: S608 - all of it ours
            f" where why >= 0 limit {MOST}"
        )

    def told(self, row: str, number: int) -> str:
        return f"{row} {self.wanted[number][1]}"


TWO_KINDS: Final = """select c.workflow_type, w.status, min(c.contract_version) from workflow_state w
  join codes c on c.id = w.code_id where w.version > 0 group by w.code_id, c.workflow_type, w.status
  having count(distinct w.terminal) > 1 limit 20"""
"""Statuses that end some instances and not others, under the same code."""
WATERMARKS: Final = (
    "select p.name, p.shard, p.n, s.n from projection_watermarks p join shards s using (shard) where p.n > s.n"
)


def log_end_damage(shard: int, last: int, drawn: int | None, rows: int, cut: int) -> str:
    """'' when the log of a shard ends where its positions end, and each position has its row here or in an archive."""
    if last != drawn:
        return f"the log of shard {shard} ends at {last}, and {drawn} positions were given"
    if rows + cut != drawn:
        return (
            f"the log of shard {shard} has {rows} rows, {cut} were moved to archives, and {drawn} positions were given"
        )
    return ""


def two_kinds(workflow_type: str, status: str, version: str) -> str:
    return f"{workflow_type} {version} ends some instances in status {status!r} and not others"


def ahead(name: str, shard: int, n: int, end: int) -> str:
    return f"projection {name!r} has read shard {shard} up to {n}, and its positions end at {end}"
