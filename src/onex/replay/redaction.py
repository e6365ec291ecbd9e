"""Redaction: a secret value leaves as another of its type and length, so that the run still folds and reveals nothing.

The replacement is keyed: equal values become equal ones within one file, and without the key nobody can find a value by
trying. Hashes that cover a changed value are replaced in the same way, since the hash of a short secret gives it away.
Only the bytes of the values are replaced; everything around them stays, byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from hashlib import blake2b
from json.decoder import scanstring  # type: ignore[attr-defined]  # the stubs leave it out; it reads one string and says where it ends
from string import ascii_lowercase, ascii_uppercase, digits

import orjson

from ..kernel.errors import StateConsistencyError
from ..kernel.secret_names import SecretNames, pattern_parts
from ..ports import LogEntry

_PIECE = re.compile(r"[^*?\[\]!_\-]+")
_SPACE = re.compile(r"[ \t\r\n]*")
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_SHAPE = frozenset("-_.:@/+ ")  # what makes an address or a date look like one
_DEPTH = 200

Spot = tuple[str, int, int]


class Redaction:
    """Which fields are secret, and what replaces their values.

    ``patterns`` are names with ``*`` and ``?``; a dotted one must match the end of a field's path. Case, ``-`` and camel
    case do not count. ``key``: 16 bytes or more, forgotten afterwards.
    """

    def __init__(self, patterns: Iterable[str], key: bytes) -> None:
        """Raises InvalidPattern."""
        self._names = SecretNames(patterns)
        self._key = key
        pieces = [max(_PIECE.findall(parts[-1]), key=len, default="") for parts in self._names.patterns]
        # most records hold no secret: one search over the text shows it, unless a pattern is nothing but wildcards
        self._hint = re.compile("|".join(map(re.escape, pieces)) if all(pieces) else "", re.IGNORECASE)
        self._met: set[tuple[str, ...]] = set()
        self._matches = lru_cache(4096)(self._match)
        self._replaced = lru_cache(4096)(self._replace)

    def met(self, pattern: str) -> bool:
        """Whether any field so far was named by it."""
        return pattern_parts(pattern) in self._met

    def payload(self, data: bytes, where: str, already: Collection[str] = ()) -> tuple[bytes, tuple[str, ...]]:
        """``data`` with its secrets replaced, and their paths, each under ``where``. Those in ``already`` are left alone.

        Raises StateConsistencyError for bytes that are no JSON: what is secret in them cannot be found.
        """
        if not self._names.patterns or not data:
            return data, ()
        text = data.decode(errors="surrogateescape")
        if self._hint.search(text) is None:
            return data, ()
        spots: list[Spot] = []
        try:
            self._walk(text, _SPACE.match(text, 0).end(), (where,), False, spots)  # type: ignore[union-attr]  # matches nothing too
        except (ValueError, IndexError, RecursionError) as error:
            raise StateConsistencyError(
                f"the stored {where} is no JSON ({error}), so no secret can be found in it; --no-redact exports it as it is"
            ) from error
        return self._with_replacements(text, spots, already)

    def _with_replacements(
        self, text: str, spots: list[Spot], already: Collection[str]
    ) -> tuple[bytes, tuple[str, ...]]:
        made, end, paths = [], 0, dict[str, None]()
        for path, start, stop in spots:
            if path in already:
                continue
            value = text[start:stop]
            other = self._replaced(value)
            if other == value and value in ('""', "true", "false", "null"):
                continue
            made += [text[end:start], other]
            end = stop
            paths[path] = None
        made.append(text[end:])
        return "".join(made).encode(errors="surrogateescape"), tuple(paths)

    def row(self, entry: LogEntry, already: Collection[str] = ()) -> tuple[LogEntry, tuple[str, ...]]:
        """The row with the secrets of its payload and intents replaced, and its body's hash too when that covers one."""
        row = entry.row
        payload, paths = self.payload(row.payload, "payload", already)
        intents, others = self._intents(row.intents, already)
        if not (paths or others):
            return entry, ()
        body_hash = self.hash(row.body_hash) if paths else row.body_hash
        return entry._replace(row=row._replace(payload=payload, intents=intents, body_hash=body_hash)), (
            *paths,
            *others,
        )

    def _intents(self, data: bytes, already: Collection[str]) -> tuple[bytes, tuple[str, ...]]:
        """Below ``intents`` stand the payloads' own paths: ``intents.payload.card``."""
        return self.payload(data, "intents", already)

    def hash(self, digest: bytes) -> bytes:
        """Another of its length, the same for the same; an empty one stays."""
        return blake2b(digest, key=self._key[:64], digest_size=len(digest)).digest() if digest else digest

    # --- where the values stand -----------------------------------------------------------------------------------------

    def _walk(self, text: str, at: int, path: tuple[str, ...], inside: bool, spots: list[Spot]) -> int:
        """Gathers the places of secret values; returns where the value that begins at ``at`` has ended."""
        if len(path) > _DEPTH:
            raise ValueError("it is too deep")
        first = text[at]
        if first == "{":
            at = _skip(text, at + 1)
            while text[at] != "}":
                name, at = scanstring(text, at + 1, True)
                at = _skip(text, _skip(text, at) + 1)  # over the colon
                here = (*path, name)
                at = _skip(text, self._walk(text, at, here, self._matches(here) or inside, spots))
                at = _skip(text, at + 1) if text[at] == "," else at
            return at + 1
        if first == "[":
            at = _skip(text, at + 1)
            while text[at] != "]":
                at = _skip(text, self._walk(text, at, path, inside, spots))
                at = _skip(text, at + 1) if text[at] == "," else at
            return at + 1
        if first == '"':
            end = scanstring(text, at + 1, True)[1]
        elif (found := _PLAIN.match(text, at)) is not None:
            end = found.end()
        else:
            raise ValueError(f"character {at} begins no value")
        if inside:
            spots.append((".".join(path), at, end))
        return int(end)

    def _match(self, path: tuple[str, ...]) -> bool:
        met = self._names.matching(path[1:])
        self._met.update(met)
        return bool(met)

    # --- what stands there instead ----------------------------------------------------------------------------------------

    def _replace(self, value: str) -> str:
        """A JSON scalar of the same type. ``true``, ``false``, ``null`` stay: nothing else of their type hides them."""
        if value[0] == '"':
            plain: str = orjson.loads(value)
            stream = self._stream(plain, len(plain))
            return orjson.dumps("".join(map(_letter, plain, stream))).decode()
        if value[0] not in "-0123456789":
            return value
        number, mark, exponent = value.partition("e" if "e" in value else "E")
        stream = self._stream(value, len(number))
        made = "".join(digits[byte % 10] if one in digits else one for one, byte in zip(number, stream, strict=True))
        return _number(number, made, stream) + mark + exponent

    def _stream(self, value: str, length: int) -> bytes:
        made = b""
        while len(made) < length:
            salt = len(made).to_bytes(8, "big")
            made += blake2b(salt + value.encode(errors="surrogatepass"), key=self._key[:64]).digest()
        return made[:length]


def _letter(one: str, byte: int) -> str:
    if one in digits:
        return digits[byte % 10]
    if one in ascii_uppercase:
        return ascii_uppercase[byte % 26]
    if one in ascii_lowercase or not one.isascii():
        return ascii_lowercase[byte % 26]
    return one if one in _SHAPE else "#"


def _number(number: str, made: str, stream: bytes) -> str:
    """As numbers are written: no zero before another digit, none behind the last place."""
    sign = "-" if number[0] == "-" else ""
    whole, dot, places = made.removeprefix("-").partition(".")
    kept = number.removeprefix("-").partition(".")[0]
    if len(whole) > 1 and whole[0] == "0":
        whole = digits[1 + stream[0] % 9] + whole[1:]
    if kept == "0" and dot:
        whole = "0"
    if places and places[-1] == "0" and number[-1] != "0":
        places = places[:-1] + digits[1 + stream[-1] % 9]
    return f"{sign}{whole}{dot}{places}"


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()
