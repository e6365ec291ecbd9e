"""Blob: a reference to large bytes. State, log and ``delta`` hold the reference; only effects and compute read the bytes."""

from __future__ import annotations

from pydantic import Field

from .action import Payload


class Blob(Payload):
    """``digest`` is BLAKE3 of the bytes, 64 hex digits; ``size`` in bytes. Equal bytes are one blob."""

    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    media_type: str = "application/octet-stream"
