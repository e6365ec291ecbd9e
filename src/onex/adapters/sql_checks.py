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
    ("l.code_id in (select id from codes)", "was made by code that is not listed"),
    ("l.env_id in (select id from envs)", "was made under an environment that is not listed"),
    (
        "case when l.prev = 0 then l.version = 1 or not exists"
        " (select 1 from log q where q.instance = l.instance and q.version = l.version - 1)"
        " else p.instance = l.instance and p.version = l.version - 1 and p.n < l.n end",
        "does not follow the row of its instance that it names",
    ),
)
STATE_REFERENCES: Final = (
    ("w.code_id in (select id from codes)", "was made by code that is not listed"),
    ("w.version = 0 or (t.instance = w.instance and t.version = w.version)", "names a last row of another instance or version"),
)  # fmt: skip
OUTBOX_REFERENCES: Final = (
    ("l.n is not null", "names a row of the log that is not there"),
    ("l.instance = o.instance", "is of another instance than the row of the log that it names"),
)
NO_SUCH_INTENT: Final = "names an intent that its row of the log does not have"
SNAPSHOT_REFERENCES: Final = (
    ("w.instance is not null and s.version <= w.version", "is of an instance, or a version, that is not there"),
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


def log_end_damage(shard: int, last: int, drawn: int | None) -> str:
    """'' when the log of a shard ends where its positions end."""
    if last == drawn:
        return ""
    return f"the log of shard {shard} ends at {last}, and {drawn} positions were given"
