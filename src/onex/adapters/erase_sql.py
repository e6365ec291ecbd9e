"""What erasing one instance does to its rows, for every SQL store. A ``?`` is a value (``numbered`` in ``retention_sql``).

The data key goes; then everything that is not under it: reasons, refusals, tries, search fields, answered messages, tags of
projections, and blobs that only this instance names, each with its own key. Encrypted payloads, states and intents stay where they
are, since nobody reads them any more; so order, kinds, times and counts stay too, and so do the checksums of rows.

``{empty}`` is empty bytes, in the words of the database.
"""

from __future__ import annotations

from typing import Final

from ..kernel.search import SLOT_NAMES

_NO_SEARCH: Final = " ".join(
    ("update search set", ", ".join(f"{name} = null" for name in SLOT_NAMES), "where instance = ?")
)
INSTANCE: Final = "select instance from workflow_state where workflow_type = ? and instance_id = ?"
OWN_BLOBS: Final = """select distinct r.digest from blob_refs r join log l on l.n = r.n where l.instance = ?
  and not exists (select 1 from blob_refs o join log m on m.n = o.n where o.digest = r.digest and m.instance <> l.instance)"""
ERASE: Final = (
    ("update data_keys set wrapped = {empty}, master = ?, erased_us = ? where owner = ?", ("by", "at_us", "owner")),
    ("update outbox set state = 'dead', result = {empty}, error = ? where instance = ?", ("why", "instance")),
    ("update workflow_state set held = '', failures = 0 where instance = ?", ("instance",)),
    ("update rejections set message = 'erased', body = {empty}, trace = '' where key = ?", ("owner",)),
    (_NO_SEARCH, ("instance",)),
    ("update attempts set message = '', trace = '' where instance = ?", ("instance",)),
    ("update inbox set body = {empty} where answer is not null", ()),
    (
        "delete from workflow_projection where workflow_type = ? and instance_id = ? and name <> ?",
        ("type", "id", "kept"),
    ),
)
"""In this order, in one transaction. ``kept`` is the projection whose tag is the status."""
DROP_BLOB: Final = (
    ("delete from blob_refs where digest = ?", ("digest",)),
    ("delete from blobs where digest = ?", ("digest",)),
    ("delete from data_keys where owner = ?", ("blob",)),
)
KEPT_PROJECTION: Final = "workflow"
