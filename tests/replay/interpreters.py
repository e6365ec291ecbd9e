"""Other Pythons on this machine, and an environment for each that holds what ONEX needs to run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements" / "runtime.txt"
OLDEST = (3, 11)
ASK = "import sys, platform; print(*sys.version_info[:2], platform.python_version(), platform.python_implementation())"


class Interpreter(NamedTuple):
    """``minor`` is ``(3, 12)``; ``version`` the whole one."""

    path: Path
    minor: tuple[int, int]
    version: str


class NoEnvironment(Exception):
    """Neither uv nor pip could install the locked packages for it."""


@cache
def others() -> tuple[Interpreter, ...]:
    """CPythons from 3.11 on that start, one of each minor version but the one that runs this; lowest first."""
    found: dict[tuple[int, int], Interpreter] = {}
    for path in _candidates():
        one = _asked(path)
        if one is not None and one.minor >= OLDEST and one.minor != sys.version_info[:2]:
            found.setdefault(one.minor, one)
    return tuple(found[minor] for minor in sorted(found))


def _candidates() -> Iterator[Path]:
    """Installed ones first: what stands on the PATH may be a shim that starts nothing."""
    places = [
        *sorted(Path.home().glob(".pyenv/versions/*/bin"), reverse=True),
        *(Path(name) for name in os.environ.get("PATH", "").split(os.pathsep) if name),
        Path("/usr/bin"),
        Path("/usr/local/bin"),
    ]
    for place in dict.fromkeys(places):
        yield from sorted(path for path in place.glob("python3.1[0-9]") if path.is_file())


def _asked(path: Path) -> Interpreter | None:
    try:
        done = subprocess.run([path, "-c", ASK], capture_output=True, text=True, timeout=10, env=clean(), check=True)
        major, minor, version, implementation = done.stdout.split()
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(path, (int(major), int(minor)), version) if implementation == "CPython" else None


def clean(**added: str) -> dict[str, str]:
    """This process's environment variables without those that tell Python or ONEX what to do, and ``added``."""
    ours = ("PYTHON", "ONEX", "VIRTUAL_ENV", "LC_", "LANG", "TZ")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | added


def environment(one: Interpreter) -> Path:
    """The Python of an environment with the locked packages: made once under ``.cache``, found there ever after.

    Raises NoEnvironment after two tries.
    """
    locked = blake2b(LOCK.read_bytes(), digest_size=6).hexdigest()
    home = ROOT / ".cache" / "pythons" / f"{one.version}-{locked}"
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        made = home.with_name(f"{home.name}.{os.getpid()}")
        told = []
        for make in (_by_uv, _by_pip):
            shutil.rmtree(made, ignore_errors=True)
            try:
                make(one, made)
                break
            except (OSError, subprocess.SubprocessError) as error:
                said = getattr(error, "stderr", "") or str(error)
                told.append(f"{make.__name__.removeprefix('_by_')}: {' '.join(said.split())[-300:]}")
        else:
            shutil.rmtree(made, ignore_errors=True)
            raise NoEnvironment(f"Python {one.version} at {one.path} got no packages. {'; '.join(told)}")
        try:
            made.rename(home)
        except OSError:  # another process was faster
            shutil.rmtree(made)
    return home / "bin" / "python"


def _by_uv(one: Interpreter, made: Path) -> None:
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else "uv"
    _run(uv, "venv", "--quiet", "--python", one.path, made)
    python = made / "bin" / "python"
    _run(uv, "pip", "install", "--quiet", "--system-certs", "--python", python, "--require-hashes", "-r", LOCK)


def _by_pip(one: Interpreter, made: Path) -> None:
    _run(one.path, "-m", "venv", made)
    _run(made / "bin" / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", LOCK)


def _run(*words: str | Path) -> None:
    env = clean(UV_PYTHON_DOWNLOADS="never")  # what is asked for is on this machine, or is not used
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=120, env=env, cwd=ROOT)
