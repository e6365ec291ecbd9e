"""The list of commands is quick, says what there is, and shows how each is called."""

from __future__ import annotations

import inspect
import json
import shlex
import subprocess
import sys
from importlib import import_module
from keyword import iskeyword

import pytest
import typer
from typer.main import get_command

from onex.cli.main import COMMANDS, app
from tests.cli.conftest import Commands

ALL = {name: entry for section in COMMANDS.values() for name, entry in section.items()}
HEAVY = ("asyncio", "onex.engine", "onex.ports", "orjson", "pydantic", "rich", "sqlite3", "structlog", "yaml")


def imported(statement: str, arguments: str = "") -> set[str]:
    """The modules a fresh interpreter holds after ``statement``."""
    code = f"import sys\ntry:\n    {statement}\nexcept SystemExit: pass\nimport json; print(json.dumps([*sys.modules]))"
    words = [sys.executable, "-c", code, *shlex.split(arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(done.stdout.splitlines()[-1])
    return set(modules)


def test_help_imports_nothing_that_only_a_command_needs() -> None:
    loaded = imported("from onex.cli.main import main; main()", "--help")
    assert [name for name in HEAVY if name in loaded] == []


def test_the_package_alone_imports_nothing() -> None:
    loaded = imported("import onex")
    assert [name for name in (*HEAVY, "typer", "onex.kernel") if name in loaded] == []


@pytest.mark.parametrize("name", ALL)
def test_the_list_says_what_the_command_itself_says(name: str) -> None:
    module, line = ALL[name]
    said = inspect.getdoc(getattr(import_module(f"onex.cli.{module}"), f"{name}_" if iskeyword(name) else name))
    assert said is not None
    assert said.splitlines()[0] == line


@pytest.mark.parametrize("name", ALL)
def test_every_command_shows_examples_of_itself(name: str, commands: Commands) -> None:
    told = commands(name, "--help")
    assert told.code == 0
    assert "Examples:" in told.out
    assert f"    onex {name}" in told.out


def test_without_words_the_list_is_shown(commands: Commands) -> None:
    told = commands()
    assert told.code == 2
    assert all(f"  {name} " in told.err for name in ALL)


def test_the_version_is_the_packages(commands: Commands) -> None:
    assert commands("--version").out == f"onex {import_module('importlib.metadata').version('onex')}\n"


_TALKS = ("demo", "lsp", "mcp")  # the one to a person, the other in JSON anyway


def test_every_reading_command_can_answer_in_json() -> None:
    group = get_command(app)
    context = typer.Context(group, info_name="onex")
    for name in ALL:
        command = group.get_command(context, name)  # type: ignore[attr-defined]  # the group of commands, as built
        assert "--json" in {option for parameter in command.params for option in parameter.opts} or name in _TALKS
