"""Values of secret fields as ``***``, for what is shown on a screen."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from pydantic import JsonValue

from ..kernel.secret_names import SECRET_NAMES, SecretNames
from ..kernel.user_trace import HIDDEN


class HiddenFields:
    """Fields are secret by their names (``SECRET_NAMES``), and where ``marked`` names them."""

    def __init__(self, marked: Iterable[str] = ()) -> None:
        self._names = SecretNames((*SECRET_NAMES, *marked))
        self._is_secret = lru_cache(4096)(self._matches)

    def hide(self, value: JsonValue, path: tuple[str, ...] = ()) -> JsonValue:
        """A copy in which each text and number below a secret name is ``***``. What has no value stays: null, true, false, ''."""
        if isinstance(value, dict):
            return {
                name: hidden(part) if self._is_secret((*path, name)) else self.hide(part, (*path, name))
                for name, part in value.items()
            }
        if isinstance(value, list):
            return [self.hide(part, path) for part in value]
        return value

    def hide_intents(self, intents: JsonValue) -> JsonValue:
        """Those of one log row."""
        return self.hide(intents)

    def hides(self, path: str) -> bool:
        """Whether the value at ``path`` (``items[0].card``) is secret, by its name or by that of something around it."""
        names = tuple(part for part in re.split(r"[.\[\]]+", path) if part and not part.isdecimal())
        return any(self._is_secret(names[: n + 1]) for n in range(len(names)))

    def _matches(self, path: tuple[str, ...]) -> bool:
        return bool(self._names.matching(path))


class AllHidden(HiddenFields):
    """For those who may see no payload: the shape and the names of intents stay, and every value is ``***``."""

    def hide(self, value: JsonValue, path: tuple[str, ...] = ()) -> JsonValue:
        if isinstance(value, dict):
            return {name: self.hide(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.hide(part) for part in value]
        return None if value is None else HIDDEN

    def hide_intents(self, intents: JsonValue) -> JsonValue:
        if not isinstance(intents, list):
            return self.hide(intents)
        return [
            {**one, "payload": self.hide(one.get("payload"))} if isinstance(one, dict) else HIDDEN for one in intents
        ]


def hidden(value: JsonValue) -> JsonValue:
    """``value`` with ``***`` for every text and number in it."""
    if isinstance(value, dict):
        return {name: hidden(part) for name, part in value.items()}
    if isinstance(value, list):
        return [hidden(part) for part in value]
    return value if value is None or isinstance(value, bool) or value == "" else HIDDEN
