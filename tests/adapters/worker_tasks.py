"""What the workers of these tests can be asked to do: an entry as wiring gives one, without an app behind it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from blake3 import blake3

from onex.kernel.errors import AlgorithmNotFoundError, EffectFailed
from onex.ports import NewBlob


class Muted:
    def flush(self) -> None:
        raise SystemExit("no")


class Unpicklable(Exception):
    def __reduce__(self) -> NoReturn:
        raise TypeError("this exception does not travel")


def run(
    where: tuple[str, str, str, str], payload: bytes, blobs: Mapping[bytes, bytes]
) -> tuple[bytes, Sequence[NewBlob]]:
    app, _, _, function = where
    if function == "echo":
        return payload, ()
    if function == "pid":
        return str(os.getpid()).encode(), ()
    if function == "upper":
        data = blobs[payload].upper()
        return b"{}", [NewBlob(blake3(data).digest(), "text/plain", data)]
    if function == "chatter":
        print("said to stdout")
        print("said to stderr", file=sys.stderr)
        warnings.warn("a warning", stacklevel=1)
        os.write(1, b"written to 1\n")
        return payload, ()
    if function == "raise":
        raise Unpicklable("of a class of its own")
    if function == "fail":
        raise EffectFailed("the far side is busy", retryable=True, code="busy")
    if function == "missing":
        raise AlgorithmNotFoundError("no compute function is named 'missing'")
    if function == "mistyped":
        error = EffectFailed("x")
        error.message, error.reason, error.retry = 5, b"code", "yes"  # type: ignore[assignment]  # what a user may do
        raise error
    if function == "surrogate":
        raise EffectFailed("\udc80 bad", code="\udc80")
    if function == "ctrl_c":
        raise KeyboardInterrupt
    if function == "fork":
        os.fork()
        return payload, []
    if function == "fork_and_die":
        if os.fork() == 0:
            time.sleep(60)
        os._exit(9)
    if function == "mute":
        sys.stdout = sys.stderr = Muted()
        return payload, []
    if function == "exit":
        sys.exit(3)
    if function == "recurse":
        return run(where, payload, blobs)
    if function == "die":
        os._exit(9)
    if function == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if function == "die_once":
        flag = Path(app)
        if not flag.exists():
            flag.touch()
            os._exit(9)
        return b"second time", ()
    if function == "sleep":
        time.sleep(float(payload))
        return b"slept", ()
    if function == "hold_the_lock":  # the regular expression engine never lets go of the interpreter
        Path(app).touch()
        re.match(r"(a+)+$", "a" * 40 + "b")
    if function == "own_child":
        child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        Path(app).write_text(str(child.pid))
        child.wait()
    raise AssertionError(function)
