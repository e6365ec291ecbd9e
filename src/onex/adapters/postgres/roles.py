"""Two roles of the server: one for engines, workers and clients, and one for applications that look in. Neither is a superuser.

``onex_engine`` reads and writes the tables, and may not change them. ``onex_app`` reads the views and nothing else: a view is run
with the rights of who made it, so the tables behind it stay closed. Who runs these statements owns the tables, and upgrades them.
They may be run again, and are after an upgrade. Users get a role with ``grant onex_engine to NAME``.
"""

from __future__ import annotations

from typing import Final

from .address import Address
from .link import Link

ENGINE: Final = "onex_engine"
APP: Final = "onex_app"
VIEWS: Final = (
    "workflow_state_json",
    "workflow_projection_json",
    "action_dedup_log",
    "instance_search",
    "search_fields",
)
_RIGHTS: Final = "select, insert, update, delete"


def role_statements(address: Address) -> list[str]:
    """The statements for one store. The roles are of the whole server, and may be there from another store."""
    schema = f'"{address.schema}"'
    views = ", ".join(f"{schema}.{view}" for view in VIEWS)
    made = (
        f"do $$ begin create role {role} nologin; exception when duplicate_object then null; end $$"
        for role in (ENGINE, APP)
    )
    return [
        *made,
        f"grant usage on schema {schema} to {ENGINE}, {APP}",
        f"revoke all on all tables in schema {schema} from {ENGINE}, {APP}",
        f"grant {_RIGHTS} on all tables in schema {schema} to {ENGINE}",
        f"alter default privileges in schema {schema} grant {_RIGHTS} on tables to {ENGINE}",
        f"grant select on {views} to {APP}",
    ]


async def apply_roles(address: Address) -> None:
    """Run them in one transaction, as the user of the URL, who must own the tables and may create roles."""
    link = Link(address)
    try:
        await link.use(lambda connection: connection.execute(";\n".join(role_statements(address))))
    finally:
        await link.close()
