"""Plain JSON: the result of a user's function, copied into a value that may be stored and that nobody changes later."""

from __future__ import annotations

from math import isfinite

from pydantic import JsonValue

from .user_code import a_type

DEPTH = 32
NODES = 1_000_000
INT_MAX = 2**53


class NotPlainJson(Exception):
    """Raised for a value that is not plain JSON. Its text is a sentence that says why and where."""


def plain_json(value: object, *, depth: int = DEPTH, nodes: int = NODES) -> JsonValue:
    """A copy of ``value`` made of plain dicts, lists, numbers and text. Only built-in code runs, whatever its classes are.

    Raises NotPlainJson for another type, a key that is not text, NaN or infinity, an integer beyond +-2^53, NUL or a lone
    surrogate, more than 32 levels, or more than a million values. A value that contains itself is too deep.
    """
    try:
        return _Copy(nodes).of(value, depth, "")
    except NotPlainJson:
        raise
    except TypeError as error:  # its class claims to be a dict, for example, and is not
        raise NotPlainJson(f"it holds {a_type(value)} that is not what it says it is: {error}") from error


class _Copy:
    def __init__(self, nodes: int) -> None:
        self._left = nodes

    def of(self, value: object, depth: int, path: str) -> JsonValue:
        self._left -= 1
        if self._left < 0:
            raise NotPlainJson(f"it holds more than {NODES:,} values")
        if value is None or value is True or value is False:
            return value
        if isinstance(value, str):
            return self._text(str.__str__(value), path)
        if isinstance(value, int):
            number = int.__pos__(value)
            if abs(number) > INT_MAX:
                raise NotPlainJson(f"{_at(path)} is an integer beyond +-2^53")
            return number
        if isinstance(value, float):
            real = float.__pos__(value)
            if not isfinite(real):
                raise NotPlainJson(f"{_at(path)} is {real}, which JSON does not have")
            return real
        if isinstance(value, dict):
            self._deeper(depth)
            made: dict[str, JsonValue] = {}
            for key, part in dict.items(value):
                if not isinstance(key, str):
                    raise NotPlainJson(f"{_at(path)} has a key that is {a_type(key)}; keys are text")
                name = self._text(str.__str__(key), path)
                made[name] = self.of(part, depth - 1, f"{path}.{name[:40]}")
            return made
        if isinstance(value, list):
            self._deeper(depth)
            return [self.of(part, depth - 1, f"{path}[{n}]") for n, part in enumerate(list.__iter__(value))]
        if isinstance(value, tuple):
            self._deeper(depth)
            return [self.of(part, depth - 1, f"{path}[{n}]") for n, part in enumerate(tuple.__iter__(value))]
        raise NotPlainJson(f"{_at(path)} is {a_type(value)}, which JSON does not have")

    def _deeper(self, depth: int) -> None:
        if depth <= 0:
            raise NotPlainJson(f"it is nested deeper than {DEPTH}")

    def _text(self, text: str, path: str) -> str:
        if "\x00" in text or not _is_unicode(text):
            raise NotPlainJson(f"{_at(path)} holds NUL or a lone surrogate")
        return text


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _at(path: str) -> str:
    shown = path.removeprefix(".").encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    return shown[:200] or "it"
