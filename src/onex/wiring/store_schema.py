"""What an administrator does with a store on a server: its schema moves to the newest revision, and roles get their rights."""

from __future__ import annotations

from typing import NamedTuple

from ..adapters.postgres.address import Address
from ..adapters.postgres.revisions import NEWEST
from ..kernel.errors import ValidationError
from .store_access import StoreUrl, needs_driver


class NoServerStore(ValidationError):
    """This is done to a store on a PostgreSQL server only, and the URL names another kind."""

    code = "no_server_store"


class SchemaMove(NamedTuple):
    """The numbers of the schema before and now."""

    before: int
    now: int


def _address(store_url: str) -> Address:
    address = StoreUrl.parse(store_url).address
    if address is None:
        raise NoServerStore(
            f"{store_url} is no store on a server: a file has no roles, and its schema is upgraded when an engine opens it"
        )
    return address


async def upgrade_store(store_url: str) -> SchemaMove:
    """Raises NoServerStore, PostgresMissing, OwnershipLost while an engine runs on it, DatabaseConnectionError."""
    address = _address(store_url)
    with needs_driver():
        from ..adapters.postgres.upgrade import move_schema
    return SchemaMove(await move_schema(address), NEWEST)


def store_roles(store_url: str) -> list[str]:
    """The statements that make the two roles and give them their rights. Raises NoServerStore, PostgresMissing."""
    with needs_driver():
        from ..adapters.postgres.roles import role_statements
    return role_statements(_address(store_url))


async def apply_store_roles(store_url: str) -> None:
    """Run them. Raises what ``store_roles`` raises, and DatabaseConnectionError."""
    from ..adapters.postgres.roles import apply_roles

    await apply_roles(_address(store_url))
