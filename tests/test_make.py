"""`python3 make.py TARGET` does what `make TARGET` does, and needs Python alone.

The clones of these tests have programs of their own in .venv: each writes down how it was called, and ends as it was told.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = f"""#!{sys.executable}
import json, os, sys, time
from pathlib import Path
name = Path(sys.argv[0]).name
with open({{log!r}}, "a") as log:
    log.write(json.dumps([name, *sys.argv[1:]]) + "\\n")
if os.environ.get("WAITS") == name:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        sys.exit(42)
sys.exit(int(os.environ.get(f"{{{{name}}}}_ENDS".upper().replace("-", "_"), "0")))
"""
ASKED = ["-c"]  # how a Python is asked for its version and modules
NOTHING: Mapping[str, str] = {}
needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")


class Clone:
    """A clone with a set-up environment of such programs. ``called`` is what became of them, in order."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._log = folder, folder / "called"
        (folder / "requirements").mkdir(parents=True)
        for name in (
            "make.py",
            "Makefile",
            "pyproject.toml",
            *(f"requirements/{one}.txt" for one in ("dev", "uv", "runtime")),
        ):
            shutil.copy(ROOT / name, folder / name)
        for name in ("onex", "pytest", "ruff", "mypy", "lint-imports", "uv"):
            self.program(folder / ".venv" / "bin" / name)
        (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
        (folder / ".venv" / ".ready").touch()

    def program(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(PROGRAM.format(log=str(self._log)))
        path.chmod(0o755)

    @property
    def called(self) -> list[list[str]]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [json.loads(line) for line in lines]

    def start(self, words: Sequence[str], environment: Mapping[str, str] = NOTHING) -> subprocess.Popen[str]:
        return subprocess.Popen(
            words,
            cwd=self.folder,
            env={"PATH": "/nowhere", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *words: str, **environment: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of ``python3 make.py WORDS``. The PATH is empty."""
        process = self.start([sys.executable, "make.py", *words], environment)
        out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "a clone")


def test_without_a_target_they_are_listed(clone: Clone) -> None:
    code, out, _ = clone()
    listed = [line.split()[0] for line in out.splitlines()]
    assert code == 0
    assert listed[:2] == ["setup", "check"]
    assert clone("--help")[1] == out


def test_the_makefile_has_the_same_targets(clone: Clone) -> None:
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("TARGETS := ")]
    assert line.split()[2:] == [line.split()[0] for line in clone()[1].splitlines()]


def test_arguments_and_the_exit_code_are_those_of_the_command(clone: Clone) -> None:
    assert clone("test", "-k", "a or b", ONEX_ENDS="9")[0] == 0
    assert clone("demo", "--files", "10", ONEX_ENDS="9")[0] == 9
    assert clone.called == [
        ["pytest", "-n", "3", "--dist", "worksteal", "-m", "not long", "--hypothesis-profile=ci", "-k", "a or b"],
        ["onex", "demo", "--files", "10"],
    ]


def test_a_check_stops_at_the_first_that_fails_and_has_its_exit_code(clone: Clone) -> None:
    assert clone("check", MYPY_ENDS="7")[0] == 7
    assert [one[0] for one in clone.called] == ["ruff", "ruff", "mypy"]


@needs_make
@pytest.mark.parametrize("target", ["test", "test-long", "demo", "bench", "check"])
def test_make_calls_the_same(clone: Clone, target: str, tmp_path: Path) -> None:
    given = [] if target == "check" else ["-k", "a or b"]
    clone(target, *given)
    other = Clone(tmp_path / "another clone")
    made = other.start(["/usr/bin/env", "make", target, "ARGS=-k 'a or b'"], {"PATH": os.environ["PATH"]})
    _, err = made.communicate(timeout=60)
    assert made.returncode == 0, err
    assert other.called == clone.called


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["tset"], "make tset: there is no target 'tset'; there are setup, check, "),
        (["check", "--fast"], "make check: it takes no arguments, and --fast was given"),
    ],
)
def test_a_wrong_call_is_told_and_runs_nothing(clone: Clone, words: list[str], sentence: str) -> None:
    code, _, err = clone(*words)
    assert (code, clone.called) == (2, [])
    assert err.startswith(sentence)


def _waits_for(clone: Clone, name: str) -> None:
    until = time.monotonic() + 60
    while name not in [one[0] for one in clone.called]:
        assert time.monotonic() < until, f"{name} was never called"
        time.sleep(0.02)


@pytest.mark.parametrize(("target", "waits"), [("demo", "onex"), ("check", "mypy")])
def test_ctrl_c_reaches_the_command_and_nothing_else_is_begun(clone: Clone, target: str, waits: str) -> None:
    process = clone.start([sys.executable, "make.py", target], {"WAITS": waits})
    _waits_for(clone, waits)
    time.sleep(0.2)  # so that it sleeps
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == {"demo": 42, "check": 130}[target], err
    assert "Traceback" not in err
    assert clone.called[-1][0] == waits


# --- set-up -----------------------------------------------------------------------------------------------------------


def outdated(clone: Clone) -> None:
    os.utime(clone.folder / ".venv" / ".ready", (1, 1))


def test_an_environment_that_is_ready_is_not_made_again(clone: Clone) -> None:
    assert clone("setup") == (0, "", "")
    assert clone.called == []


def test_a_changed_lock_is_installed_into_the_same_environment(clone: Clone) -> None:
    outdated(clone)
    python = clone.folder / ".venv" / "bin" / "python"
    python.unlink()
    clone.program(python)
    assert clone("demo")[0] == 0
    installs = [one for one in clone.called if one[:2] != ["python", *ASKED] and one[-1] != "--version"]
    assert [one[0] for one in installs] == ["python", "uv", "uv", "python", "onex"]
    assert installs[0][-2:] == ["-r", "requirements/uv.txt"]
    assert installs[1][-2:] == ["-r", "requirements/dev.txt"]
    assert "--compile-bytecode" in installs[1]
    assert installs[2][-2:] == ["--editable", "."]
    clone("setup")
    assert clone.called[-1][0] == "onex", "the second set-up finds it ready"


def test_what_pip_or_uv_said_is_the_reason_and_the_next_set_up_tries_again(clone: Clone) -> None:
    outdated(clone)
    python = clone.folder / ".venv" / "bin" / "python"
    python.unlink()
    clone.program(python)
    code, _, err = clone("demo", UV_ENDS="1")
    assert (code, err) == (3, "make demo: onex itself cannot be installed into .venv; the reason stands above\n")
    assert [one[-1] for one in clone.called if one[0] == "python"][-1] == "requirements/dev.txt", "pip stands in for uv"
    assert clone("demo")[0] == 0


def without_environment(clone: Clone, *missing: str) -> dict[str, str]:
    """No .venv, and a python3 on the PATH that lacks these modules."""
    shutil.rmtree(clone.folder / ".venv")
    found = clone.folder / "found"
    found.mkdir()
    words = " ".join(f'*"import {one}"*|*"-m {one} "*) exit 1;;' for one in missing)
    (found / "python3").write_text(f'#!/bin/sh\ncase "$*" in {words} *) exec {sys.executable} "$@";; esac\n')
    (found / "python3").chmod(0o755)
    return {"PATH": str(found), "PYTHON": ""}


def started(clone: Clone, target: str, environment: Mapping[str, str]) -> tuple[int, str]:
    """``make.py`` started by a Python that has no name to find it by: only the PATH counts."""
    nameless = "import runpy, sys; sys.executable = ''; sys.argv = sys.argv[1:]; runpy.run_path('make.py', run_name='__main__')"
    process = clone.start([sys.executable, "-c", nameless, "make.py", target], environment)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_without_a_python_it_says_what_to_install(clone: Clone) -> None:
    shutil.rmtree(clone.folder / ".venv")
    code, err = started(clone, "setup", {})
    assert code == 3
    assert err.startswith("make setup: no Python >= 3.11 with venv found (tried python3, python3.13, ")
    assert "apt-get install python3 python3-venv" in err


def test_without_ensurepip_and_any_installer_it_says_what_to_install(clone: Clone) -> None:
    environment = without_environment(clone, "ensurepip", "pip")
    code, err = started(clone, "setup", environment)
    assert code == 3
    assert err == (
        "make setup: python3 cannot put pip into a new environment (no module ensurepip), and there is no uv and no other "
        "pip. Install one of them (on Debian: apt-get install python3-venv)\n"
    )


def test_without_ensurepip_a_uv_on_the_path_does_all(clone: Clone) -> None:
    environment = without_environment(clone, "ensurepip", "pip")
    clone.program(clone.folder / "found" / "uv")
    shutil.copytree(ROOT / "src" / "onex" / "cli" / "demo", clone.folder / "src" / "onex")
    assert started(clone, "setup", environment) == (0, "")
    assert [one[:3] for one in clone.called] == [["uv", "pip", "install"]] * 2
    assert (clone.folder / ".venv" / "bin" / "python").exists()
    assert not (clone.folder / ".venv" / "bin" / "pip").exists()


def test_clean_leaves_what_was_not_made(clone: Clone) -> None:
    (clone.folder / "src" / "__pycache__").mkdir(parents=True)
    assert clone("clean")[0] == 0
    assert not (clone.folder / ".venv").exists()
    assert sorted(one.name for one in clone.folder.iterdir()) == [
        "Makefile",
        "make.py",
        "pyproject.toml",
        "requirements",
        "src",
    ]
    assert list((clone.folder / "src").iterdir()) == []
