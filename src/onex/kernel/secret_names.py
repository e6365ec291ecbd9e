"""Which fields are secret by their names: a list that fits most apps, and patterns beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Final

from .errors import InvalidPattern

SECRET_NAMES: Final = (
    "*password*", "*passwd*", "*passphrase*", "*secret*", "token", "*_token", "api_key", "*_api_key", "apikey",
    "*access_key*", "*private_key*", "authorization", "*credential*", "cookie", "*_cookie", "cvv", "cvc",
)  # fmt: skip
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Parts = tuple[str, ...]


class SecretNames:
    """Patterns with ``*`` and ``?``; a dotted one must match the end of a field's path. Case, ``-`` and camel case do not count."""

    def __init__(self, patterns: Iterable[str] = SECRET_NAMES) -> None:
        """Raises InvalidPattern."""
        self.patterns = tuple(dict.fromkeys(pattern_parts(pattern) for pattern in patterns))

    def matching(self, path: Parts) -> list[Parts]:
        """The patterns that name the field at this path of names."""
        names = tuple(map(_normal, path))
        return [
            parts
            for parts in self.patterns
            if len(parts) <= len(names) and all(map(fnmatchcase, names[len(names) - len(parts) :], parts))
        ]


def pattern_parts(pattern: str) -> Parts:
    """Raises InvalidPattern."""
    parts = tuple(_normal(part) for part in pattern.split("."))
    if not all(parts) or not pattern.isprintable():
        raise InvalidPattern(f"{pattern!r} names no field; write a name or a path, for example card.number or *_token")
    return parts


@lru_cache(4096)
def _normal(name: str) -> str:
    return _CAMEL.sub("_", name).replace("-", "_").lower()
