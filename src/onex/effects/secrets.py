"""SettingValues: the values behind the settings of a contract, read at each call, and kept out of every text.

Each value that does not stand in the contract itself is remembered, and ``masked`` replaces it by ``***``, also where it is
percent-encoded. So an error of a library, or an answer of a server that repeats what it got, gives no secret away. Values shorter
than four characters are not replaced: they would be found everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from ..contracts.model.setting import ModelSetting
from ..kernel.errors import EffectFailed
from ..kernel.secret import secret_texts
from ..kernel.user_code import caught

MASK = "***"
MASKED_FROM = 4
REMEMBERED = 1000
"""More values than that are forgotten, the oldest first: secrets that change are few."""


class Secrets(Protocol):
    """A port: where secrets are kept, for ``{secret: NAME}`` of a contract. Asked at each call, so a secret may change."""

    async def secret(self, name: str) -> str:
        """The value. Raises anything when there is none: the call then fails, not done, and may be tried again."""


class SettingValues:
    """Of one engine. ``secrets`` is what the program gave; ``environment`` is asked at each call."""

    def __init__(self, secrets: Secrets | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._secrets = secrets
        self._environment = os.environ if environment is None else environment
        self._hidden: dict[str, None] = {}

    async def text(self, setting: ModelSetting, *, what: str) -> str:
        """The value. ``what`` names it in errors: ``base_url of 'bank'``. Raises EffectFailed, code ``setting_missing``."""
        if setting.text is not None:
            return setting.prefix + setting.text
        value = await self._value(setting, what)
        self.hide(value)
        return setting.prefix + value

    async def url(self, setting: ModelSetting, *, what: str) -> str:
        """The same for an address: its host may be shown, and what follows the host may not, where a contract does not show it."""
        if setting.text is not None:
            return setting.text
        value = await self._value(setting, what)
        parts = urlsplit(value)
        for part in (parts.path.strip("/"), parts.query):
            self.hide(part)
        return setting.prefix + value

    async def optional(self, setting: ModelSetting | None, *, what: str) -> str | None:
        return None if setting is None else await self.text(setting, what=what)

    def hide(self, value: str) -> None:
        """From now on ``masked`` replaces ``value``."""
        if len(value) < MASKED_FROM or value in self._hidden:
            return
        for form in (value, quote(value, safe="")):
            self._hidden[form] = None
        while len(self._hidden) > REMEMBERED:
            del self._hidden[next(iter(self._hidden))]

    def masked(self, text: str, payload: BaseModel | None = None) -> str:
        """``text`` without any value that was read, and without those of the fields of ``payload`` that are marked Secret."""
        for value in sorted((*self._hidden, *secret_texts(payload)), key=len, reverse=True):
            if len(value) >= MASKED_FROM and value in text:
                text = text.replace(value, MASK)
        return text

    async def _value(self, setting: ModelSetting, what: str) -> str:
        if setting.env is not None:
            found = self._environment.get(setting.env)
            if not found:
                raise _missing(f"the environment variable {setting.env} is not set", what, f"set {setting.env}")
            return found
        if setting.file is not None:
            return _content(setting.file, what)
        name = setting.secret or ""
        if self._secrets is None:
            raise _missing(f"the program gave no secrets for {name!r}", what, "open the engine with secrets=")
        try:
            value: object = await self._secrets.secret(name)
        except BaseException as error:
            reason = caught(error)
            raise _missing(
                f"the secret {name!r} cannot be had: {reason}", what, "look there", retryable=True
            ) from error
        if not isinstance(value, str) or not value:
            raise _missing(f"the secret {name!r} is empty or no text", what, "store it again")
        return value


def _content(path: str, what: str) -> str:
    try:
        text = Path(path).read_text().rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise _missing(f"the file {path} cannot be read: {reason}", what, "write the value into it") from error
    if not text:
        raise _missing(f"the file {path} is empty", what, "write the value into it")
    return text


def _missing(why: str, what: str, fix: str, *, retryable: bool = False) -> EffectFailed:
    return EffectFailed(f"{what}: {why}; {fix}", retryable=retryable, code="setting_missing")
