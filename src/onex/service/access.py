"""Who may ask: roles, and the tokens that name them. Tokens are kept as hashes, in a file of lines.

A line is ``NAME ROLE HASH``, and may end with ``no-payloads``: who has that token sees no payload and no state. ``#`` begins a
comment. The token itself is 32 random bytes, so a plain SHA-256 of it cannot be found by trying.

Without a file everybody is ``local`` and an admin: only a service that listens on the loopback starts so (``service.run``).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Final, NamedTuple

from ..kernel.errors import OnexError, ValidationError

PREFIX: Final = "onex_"
NO_PAYLOADS: Final = "no-payloads"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


class InvalidTokens(ValidationError):
    """The file of tokens cannot be read, or one of its lines is not NAME ROLE HASH."""

    code = "invalid_tokens"


class NotAuthenticated(OnexError):
    """The request has no token, or none that is known here. Send ``Authorization: Bearer TOKEN``."""

    code = "not_authenticated"


class NotAllowed(OnexError):
    """The role of the token may not do this, or the request comes from a page of another origin."""

    code = "not_allowed"


class EnumRole(StrEnum):
    """Each may do all that those before it may. ``anyone`` needs no token."""

    ANYONE = "anyone"
    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def includes(self, other: EnumRole) -> bool:
        order = list(EnumRole)
        return order.index(self) >= order.index(other)


class Principal(NamedTuple):
    """Who asks. ``payloads``: they see payloads and states."""

    name: str
    role: EnumRole
    payloads: bool = True


NOBODY: Final = Principal("", EnumRole.ANYONE, payloads=False)
LOCAL: Final = Principal("local", EnumRole.ADMIN)


class Tokens:
    """The tokens of one file. Empty: nobody needs one."""

    def __init__(self, lines: Iterable[str] = (), source: str = "") -> None:
        """Raises InvalidTokens."""
        self._by_hash: dict[str, Principal] = {}
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            name, role, digest, extra = (*words, "", "", "", "")[:4]
            known = [one.value for one in EnumRole if one is not EnumRole.ANYONE]
            fits = len(words) in (3, 4) and _NAME.fullmatch(name) and role in known and _HASH.fullmatch(digest)
            if not fits or extra not in ("", NO_PAYLOADS):
                raise InvalidTokens(
                    f"{source}:{number} is not NAME ROLE HASH; ROLE is {', '.join(known)}. "
                    "onex token NAME --role ROLE prints a line"
                )
            self._by_hash[digest] = Principal(name, EnumRole(role), payloads=extra != NO_PAYLOADS)

    @classmethod
    def read(cls, path: Path) -> Tokens:
        """Raises InvalidTokens, also for a file without any token: it would let nobody in."""
        try:
            tokens = cls(path.read_text().splitlines(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidTokens(f"the file of tokens {path} cannot be read: {error}") from error
        if not tokens:
            raise InvalidTokens(f"{path} has no token; onex token NAME --role ROLE >> {path} adds one")
        return tokens

    def __bool__(self) -> bool:
        return bool(self._by_hash)

    def who(self, authorization: str) -> Principal:
        """Who sent this header. NOBODY for none; LOCAL where no token is needed. Raises NotAuthenticated for a wrong one."""
        if not self._by_hash:
            return LOCAL
        if not authorization:
            return NOBODY
        scheme, _, token = authorization.partition(" ")
        digest = hash_of(token.strip())
        for known, principal in self._by_hash.items():
            if scheme.lower() == "bearer" and hmac.compare_digest(known, digest):
                return principal
        raise NotAuthenticated("this token is not known here; ask for one, or look at ONEX_TOKENS")


def new_token() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(token: str) -> str:
    return "sha256:" + hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def token_line(name: str, role: EnumRole, token: str, *, payloads: bool) -> str:
    """The line for the file. Raises InvalidTokens for a name or role that no line may have."""
    line = f"{name} {role.value} {hash_of(token)}" + ("" if payloads else f" {NO_PAYLOADS}")
    Tokens([line], "the line")
    return line
