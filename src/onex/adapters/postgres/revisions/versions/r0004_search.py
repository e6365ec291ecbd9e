"""Revision 0004: search fields, and when an instance began.

``search`` has a row for each instance of a type that lists search fields, with a column per slot; ``search_specs`` says which field
stands in which slot (``kernel/search.py``). Nobody's values are filled in here: the engine that declares a spec does that.
``began_us`` is 0 for instances that were there before. Text compares by bytes, as everywhere.
"""

from __future__ import annotations

from typing import Final

revision: Final = "0004"
down_revision: Final = "0003"

_SLOTS: Final = [f"{letter}{n}" for letter in "nt" for n in range(1, 9)]
_COLUMNS: Final = ", ".join(f"{name} {'bigint' if name[0] == 'n' else 'text'}" for name in _SLOTS).replace(
    " text", ' text collate "C"'
)
_INDEXES: Final = "\n".join(
    f"create index search_{name} on search({name}) where {name} is not null;" for name in _SLOTS
)
UP: Final = f"""
alter table workflow_state add column began_us bigint not null default 0;
create table search_specs(
  id bigint generated always as identity primary key, workflow_type text collate "C" not null, fields text not null,
  filled bigint not null default 0);
create table search(instance bigint primary key, spec bigint not null, {_COLUMNS});
create index search_spec on search(spec);
{_INDEXES}
create view instance_search as select
  w.workflow_key, w.workflow_type, w.instance_id, w.status, w.version, w.terminal as ended, w.held,
  to_timestamp(nullif(w.began_us, 0) / 1e6) as began_at, to_timestamp(w.last_us / 1e6) as updated_at,
  {", ".join(f"s.{name}" for name in _SLOTS)} from workflow_state w left join search s on s.instance = w.instance;
create view search_fields as select
  c.workflow_type, f.value ->> 'name' as field, f.value ->> 'kind' as kind, f.value ->> 'column' as column_name, c.filled
  from search_specs c cross join lateral jsonb_array_elements(c.fields::jsonb) f
  where c.id = (select max(o.id) from search_specs o where o.workflow_type = c.workflow_type);
"""  # noqa: S608 - all of it ours
DOWN: Final = """
drop view search_fields;
drop view instance_search;
drop table search;
drop table search_specs;
alter table workflow_state drop column began_us;
"""


def upgrade() -> None:
    from alembic import op

    for statement in UP.strip().split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    from alembic import op

    for statement in DOWN.strip().split(";\n"):
        op.execute(statement)
