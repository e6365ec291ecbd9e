"""What a store keeps of a refusal: text that any database takes, and no more of the body than a reader needs."""

from __future__ import annotations

from typing import Final

from ..ports import REJECTION_KEPT_US, Rejection

BODY_BYTES: Final = 4096
ROWS: Final = 100_000
KEPT_US: Final = REJECTION_KEPT_US
ANSWER_KEPT_US: Final = 3600 * 1_000_000


def storable_text(text: str) -> str:
    """``text`` with lone surrogates and NUL spelled out: a hostile message must not fail its neighbours' commit."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def storable(rejection: Rejection) -> Rejection:
    return rejection._replace(
        key=storable_text(rejection.key),
        message=storable_text(rejection.message),
        body=rejection.body[:BODY_BYTES],
    )
