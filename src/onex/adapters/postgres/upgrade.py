"""Moving the schema of a store that is there, by Alembic: to the newest revision, or to another one. Only ``onex store`` does it.

All of it is one transaction of the server, which changes tables in transactions: it is done whole or not at all. It begins by
taking the locks of the schema and of the owner, so no process makes the store, owns it or shares it meanwhile. Alembic speaks to
the server by SQLAlchemy, over a connection of the same driver and address as everything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from ...kernel.errors import OwnershipLost
from .address import Address
from .errors import DRIVER_ERRORS, translated
from .link import CONNECT_S
from .revisions import NEWEST

_FOLDER: Final = Path(__file__).with_name("revisions")


async def move_schema(address: Address, to: int = NEWEST) -> int:
    """Make revision ``to`` the store's; 0 removes its tables with all that is in them. The number that it had before.

    Raises OwnershipLost while an engine runs on it, and what opening a store raises.
    """
    engine = create_async_engine(
        "postgresql+asyncpg://",
        poolclass=NullPool,
        async_creator=lambda: asyncpg.connect(
            address.dsn, timeout=CONNECT_S,
            server_settings={"search_path": address.schema, "application_name": "onex", "lock_timeout": "30s"},
        ),
    )  # fmt: skip
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(lambda opened: _move(opened, address, to))
    except DBAPIError as error:
        cause = error.orig.__cause__ if error.orig is not None else None
        raise translated(cause if isinstance(cause, Exception) else error, address.shown) from error
    except DRIVER_ERRORS as error:
        raise translated(error, address.shown) from error
    finally:
        await engine.dispose()


def _move(connection: Connection, address: Address, to: int) -> int:
    free = connection.scalar(text("select pg_try_advisory_xact_lock(:key)"), {"key": address.lock_key("owner")})
    if not free:
        raise OwnershipLost(f"an engine or a worker runs on {address.shown}: stop it, then upgrade the store")
    connection.execute(text("select pg_advisory_xact_lock(:key)"), {"key": address.lock_key("schema")})
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.set_main_option("version_locations", str(_FOLDER / "versions").replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    found = int(connection.scalar(text("select version_num from alembic_version")) or 0)
    target = f"{to:04}" if to else "base"
    (command.upgrade if found <= to else command.downgrade)(config, target)
    return found
