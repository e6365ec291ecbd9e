"""A page as a transcript: the files it writes, the commands it gives, the output it shows, from top to bottom.

What a fenced block is, its first line says:

    ```yaml file=leave/contract.yaml     written under that name, whole
    ```bash                              run by bash -e in the page's folder; exits=1 expects that exit code
    ```bash terminal=engine              started in a second terminal, and left running
    ```python                            run in this process; the blocks of a page share their names
    ```text                              what the block before printed; a terminal's: waited for
    ```text press=ctrl-c                 what the second terminal printed until it ended, after Ctrl-C there

In a text ``...`` stands for anything within a line, and alone on its line for any number of lines. Runs of blanks count
as one, so columns may be as wide as they come. Blocks of other languages are prose.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import time
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

WAIT_S = 30.0
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<rest>.*)$")
OPTIONS = {"file", "exits", "terminal", "press"}


class Block(NamedTuple):
    """``line`` is where its text begins, counted from 1."""

    language: str
    options: Mapping[str, str]
    text: str
    line: int


def blocks(text: str) -> list[Block]:
    """Every fenced block of a page, in order. Raises ValueError for an option that means nothing."""
    found: list[Block] = []
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        fence = FENCE.match(lines[number])
        number += 1
        if fence is None:
            continue
        begin = number
        while lines[number].strip() != "```":
            number += 1
        words = [word.partition("=") for word in fence["rest"].split()]
        options = {name: value for name, _, value in words}
        if unknown := set(options) - OPTIONS:
            raise ValueError(f"line {begin}: a block knows no {', '.join(sorted(unknown))}")
        body = "".join(f"{line}\n" for line in lines[begin:number])
        found.append(Block(fence["language"], options, body, begin + 1))
        number += 1
    return found


def section(text: str, heading: str) -> str:
    """The part of a page under a heading, to the next of the same depth."""
    depth = len(heading) - len(heading.lstrip("#"))
    _, found, rest = f"\n{text}".partition(f"\n{heading}\n")
    if not found:
        raise ValueError(f"the page has no {heading!r}")
    return re.split(rf"^#{{1,{depth}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def pattern(expected: str) -> str:
    """A regular expression for the text of a block."""
    parts: list[str] = []
    for line in expected.splitlines():
        words = " ".join(line.split())
        if words == "...":
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(".*?".join(map(re.escape, words.split("..."))) + r"\n")
    return "".join(parts)


def squeezed(text: str) -> str:
    return "".join(f"{' '.join(line.split())}\n" for line in text.splitlines())


def shows(expected: str, printed: str) -> bool:
    return re.fullmatch(pattern(expected), squeezed(printed)) is not None


class Terminal:
    """A command that runs on beside the page, and what it printed since somebody last looked."""

    def __init__(self, command: str, folder: Path, environ: Mapping[str, str], output: Path) -> None:
        self._output = output
        self._seen = 0
        with output.open("wb") as file:
            self.process = subprocess.Popen(
                ["bash", "-ec", command],
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def instead(self, expected: str) -> str | None:
        """Waits until it shows what is expected: None, or what it printed instead."""
        until = time.monotonic() + WAIT_S
        while True:
            ended = self.process.poll() is not None
            printed = self._output.read_text()[self._seen :]
            if shows(expected, printed):
                self._seen += len(printed)
                return None
            if ended or time.monotonic() > until:
                return printed
            time.sleep(0.02)

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(WAIT_S)

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):  # what it started may outlive it
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(WAIT_S)


class Played(AssertionError):
    """A block did not do what the page says."""


class Player:
    """Plays blocks in an empty folder, with ``onex`` and ``python`` of one environment first on the PATH."""

    def __init__(self, page: str, folder: Path, outputs: Path, programs: Path) -> None:
        self.page = page
        self.folder = folder
        self._outputs = outputs
        mine = {name: value for name, value in os.environ.items() if not name.startswith("ONEX_")}
        path = f"{programs}{os.pathsep}{mine['PATH']}"
        self._environ = {**mine, "PATH": path, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "PYTEST_ADDOPTS": ""}
        self._terminals: dict[str, Terminal] = {}
        self._speaker: str | Terminal = ""
        self._module = types.ModuleType(f"page_{re.sub(r'[^a-z]', '_', page.lower())}")

    def play(self, given: list[Block]) -> None:
        """Raises Played at the first block that does not hold."""
        for block in given:
            name = block.options.get("file")
            if name is not None:
                place = self.folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(block.text)
            elif block.language == "bash":
                self._speaker = self._started(block) if "terminal" in block.options else self._run(block)
            elif block.language == "python":
                self._speaker = self._execute(block)
            elif block.language == "text":
                self._compare(block)

    def _started(self, block: Block) -> Terminal:
        name = block.options["terminal"]
        if name in self._terminals:
            self._terminals[name].end()
        output = self._outputs / f"{name}-{block.line}.txt"
        self._terminals[name] = Terminal(block.text, self.folder, self._environ, output)
        return self._terminals[name]

    def _run(self, block: Block) -> str:
        wanted = int(block.options.get("exits", "0"))
        done = subprocess.run(
            ["bash", "-ec", block.text],
            cwd=self.folder,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=2 * WAIT_S,
        )
        if done.returncode != wanted:
            raise self._wrong(block, f"exits with {done.returncode}, not {wanted}:\n{done.stdout}")
        return done.stdout

    def _execute(self, block: Block) -> str:
        printed = io.StringIO()
        # lines before it, so that a traceback names the page's own
        code = compile("\n" * (block.line - 1) + block.text, self.page, "exec", dont_inherit=True)
        sys.modules[self._module.__name__] = self._module
        try:
            with contextlib.chdir(self.folder), contextlib.redirect_stdout(printed):
                exec(code, self._module.__dict__)
        finally:
            del sys.modules[self._module.__name__]
        return printed.getvalue()

    def _compare(self, block: Block) -> None:
        if "press" in block.options:
            (running,) = (one for one in self._terminals.values() if one.process.poll() is None)
            running.interrupt()
            self._speaker = running
        if isinstance(self._speaker, Terminal):
            printed = self._speaker.instead(block.text)
            if printed is not None:
                raise self._wrong(block, f"the terminal shows instead:\n{printed}")
        elif not shows(block.text, self._speaker):
            raise self._wrong(block, f"printed was:\n{self._speaker}")

    def _wrong(self, block: Block, told: str) -> Played:
        return Played(f"{self.page}:{block.line}: {told}")

    def close(self) -> None:
        for terminal in self._terminals.values():
            terminal.end()


@contextlib.contextmanager
def played(page: str, given: list[Block], folder: Path, programs: Path | None = None) -> Iterator[Path]:
    """Play a page's blocks in ``folder / 'here'``; what it left there can be looked at until the context ends.

    ``programs`` is the folder of another environment's ``onex`` and ``python``, instead of those that run the tests.
    """
    here, outputs = folder / "here", folder / "outputs"
    here.mkdir(parents=True, exist_ok=True)
    outputs.mkdir()
    player = Player(page, here, outputs, programs or Path(sys.executable).parent)
    try:
        player.play(given)
        yield here
    finally:
        player.close()
