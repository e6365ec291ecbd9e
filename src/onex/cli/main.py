"""``onex``: the list of commands, and what becomes of what they raise.

Theory of operation.

1. ``COMMANDS`` is the only list. ``onex --help`` prints it without importing one command: that keeps it fast.
   ``tests/cli/test_help.py`` holds each line against the docstring of its command.
2. ``Commands.get_command`` imports the module of a command when its name is asked for, and makes one Typer command of the
   function. For a misspelt name Typer needs the names before: a placeholder is registered under each of them.
3. ``main`` runs the command and turns what it raises into an exit code. It never shows a traceback unless ``ONEX_DEBUG`` is set:

   - ``OnexError``: one sentence on stderr; ``exit_codes.exit_code`` maps its class to 1, 2 or 3.
   - a usage error of the parser (it has ``show`` and ``exit_code``): its own lines, escaped, exit code 2.
   - ``OSError``: 3. It is a file, a disk or a socket that the command did not expect.
   - ``BrokenPipeError``: 0. The reader, for example ``head``, has closed the pipe. stdout is pointed to ``/dev/null``, because
     Python flushes it once more at exit and would print a second error.
   - ``KeyboardInterrupt``: 130. Commands that own an engine handle signals themselves (``shutdown``).
   - anything else is a defect of onex: 70.

4. The flush of stdout is inside ``main``: a full disk behind ``>`` shows up there, and must become an exit code too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from importlib import import_module
from keyword import iskeyword
from typing import Annotated, Any, Protocol

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from .exit_codes import DEFECT, ENVIRONMENT, FINE, INTERRUPTED, report_error, report_usage_error, undecodable_word
from .own_output import json_alone, own_stdout
from .start import settled

# section -> command -> (module of this room that has a function of that name, first line of its docstring)
COMMANDS = {
    "Run": {
        "new": ("new", "Write a new workflow, or stubs for a contract."),
        "run": ("run", "Run an app on a store until Ctrl-C."),
        "worker": ("worker", "Run an app on a PostgreSQL store, together with other workers."),
        "deploy": ("deploy", "Bring a new version of an app live in steps, and take it back when it is worse."),
        "serve": ("serve", "Serve the API and the page of a store."),
        "token": ("token", "Make a token for the API, and the line that lets it in."),
        "submit": ("submit", "Send one action to an instance, and wait for its answer."),
        "wait": ("wait", "Wait until an instance has a status, or has ended."),
        "register": ("nodes", "Write a node into the directories, or take it out, by hand."),
        "demo": ("demo.command", "Run real workflows, kill their engine twice, and prove that nothing was lost."),
        "bench": ("bench", "Measure speed and memory on this machine."),
    },
    "Look": {
        "top": ("top", "Show the figures of a store as they change: rate, what is in flight, what waits for a person."),
        "show": ("show", "Show one instance: status, state, timers, open intents."),
        "ls": ("ls", "List instances."),
        "schedules": (
            "schedules",
            "List schedules: next due, last firing; or pause, resume, trigger one, show its next ten.",
        ),
        "count": ("count", "Count instances."),
        "workers": ("workers", "List the workers that share a store: their shards, and when they were last heard of."),
        "nodes": ("nodes", "List the nodes of a directory: where each stands, and when it was last heard of."),
        "alerts": (
            "alerts",
            "List alerts: which rules are breached, since when, and who was told; take one up, or silence it.",
        ),
        "sla": (
            "alerts",
            "Report whether each objective is met over its window: target, measured, and what is left of its error budget.",
        ),
        "versions": ("versions", "Show which code instances stand on, and what holds an old one."),
        "log": ("log", "Show applied actions, of all instances or of one."),
        "projection": ("projection", "Show a projection: its rows, its watermark, and how far it is behind."),
        "rejections": ("rejections", "Show refused actions, the newest first."),
        "dead": ("dead_letters", "List intents that are dead or held, and run them again."),
        "bulk": ("bulk", "Do one thing to all instances that a condition finds."),
        "release": ("dead_letters", "Let a held instance take actions again."),
        "erase": ("erase", "Erase an instance of an encrypted store: destroy its key, for ever."),
        "gc": (
            "gc",
            "Keep a store short: archive old log rows and remove them, and collect blobs and rows past their time.",
        ),
        "backup": ("backup", "Save a SQLite store into one file, while its engine runs."),
        "restore": ("backup", "Make a new store of a backup, for an engine to go on with."),
        "store": (
            "store",
            "Upgrade the schema of a store on a server, give its roles their rights, or see to the keys of an encrypted store.",
        ),
    },
    "Prove": {
        "simulate": ("simulate", "Run an app under crashes and faults on a virtual clock; each run is one seed."),
        "verify": (
            "verify",
            "Check a store against itself: hash chains, checksums, counts, rows that point at nothing.",
        ),
        "replay": ("replay", "Fold the log again and compare every byte with what was stored."),
        "whatif": ("whatif", "Fold recorded actions on other code, and show what would be different."),
        "forward": ("forward", "Continue what is in flight under new code, and show what would go wrong."),
        "shadow": ("shadow", "Fold live actions on other code, and show what it would decide otherwise."),
        "migrate": ("migrate", "Try an app's migrations on everything in a store."),
        "export": ("export_import", "Write recorded instances into one file, without their secrets."),
        "import": ("export_import", "Make a new store from exported files, to read and replay."),
        "check": ("check", "Check contracts of any family, and apps with their code."),
        "contract": ("contract", "Print the contract of an app; write or compare its lock file."),
        "diff": ("diff", "Compare contracts: what breaks, why, and the version bump that is due."),
        "doctor": ("doctor", "Examine a repository: its contracts, topics, machines and code."),
        "diagram": ("diagram", "Draw a contract's state machine, or an orchestrator's steps."),
        "schema": ("schema", "Print the JSON Schema of contracts, for editors."),
        "mcp": ("agent_tools", "Answer the questions of a coding agent over the Model Context Protocol."),
        "lsp": ("lsp", "Serve an editor over standard input and output: findings, completion, hover."),
    },
}
_MODULES = {name: module for section in COMMANDS.values() for name, (module, _) in section.items()}
_LINES = {name: line for section in COMMANDS.values() for name, (_, line) in section.items()}


class HelpWriter(Protocol):
    def section(self, name: str) -> AbstractContextManager[None]: ...
    def write_dl(self, rows: Sequence[tuple[str, str]]) -> None: ...


class Commands(TyperGroup):
    """Loads a command when it is asked for by name; the list of them needs none."""

    _is_listing = False

    def get_command(self, ctx: object, cmd_name: str) -> TyperCommand | None:
        if cmd_name not in _MODULES:
            return None
        if self._is_listing:
            return TyperCommand(cmd_name, help=_LINES[cmd_name])
        function_name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        function = getattr(import_module(f".{_MODULES[cmd_name]}", __package__), function_name)
        alone = typer.Typer(rich_markup_mode=None, add_completion=False)
        alone.command(cmd_name)(function)
        command = get_command(alone)
        assert isinstance(command, TyperCommand), "one function makes one command"
        settled()
        return command

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:  # classes of a private module of Typer
        """Names and first lines for a shell, from the list: asking each command would import them all."""
        self._is_listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self._is_listing = False

    def format_commands(self, ctx: object, formatter: HelpWriter) -> None:
        for title, commands in COMMANDS.items():
            with formatter.section(title):
                formatter.write_dl([(name, line) for name, (_, line) in commands.items()])


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _loaded_when_called() -> None:
    """Placeholder of a command, so that Typer can propose names near a misspelt one."""


for _name in _MODULES:
    app.command(_name)(_loaded_when_called)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        from .console import say

        say(f"onex {version('onex')}")
        raise typer.Exit


@app.callback()
def onex(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Long-lived workflows whose decisions are pure functions.

    \b
    Examples:
      onex check examples/orders
      onex run examples/orders
      onex submit orders:4711 cancel
      onex show orders:4711

    The store is sqlite:///.onex/store.db unless --store or ONEX_STORE names another. Exit codes: 0 success, 1 refused or
    something was found, 2 wrong usage, 3 a problem of the store or the machine.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code. An error of the user is one sentence on stderr; ``ONEX_DEBUG=1`` adds where it came from."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _tame_output()
    with json_alone(words):
        try:
            code = _call(words)
            own_stdout().flush()
        except BrokenPipeError:  # the reader of our output has closed the pipe
            os.dup2(os.open(os.devnull, os.O_WRONLY), own_stdout().fileno())
            return FINE
        except OSError as error:
            return report_error(error, ENVIRONMENT, words)
    return code


def _call(words: list[str]) -> int:
    try:
        code = get_command(app)(args=words, prog_name="onex", standalone_mode=False)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else FINE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except OSError as error:  # a disk, a file or a socket that a command did not expect
        return report_error(error, ENVIRONMENT, words)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            return report_usage_error(error)
        odd = undecodable_word(error, words)
        return report_error(error, DEFECT, words) if odd is None else report_error(odd, DEFECT, words)
    return code if isinstance(code, int) else FINE


def _tame_output() -> None:
    """A terminal that cannot show a character gets its escape, not an exception."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
