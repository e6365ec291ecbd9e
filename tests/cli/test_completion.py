"""A shell completes commands, options and choices, and asks no command that is not meant."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onex.cli.main import COMMANDS
from tests.cli.conftest import ONEX
from tests.cli.test_help import imported

ALL = [name for section in COMMANDS.values() for name in section]
BASH = """
eval "$(_ONEX_COMPLETE=source_bash onex)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_onex_completion onex
printf '%s\\n' "${COMPREPLY[@]}"
"""
needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
needs_zsh = pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")


def shell(*words: str, **variables: str) -> str:
    path = f"{ONEX.parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        words, capture_output=True, text=True, env={**os.environ, "PATH": path, **variables}, check=False
    )
    assert run.stderr == ""
    return run.stdout


@needs_bash
@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("onex ''", ALL),
        ("onex ch", ["check"]),
        ("onex --ver", ["--version"]),
        ("onex submit --no", ["--no-wait"]),
        ("onex demo --workflow o", ["orders"]),
    ],
)
def test_bash_completes(words: str, completed: list[str]) -> None:
    assert shell("bash", "--norc", "-c", BASH, "bash", *shlex.split(words)).splitlines() == completed


@needs_zsh
def test_zsh_loads_what_it_is_shown() -> None:
    script = 'compdef() { print -- "$@"; }; eval "$(_ONEX_COMPLETE=source_zsh onex)"'
    assert shell("zsh", "-f", "-c", script) == "_onex_completion onex\n"


def test_zsh_gets_each_command_with_its_line() -> None:
    told = shell(str(ONEX), _ONEX_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS="onex dem")
    assert '"demo":"Run real workflows, kill their engine..."' in told


def test_the_completion_of_names_imports_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_ONEX_COMPLETE", "complete_zsh")
    monkeypatch.setenv("_TYPER_COMPLETE_ARGS", "onex ")
    loaded = imported("from onex.cli.main import main; main()")
    assert [
        name for name in ("asyncio", "onex.engine", "onex.kernel.action", "sqlite3", "yaml") if name in loaded
    ] == []


def test_it_is_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    """Its home gets the script; nothing else of it is touched."""
    (tmp_path / ".bashrc").write_text("alias o=onex\n")
    asks = shlex.join([sys.executable, str(ONEX), "--install-completion"])
    shell("bash", "--norc", "-c", f"{asks}; true", HOME=str(tmp_path))
    assert (tmp_path / ".bashrc").read_text().startswith("alias o=onex\n")
    assert "_onex_completion" in (tmp_path / ".bash_completions" / "onex.sh").read_text()
