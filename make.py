#!/usr/bin/env python3
"""What can be made of this clone: `python3 make.py TARGET [ARGUMENTS]`. `make TARGET ARGS="ARGUMENTS"` does the same.

It needs the standard library only, and sets .venv up when a target needs it. Any Python 3.8 can start it; .venv is made with one
of 3.11 or newer, which it looks for. Exit codes: those of the commands; 2 for a wrong target, 3 when the set-up fails.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, NoReturn

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
READY = VENV / ".ready"
LOCKS = [ROOT / "requirements" / name for name in ("dev.txt", "uv.txt", "runtime.txt")]
CODE = [
    "src",
    "tests",
    "bench",
    "examples",
    "docs/generate.py",
    "docs/markdown.py",
    "docs/api_contents.py",
    "docs/api_reference.py",
    "docs/http_api_page.py",
    "docs/page_types.py",
    "page/build.py",
    "make.py",
]
NAMES = ["python3", "python3.13", "python3.12", "python3.11", "python3.14"]
WANTED = "import sys; sys.exit(sys.version_info < (3, 11))"
QUIET = ["--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
PAGE = ["page/build.py"]
MISUSED, ENVIRONMENT = 2, 3
BEGAN_S = time.time()


class Failed(Exception):
    """A sentence for the person who set up, and the exit code."""

    def __init__(self, sentence: str, code: int = ENVIRONMENT) -> None:
        super().__init__(sentence)
        self.code = code


# --- commands ---------------------------------------------------------------------------------------------------------


def run(words: list[str], stdin: str | None = None, *, say: bool = True) -> int:
    """The exit code of a command; 128 + N when signal N ended it. Ctrl-C reaches it by the terminal, SIGTERM is handed on."""
    if say:
        show(words)
    child = subprocess.Popen(words, cwd=ROOT, stdin=None if stdin is None else subprocess.PIPE)
    interrupts: list[int] = []
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda number, frame: interrupts.append(number)),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: child.terminate()),
    }
    try:
        child.communicate(None if stdin is None else stdin.encode())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if child.returncode and interrupts:
        return 128 + signal.SIGINT
    return 128 - child.returncode if child.returncode < 0 else child.returncode


def become(words: list[str]) -> NoReturn:
    """The last command takes the place of this process: signals and exit codes are its own."""
    show(words)
    os.chdir(ROOT)
    os.execv(words[0], words)  # noqa: S606  # a list of words, no shell


def show(words: list[str]) -> None:
    """As `make` does, unless it was told to be silent."""
    flags = os.environ.get("MAKEFLAGS", "").split(" ")[0]  # letters first, if any
    if flags.startswith("-") or "s" not in flags:
        near = [words[0].replace(f"{ROOT}{os.sep}", "", 1), *words[1:]]
        print(" ".join(map(shlex.quote, near)), file=sys.stderr, flush=True)  # noqa: T201


def all_of(*commands: list[str]) -> int:
    """Runs commands until one fails, and returns its exit code."""
    return next((code for code in map(run, commands) if code), 0)


def tool(name: str, *words: str) -> list[str]:
    """A program of .venv."""
    return [str(BIN / name), *words]


# --- set-up -----------------------------------------------------------------------------------------------------------


def is_ready() -> bool:
    made = [ROOT / "pyproject.toml", *LOCKS]
    return PYTHON.exists() and READY.exists() and all(READY.stat().st_mtime >= one.stat().st_mtime for one in made)


def set_up() -> None:
    """Makes .venv with the locked dependencies and onex, unless it is there already. Two at once wait for each other."""
    if is_ready():
        return
    place = os.open(str(ROOT), os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX)
        if not is_ready():
            _install(_environment())
            READY.touch()
    except OSError as error:
        raise Failed(f"{error.filename or ROOT}: {error.strerror or error}") from error
    finally:
        os.close(place)


def _environment() -> list[str]:
    """A pip that installs into .venv, which is made if need be. Empty: there is none, and uv is to do all."""
    if not _answers([str(PYTHON), "-c", WANTED]):
        python, with_pip = _python()
        version = subprocess.run([python, "--version"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        print(f"set-up: {version} -> .venv", flush=True)  # noqa: T201
        made = [python, "-m", "venv", "--clear", *([] if with_pip else ["--without-pip"]), str(VENV)]
        _must(made, f"{shlex.join(made)} failed; its reason stands above")
    if _answers([str(PYTHON), "-m", "pip", "--version"]):
        return [str(PYTHON), "-m", "pip"]
    for name in _names():
        if _answers([name, "-m", "pip", "--python", str(PYTHON), "--version"]):
            return [name, "-m", "pip", "--python", str(PYTHON)]
    return []


def _python() -> tuple[str, bool]:
    """A Python for .venv, and whether it can put pip there. One that cannot will do where uv or another pip is."""
    tried = _names()
    able = [name for name in tried if _answers([name, "-c", f"import venv; {WANTED}"])]
    for name in able:
        if _answers([name, "-c", "import ensurepip"]):
            return name, True
    for name in able:
        if shutil.which("uv") or _answers([name, "-m", "pip", "--python", name, "--version"]):
            return name, False
    if able:
        raise Failed(
            f"{able[0]} cannot put pip into a new environment (no module ensurepip), and there is no uv and no other pip. "
            "Install one of them (on Debian: apt-get install python3-venv)"
        )
    raise Failed(
        f"no Python >= 3.11 with venv found (tried {', '.join(tried)}). "
        "Install one (on Debian: apt-get install python3 python3-venv), or name it: PYTHON=/path/to/python3.12"
    )


def _names() -> list[str]:
    """Programs that may be a Python, the one that was asked for first. The one of .venv is about to be replaced."""
    own = "" if Path(sys.prefix) == VENV else sys.executable
    return [name for name in (os.environ.get("PYTHON", ""), own, *NAMES) if name]


def _answers(words: list[str]) -> bool:
    """Whether a command succeeds. A name on the PATH may be a shim that starts nothing, so each candidate is asked."""
    try:
        return subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0
    except OSError:
        return False


def _install(pip: list[str]) -> None:
    """The locks are installed by uv, ten times faster than by pip, which stands in where uv cannot reach an index.

    Byte code is made here: where PYTHONDONTWRITEBYTECODE is set, as in many images, each start would compile it all again.
    """
    if pip:
        locked = ["--require-hashes", "-r", "requirements/uv.txt"]
        _must([*pip, "install", *QUIET, *locked], "pip cannot install uv; its reason stands above")
    uv = str(BIN / "uv") if (BIN / "uv").exists() else shutil.which("uv")
    if uv is None:
        raise Failed("there is no pip and no uv (on Debian: apt-get install python3-venv)")
    into = ["--quiet", "--system-certs", "--python", str(PYTHON)]
    locked = ["--require-hashes", "-r", "requirements/dev.txt"]
    sentence = "the locked dependencies cannot be installed; the reason stands above"
    by_uv = [uv, "pip", "install", *into, "--compile-bytecode", *locked]
    if not pip:
        _must(by_uv, sentence)
    elif run(by_uv, say=False):
        _must([*pip, "install", *QUIET, *locked], sentence)
    itself = [uv, "pip", "install", *into, "--no-deps", "--no-build-isolation", "--editable", "."]
    _must(itself, "onex itself cannot be installed into .venv; the reason stands above")
    _must([str(PYTHON), "-m", "compileall", "-q", "src/onex"], "the code does not compile; the reason stands above")


def _must(words: list[str], sentence: str) -> None:
    """Raises Failed, or SystemExit when a signal ended the command."""
    code = run(words, say=False)
    if code >= 128:
        raise SystemExit(code)
    if code:
        raise Failed(sentence)


# --- targets ----------------------------------------------------------------------------------------------------------


def setup(arguments: list[str]) -> int:
    """make .venv with the locked dependencies, onex itself and its page (done once, again when they change)"""
    return 0


def page(arguments: list[str]) -> int:
    """build the page of `onex serve` (set-up does it too, and goes on without where it cannot)"""
    become(tool("python", *PAGE))


def check(arguments: list[str]) -> int:
    """format, lint, types, imports between the rooms"""
    return all_of(
        tool("ruff", "format", "--check", *CODE),
        tool("ruff", "check", "--output-format", "concise", *CODE),
        tool("mypy", "--strict", *CODE),
        tool("lint-imports", "--no-logo", "--cache-dir", ".cache/import-linter"),
    )


def format(arguments: list[str]) -> int:
    """fix what ruff can fix"""
    return all_of(tool("ruff", "check", "--fix", *CODE), tool("ruff", "format", *CODE))


def test(arguments: list[str]) -> int:
    """every test that is not marked long (three processes, the same examples each time)"""
    # three on two cores: many tests wait for a process of their own; one that has no more tests takes some of the others'
    spread = ["-n", "3", "--dist", "worksteal"]
    become(tool("pytest", *spread, "-m", "not long", "--hypothesis-profile=ci", *arguments))


def test_long(arguments: list[str]) -> int:
    """the tests marked long, with many more examples"""
    become(tool("pytest", "-n", "2", "-m", "long", "--hypothesis-profile=long", *arguments))


def demo(arguments: list[str]) -> int:
    """run real workflows, kill their engine twice, prove that nothing was lost"""
    os.environ["ONEX_DEMO_SINCE"] = str(BEGAN_S)  # it says how long the page took, set-up included
    words = tool("onex", "demo", *arguments)
    if "--workers" not in arguments or "--store" in arguments:
        become(words)
    # it ends with its standard input, and Ctrl-C is not for it
    with subprocess.Popen(
        tool("python", "-m", "tests.servers.postgres_server"),
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().decode().strip()
        if not url:
            return ENVIRONMENT
        code = run([*words, "--no-commands", "--store", url])
    sys.stdout.write(
        "\nThe PostgreSQL server of this demo has ended, and its store with it. To look at a store afterwards, use a server\n"
        "of your own: .venv/bin/onex demo --workers 3 --store postgres://HOST/DATABASE\n"
    )
    return code


def bench(arguments: list[str]) -> int:
    """measure (make.py bench durable --json)"""
    become(tool("onex", "bench", *arguments))


def peers(arguments: list[str]) -> int:
    """the same workflow on others, beside ours (make.py peers --help); it installs them into .cache, from an index"""
    become(tool("python", "-m", "bench.peers", *arguments))


def docs(arguments: list[str]) -> int:
    """write the pages of docs/reference that are read off the code"""
    become(tool("python", "-m", "docs.generate"))


def wheel(arguments: list[str]) -> int:
    """build the wheel into dist/"""
    become(tool("python", "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"))


def lock(arguments: list[str]) -> int:
    """resolve the dependencies again (with --upgrade: the newest)"""
    resolve = tool("uv", "pip", "compile", "--quiet", "--system-certs", "--universal", "--python-version", "3.11")
    resolve += ["--generate-hashes", "--no-emit-index-url", "--no-header", "--no-annotate", *arguments]
    runtime, dev, server, uv = (f"requirements/{name}.txt" for name in ("runtime", "dev", "server", "uv"))
    extras = [word for name in ("postgres", "kafka", "server") for word in ("--extra", name)]  # of the image in deploy/
    code = all_of(
        [*resolve, "pyproject.toml", "--output-file", runtime],
        [*resolve, "pyproject.toml", "--group", "dev", "--constraints", runtime, "--output-file", dev],
        [*resolve, "pyproject.toml", *extras, "--constraints", dev, "--output-file", server],
        *(
            [*resolve, str(wanted), "--constraints", runtime, "--output-file", str(wanted.with_suffix(".txt"))]
            for folder in (ROOT / "bench" / "peers" / "requirements", ROOT / "requirements")
            for wanted in sorted(folder.glob("*.in"))
        ),
    )
    return code or run([*resolve, "-", "--constraints", dev, "--output-file", uv], stdin="uv\n")


def clean(arguments: list[str]) -> int:
    """remove everything that was made, .venv included"""
    made = [ROOT / name for name in (".venv", ".cache", ".hypothesis", ".onex", "build", "dist")]
    for one in [*made, *ROOT.rglob("__pycache__")]:
        shutil.rmtree(one, ignore_errors=True)
    return 0


class Target(NamedTuple):
    make: Callable[[list[str]], int]
    takes_arguments: bool = False
    needs_setup: bool = True
    needs_page: bool = False


TARGETS: dict[str, Target] = {
    "setup": Target(setup, needs_page=True),
    "check": Target(check),
    "format": Target(format),
    "page": Target(page),
    "test": Target(test, takes_arguments=True, needs_page=True),
    "test-long": Target(test_long, takes_arguments=True, needs_page=True),
    "demo": Target(demo, takes_arguments=True, needs_page=True),
    "bench": Target(bench, takes_arguments=True),
    "peers": Target(peers, takes_arguments=True),
    "docs": Target(docs),
    "wheel": Target(wheel, needs_page=True),
    "lock": Target(lock, takes_arguments=True),
    "clean": Target(clean, needs_setup=False),
}


def main(words: list[str]) -> int:
    if not words or words[0] in ("help", "-h", "--help"):
        for name, target in TARGETS.items():
            print(f"  {name:<10} {target.make.__doc__}")  # noqa: T201
        return 0
    name, arguments = words[0], words[1:]
    try:
        if name not in TARGETS:
            raise Failed(f"there is no target {name!r}; there are {', '.join(TARGETS)}", MISUSED)
        target = TARGETS[name]
        if arguments and not target.takes_arguments:
            raise Failed(f"it takes no arguments, and {shlex.join(arguments)} was given", MISUSED)
        if target.needs_setup:
            set_up()
            if target.needs_page and (ROOT / PAGE[0]).exists():
                run(
                    [*tool("python", *PAGE), "--once"], say=False
                )  # without it all else works, and it says what is missing
        return target.make(arguments)
    except Failed as failed:
        print(f"make {name}: {failed}", file=sys.stderr)  # noqa: T201
        return failed.code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
