"""The URL of a PostgreSQL store, as this adapter uses it. It needs no driver."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final, NamedTuple, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from ...kernel.errors import ValidationError

SCHEMES: Final = ("postgres", "postgresql")
SCHEMA: Final = "onex"
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^:\[\]\s]*)(:\d{1,5})?")
SHARDS_MAX: Final = 1024
_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,47}")


class InvalidPostgresUrl(ValidationError):
    """The URL of a PostgreSQL store cannot be read."""

    code = "invalid_postgres_url"


class Address(NamedTuple):
    """``dsn`` is what the driver gets; ``schema`` holds the tables; ``shown`` is the URL without its password.

    ``shards``: how many the store has, or is to get when it is made. None: as it is made, or ``SHARDS_DEFAULT``.
    """

    dsn: str
    schema: str
    shown: str
    shards: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """``postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE[?schema=NAME][&shards=N]``. Other parameters go to the driver.

        Raises InvalidPostgresUrl.
        """
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise InvalidPostgresUrl(f"a postgres:// URL cannot be read: {error}") from None
        user, _, hosts = parts.netloc.rpartition("@")
        named_hosts = all(_HOST.fullmatch(one) for one in hosts.split(","))
        if parts.scheme not in SCHEMES or len(parts.path) < 2 or not named_hosts:
            raise InvalidPostgresUrl("write postgres://USER@HOST:PORT/DATABASE, for example postgres://localhost/shop")
        query = dict(parse_qsl(parts.query))
        schema = query.pop("schema", SCHEMA)
        if _NAME.fullmatch(schema) is None or schema.startswith("pg_"):
            raise InvalidPostgresUrl(
                f"schema={schema!a} is no name for a schema: use up to 48 of a-z, 0-9 and _, not beginning with pg_"
            )
        shards = query.pop("shards", None)
        if shards is not None and not (shards.isdecimal() and 1 <= int(shards) <= SHARDS_MAX):
            raise InvalidPostgresUrl(
                f"shards={shards!a} is no number of shards: use 1 to {SHARDS_MAX}, or leave it out"
            )
        who = f"{user.partition(':')[0]}@" if user else ""
        named = "" if schema == SCHEMA else f"?schema={schema}"
        dsn = urlunsplit(parts._replace(query=urlencode(query)))
        shown = f"{parts.scheme}://{who}{hosts}{parts.path}{named}"
        return cls(dsn, schema, shown, None if shards is None else int(shards))

    @property
    def digest(self) -> str:
        """A name for this store on this machine: of host, port, database and schema, and not of who asks."""
        parts = urlsplit(self.dsn)
        hosts = parts.netloc.rpartition("@")[2].lower().replace(":5432", "")
        names = (hosts, parts.path, self.schema)
        return hashlib.blake2b("\0".join(names).encode(), digest_size=16).hexdigest()

    def lock_key(self, purpose: str) -> int:
        """The key of an advisory lock of this schema: 64 bits with a sign."""
        digest = hashlib.blake2b(f"onex {self.schema} {purpose}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)

    def channel(self, purpose: str) -> str:
        """The name under which this schema's notifications are sent."""
        return f"onex_{self.schema}_{purpose}"


def owner_file(address: Address, who: str = "owner") -> Path:
    """Where the owner, or a worker, on this machine keeps its lock and its judging record. Nothing is made."""
    return Path(tempfile.gettempdir()) / f"onex-{os.getuid()}" / f"{address.digest}-{who}"
