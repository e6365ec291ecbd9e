"""Master keys: read from an environment variable, a file, or what a command prints; as lines ``NAME:KEY``, the current one first.

    k2:nqPZ0cFz2cvzXh5sVcZ6V2pXHq0oRk0Wq1lXo1c3m8k=
    k1:5m1c1q6q0Zr2h0Q6xJYk1cQ8yX0cVb4nP0m9oYc8i3M=

KEY is 32 random bytes in base64. The first is used for new data keys. The others only open what was wrapped under them, until
``onex store rotate-keys`` has wrapped it anew. A comma or a space ends a line too, so that a variable can hold several.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from ...codec import MASTER_KEY_BYTES
from ...kernel.data_key import InvalidCodecKeys

COMMAND_S: Final = 30.0
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
_HOW: Final = "a line for each, NAME:KEY, the current one first; onex store new-key NAME prints one"


@dataclass(frozen=True, slots=True)
class GivenMasterKeys:
    """See ``MasterKeys``."""

    current: str
    source: str
    _keys: Mapping[str, bytes] = field(repr=False)

    def key(self, name: str) -> bytes | None:
        return self._keys.get(name)


def read_master_keys(source: str, environ: Mapping[str, str] = os.environ) -> GivenMasterKeys:
    """``source`` is ``env:NAME``, ``file:PATH`` or ``command:WORDS``. Raises InvalidCodecKeys; no error quotes a key."""
    kind, _, rest = source.partition(":")
    if kind == "env" and rest:
        text = environ.get(rest, "")
    elif kind == "file" and rest:
        text = _of_file(Path(rest))
    elif kind == "command" and rest:
        text = _of_command(rest)
    else:
        raise InvalidCodecKeys(f"ONEX_CODEC_KEYS={source!r} is none of env:NAME, file:PATH, command:WORDS; correct it")
    return parse_master_keys(text, source)


def parse_master_keys(text: str, source: str) -> GivenMasterKeys:
    """Raises InvalidCodecKeys, naming the line."""
    keys: dict[str, bytes] = {}
    for number, line in enumerate(re.split(r"[\s,]+", text.strip()), 1):
        name, colon, encoded = line.partition(":")
        if not line:
            raise InvalidCodecKeys(f"{source} holds no master key; write {_HOW}")
        try:
            key = b64decode(encoded, validate=True)
        except (Error, ValueError):
            key = b""
        if not colon or _NAME.fullmatch(name) is None or len(key) != MASTER_KEY_BYTES:
            raise InvalidCodecKeys(f"line {number} of {source} is no key of {MASTER_KEY_BYTES} bytes; write {_HOW}")
        if keys.setdefault(name, key) != key:
            raise InvalidCodecKeys(f"{source} gives two keys the name {name}; give each key its own name")
    return GivenMasterKeys(next(iter(keys)), source, keys)


def new_master_key(name: str) -> str:
    """A line of a new key. Raises InvalidCodecKeys for a name that no key can have."""
    if _NAME.fullmatch(name) is None:
        raise InvalidCodecKeys(f"{name!a} is no name of a key; use up to 40 letters, digits, and . _ -")
    return f"{name}:{b64encode(os.urandom(MASTER_KEY_BYTES)).decode()}"


def _of_file(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeError) as error:
        raise InvalidCodecKeys(f"the master keys in {path} cannot be read: {type(error).__name__}; {_HOW}") from error


def _of_command(words: str) -> str:
    """What the command prints. It is started without a shell."""
    try:
        done = subprocess.run(
            shlex.split(words), capture_output=True, timeout=COMMAND_S, check=False, stdin=subprocess.DEVNULL
        )
        text = done.stdout.decode("ascii")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise InvalidCodecKeys(
            f"the command of ONEX_CODEC_KEYS gave no keys: {type(error).__name__}; run it by hand"
        ) from error
    if done.returncode:
        raise InvalidCodecKeys(
            f"the command of ONEX_CODEC_KEYS ended with {done.returncode}; run it by hand, and correct it"
        )
    return text
