"""One environment for each peer under ``.cache/peers``, with the versions of its lock. A changed lock makes it again."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from bench.peers.child_process import run

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".cache" / "peers"


class NotInstalled(Exception):
    """The packages of a peer cannot be had here. The text is what the installer said."""


def environment(name: str, lock: Path, place: Path = PLACE) -> Path:
    """The Python of the environment. Raises NotInstalled; what is there then is made again the next time."""
    folder = place / name
    python, ready = folder / "bin" / "python", folder / "installed.txt"
    try:
        wanted = f"{sys.version}\n{lock.read_text()}"
    except OSError as error:
        raise NotInstalled(f"{lock}: {error.strerror}") from error
    if python.exists() and ready.exists() and ready.read_text() == wanted:
        return python
    uv = Path(sys.executable).with_name("uv")
    if not uv.exists():
        raise NotInstalled("there is no uv beside this Python; `make setup` installs it")
    shutil.rmtree(folder, ignore_errors=True)
    words = [str(uv), "--quiet", "--system-certs"]
    for command in (
        [*words, "venv", "--python", sys.executable, str(folder)],
        [*words, "pip", "install", "--python", str(python), "--require-hashes", "--compile-bytecode", "-r", str(lock)],
    ):
        ended = run(command, ROOT, timeout_s=600)
        if ended.code:
            raise NotInstalled(ended.error.strip() or f"uv ended with {ended.code}")
    ready.write_text(wanted)
    return python
