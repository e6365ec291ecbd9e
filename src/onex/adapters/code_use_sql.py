"""Which code the instances stand on, as SQL of both databases: one aggregate, and one row looked up for each group.

The instance that was changed longest ago is the minimum of a text of two numbers of equal length: its time, then its number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ..code_use import CodeUse
from ..kernel.action import WorkflowKey

_CODE_USES: Final = """with used as (
    select code_id, status, terminal, held <> '' as is_held, count(*) as instances, max(last_us) as last_us,
      min({first}) as first
    from workflow_state where version > 0 group by 1, 2, 3, 4)
  select u.code_id, u.status, u.terminal, u.is_held, u.instances, w.workflow_type, w.instance_id, w.last_us, u.last_us
  from used u join workflow_state w on w.instance = {instance}"""
OF_SQLITE: Final = _CODE_USES.format(
    first="printf('%020d%020d', last_us, instance)", instance="cast(substr(u.first, 21) as integer)"
)
OF_POSTGRES: Final = _CODE_USES.format(
    first="lpad(last_us::text, 20, '0') || lpad(instance::text, 20, '0')", instance="substr(u.first, 21)::bigint"
)


def code_uses_of(rows: Iterable[Any]) -> list[CodeUse]:
    """Rows of a query above as values, in their order."""
    found = [
        CodeUse(code_id, status, bool(terminal), bool(held), count, WorkflowKey(own, instance_id), first_us, last_us)
        for code_id, status, terminal, held, count, own, instance_id, first_us, last_us in rows
    ]
    return sorted(found)
