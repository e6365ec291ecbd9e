"""Revision 0003: the wrapped data keys of a store that is encrypted, one row for each owner (``codec``).

``wrapped`` is empty and ``erased_us`` is set where the key was destroyed. A row that is changed leaves its old version in the table
until it is vacuumed, and in the write-ahead log as long as that is kept: docs/guides/encrypting-and-erasing.md says what follows.
"""

from __future__ import annotations

from typing import Final

revision: Final = "0003"
down_revision: Final = "0002"

UP: Final = """
create table data_keys(
  id bigint generated always as identity primary key, owner text collate "C" not null unique, master text not null,
  wrapped bytea not null, plain_until bigint not null, erased_us bigint not null);
"""
DOWN: Final = """
drop table data_keys;
"""


def upgrade() -> None:
    from alembic import op

    for statement in UP.strip().split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    from alembic import op

    for statement in DOWN.strip().split(";\n"):
        op.execute(statement)
