"""Settings: what the environment says, read once, typed and with units. A value that cannot be meant is an error.

A name stands here when something obeys it; an argument of a call or command wins over it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from .kernel.errors import ValidationError

STORE_URL = "sqlite:///.onex/store.db"
_YES = ("1", "true", "yes", "on")
_NO = ("", "0", "false", "no", "off")


class InvalidSetting(ValidationError):
    """An environment variable of ours holds what it cannot mean."""

    code = "invalid_setting"


@dataclass(frozen=True, slots=True)
class Settings:
    """``ONEX_STORE``, ``ONEX_WORKERS`` (processes for compute; None: one per CPU), ``ONEX_DEBUG`` (tracebacks).

    ``ONEX_STEP_BUDGET_MS``: a step that runs longer is ended and refused; default 2,000.
    """

    store_url: str = STORE_URL
    workers: int | None = None
    debug: bool = False
    step_budget_s: float = 2.0


def read_settings(environ: Mapping[str, str] = os.environ) -> Settings:
    """An empty variable is one that is not set. Raises InvalidSetting, naming variable and value."""
    return Settings(
        store_url=environ.get("ONEX_STORE") or STORE_URL,
        workers=_count(environ, "ONEX_WORKERS"),
        debug=_switch(environ, "ONEX_DEBUG"),
        step_budget_s=(_count(environ, "ONEX_STEP_BUDGET_MS", 3_600_000) or 2000) / 1000,
    )


def _count(environ: Mapping[str, str], name: str, most: int = 1024) -> int | None:
    text = environ.get(name, "").strip()
    if not text:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= most:
        raise InvalidSetting(f"{name}={text!r} is not a number from 1 to {most}; mend or unset it", setting=name)
    return int(text)


def _switch(environ: Mapping[str, str], name: str) -> bool:
    text = environ.get(name, "").strip().lower()
    if text not in (*_YES, *_NO):
        raise InvalidSetting(f"{name}={text!r} is neither 1 nor 0; mend or unset it", setting=name)
    return text in _YES
