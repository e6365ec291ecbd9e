"""Revision 0002: a checksum beside each row of the log, each state and each kept state, and where an instance's log was cut.

A checksum of 0 is none: the row was written before this revision, or by hand (``adapters/row_checksum.py``). ``cut`` is the last
version whose log row compaction moved to an archive; 0 for none. Both are added with a constant default, which PostgreSQL
keeps beside the table: no row is written.
"""

from __future__ import annotations

from typing import Final

revision: Final = "0002"
down_revision: Final = "0001"

UP: Final = """
alter table log add column checksum bigint not null default 0;
alter table snapshots add column checksum bigint not null default 0;
alter table workflow_state add column checksum bigint not null default 0;
alter table workflow_state add column cut bigint not null default 0;
"""
DOWN: Final = """
alter table workflow_state drop column cut;
alter table workflow_state drop column checksum;
alter table snapshots drop column checksum;
alter table log drop column checksum;
"""


def upgrade() -> None:
    from alembic import op

    for statement in UP.strip().split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    from alembic import op

    for statement in DOWN.strip().split(";\n"):
        op.execute(statement)
