"""What every store keeps, how much of it and for how long. The suite in ``testing.conformance`` checks each of these.

A rejection may hold anything that a caller sent. It is cut and made plain text before it is stored: a hostile message must
not fail the commit in which its neighbours stand.
"""

from __future__ import annotations

from typing import Final

from ..kernel.data_key import SEALED
from ..ports import Attempt, Rejection
from ..records import REJECTED_BODY_BYTES

REJECTIONS_MAX: Final = 100_000
"""Rows; beyond it the oldest are removed. How long each is kept: ``records.REJECTION_KEPT_US``."""
ATTEMPTS_MAX: Final = 50_000
"""Rows; beyond it the oldest are removed. Of one intent: ``records.ATTEMPTS_KEPT``."""
ANSWER_KEPT_US: Final = 3600 * 1_000_000
"""How long an answered row of the inbox stays, for a sender that asks late."""
JUDGING_BYTES: Final = 65_536
"""The longest record that ``Store.judging`` keeps; a longer one is kept as none."""


def storable_text(text: str) -> str:
    """``text`` with lone surrogates and NUL written as escapes, which any database takes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def storable(rejection: Rejection) -> Rejection:
    """The rejection as it is stored: its texts as plain text, and the first 4096 bytes of the refused body.

    One that is encrypted was cut before it was, and is longer; what only looks so is cut at twice as much.
    """
    most = REJECTED_BODY_BYTES * 2 if rejection.body.startswith(SEALED) else REJECTED_BODY_BYTES
    return rejection._replace(
        key=storable_text(rejection.key),
        message=storable_text(rejection.message),
        body=rejection.body[:most],
        trace=storable_text(rejection.trace),
    )


def storable_attempt(attempt: Attempt) -> Attempt:
    """The attempt as it is stored: its texts as plain text."""
    code, message, trace = map(storable_text, (attempt.code, attempt.message, attempt.trace))
    return attempt._replace(code=code, message=message, trace=trace)
