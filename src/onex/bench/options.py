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

_NO = ("", "0", "false", "no")


class InvalidOption(ValidationError):
    """An option that no bench has, or a value that it cannot have."""

    code = "invalid_option"


@dataclass(frozen=True, slots=True)
class Options:
    """All options; the defaults are those of the published measurements. ``quick`` only shows that a bench runs.

    ``seconds``: length of one slice of a pair. ``pairs``: how many pairs of slices. ``window``: actions that one client has
    in flight. ``actions``: how many in benches that count actions. ``rate``: actions a second in ``soak``. Stores
    are made under ``directory`` and removed; it should be on the disk to measure, not in memory.
    """

    store: str = "sqlite"
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
        if values.get("store", "sqlite") not in ("sqlite", "memory"):
            raise InvalidOption(f"store={values['store']!r} cannot be measured; choose sqlite or memory")
        quick = {"seconds": 0.05, "pairs": 1, "keys": 20, "window": 4} if values.get("quick") else {}
        return cls(**{**quick, **values})  # type: ignore[arg-type]  # each value was read as its field's type

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
