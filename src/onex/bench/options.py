"""Options: how much to measure, and where. Set with ``-o NAME=VALUE``; each bench uses those it needs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from ..kernel.errors import ValidationError
from ..settings import read_settings
from ..wiring.store_access import StoreUrl

_NO = ("", "0", "false", "no")


class InvalidOption(ValidationError):
    """An option that no bench has, or a value that it cannot have."""

    code = "invalid_option"


@dataclass(frozen=True, slots=True)
class Options:
    """All options; the defaults are those of the published measurements. ``quick`` only shows that a bench runs.

    ``store_url``: the server to measure; each bench makes schemas of its own there, and drops them. ``seconds``: length of one
    slice of a pair. ``pairs``: how many pairs of slices. ``window``: actions that one client has in flight. ``actions``: how many
    in benches that count actions. Stores in files are made under ``directory`` and removed; it should be on the disk to measure,
    not in memory.
    """

    store: str = "sqlite"
    store_url: str = ""
    directory: str = "."
    quick: bool = False
    seconds: float = 1.5
    pairs: int = 9
    clients: int = 0
    keys: int = 1000
    window: int = 32
    actions: int = 0
    rate: float = 1000

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Self:
        """Raises InvalidOption, which names the options."""
        known = {field.name: field.type for field in fields(cls)}
        values: dict[str, str | bool | int | float] = {}
        for name, text in given.items():
            if name not in known:
                raise InvalidOption(f"no bench has an option {name!r}; there are {', '.join(known)}")
            values[name] = _value(name, str(known[name]), text)
        store = values.get("store", "sqlite")
        if store not in ("sqlite", "postgres", "memory"):
            raise InvalidOption(f"store={store!r} cannot be measured; choose sqlite, postgres or memory")
        if store == "postgres":
            values["store_url"] = _server(str(values.get("store_url", "")))
        quick = {"seconds": 0.05, "pairs": 1, "keys": 20, "window": 4} if values.get("quick") else {}
        return cls(**{**quick, **values})  # type: ignore[arg-type]  # each value was read as its field's type

    @property
    def opens(self) -> str:
        """What ``load.opened`` opens: ``sqlite``, ``memory``, or the URL of a server."""
        return self.store_url if self.store == "postgres" else self.store

    def count(self, full: int, quick: int) -> int:
        """``actions`` if given, else the bench's own number."""
        return self.actions or (quick if self.quick else full)

    @contextmanager
    def place(self) -> Iterator[Path]:
        """A temporary folder for the stores of this run."""
        folder = Path(tempfile.mkdtemp(prefix=".onex-bench-", dir=self.directory))
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def _server(url: str) -> str:
    """Raises InvalidOption when there is none, InvalidPostgresUrl."""
    url = url or read_settings().store_url
    if StoreUrl.parse(url).address is None:
        raise InvalidOption(
            "store=postgres needs the URL of a server: --store-url postgres://USER@HOST/DATABASE, or ONEX_STORE. "
            "To start one here: initdb -D pg -U postgres --auth=trust && pg_ctl -D pg -l pg.log start"
        )
    return url


def _value(name: str, kind: str, text: str) -> str | bool | int | float:
    if kind == "str":
        return text
    if kind == "bool":
        return text.lower() not in _NO
    try:
        value = int(text) if kind == "int" else float(text)
    except ValueError:
        raise InvalidOption(f"{name}={text!r} is not a number") from None
    if value <= 0:
        raise InvalidOption(f"{name}={text!r} must be more than 0")
    return value
