"""The revisions of the schema, one file each in ``versions``: frozen when they are released, applied in the order of their numbers.

Theory of operation. A revision says what is done in SQL: ``UP`` and ``DOWN``. There is no other description of the tables. A new
store is made by running ``UP`` of all in their order, by the driver, in one transaction (``schema.make``). A store that is there
is moved by Alembic (``upgrade``), which runs the same SQL and is imported then only. Both leave the number of the last revision in
Alembic's own table, so Alembic knows stores that it did not make, and ``open`` compares that number with the newest here.

To change the schema: add ``versions/rNNNN_what.py`` with the next number, and name it in ``REVISIONS``.
"""

from __future__ import annotations

from typing import Final, Protocol

from .versions import r0001_tables, r0002_checksums, r0003_data_keys, r0004_search


class Revision(Protocol):
    """A module of ``versions``."""

    @property
    def revision(self) -> str: ...
    @property
    def down_revision(self) -> str | None: ...
    @property
    def UP(self) -> str: ...  # noqa: N802 - a constant of the module
    @property
    def DOWN(self) -> str: ...  # noqa: N802 - a constant of the module


REVISIONS: Final[tuple[Revision, ...]] = (r0001_tables, r0002_checksums, r0003_data_keys, r0004_search)
NEWEST: Final = len(REVISIONS)
