"""Pages do not rot: their links resolve, their commands exist, and no page speaks of one machine only."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup
from typer.main import get_command

from onex.cli.main import app
from tests.laws.tree import ROOT, fenced, files, pages

LINK = re.compile(r"\[[^\]]*\]\(<?(?P<target>[^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(?P<text>.+?)\s*#*$")
MACHINE = re.compile(r"(?<![\w./])/(?:work|root|farm|tmp/brief)/[\w.]")
SHELL = ("bash", "sh", "shell")
BEFORE = {"&&", "||", ";", "|", "!", "exec", "time", "if", "while"}
BEHIND = {"&&", "||", ";", "|", "&", ">", ">>", "<", "2>", "2>&1"}


def anchor(heading: str) -> str:
    """The fragment a Markdown heading gets: lower case, punctuation dropped, spaces to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(match["text"]) for line in page.read_text().splitlines() if (match := HEADING.match(line))}


def prose(text: str) -> str:
    """The page without its fenced blocks and code spans, where brackets are code."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE))


def dead_links(page: Path) -> list[str]:
    dead = []
    for match in LINK.finditer(prose(page.read_text())):
        target = match["target"]
        if re.match(r"[a-z]+:", target):
            continue
        place, _, fragment = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        if not file.exists() or (fragment and file.suffix == ".md" and fragment not in anchors(file)):
            dead.append(target)
    return dead


def commands(text: str) -> list[tuple[int, list[str]]]:
    """`(line, words after onex)` of every `onex ...` in shell blocks; of console blocks, the `$ ` lines."""
    lines = [*fenced(text, *SHELL), *((n, line) for n, line in fenced(text, "console") if line.startswith("$ "))]
    found = []
    for number, line in lines:
        try:
            words = shlex.split(line.removeprefix("$ ").rstrip("\\ "), comments=True)
        except ValueError:  # a quotation that goes on in the next line
            words = line.split()
        for index, word in enumerate(words):
            first = index == 0 or words[index - 1] in BEFORE or re.match(r"\w+=", words[index - 1])
            if Path(word).name == "onex" and first:
                rest = words[index + 1 :]
                stop = next((at for at, one in enumerate(rest) if one in BEHIND), len(rest))
                found.append((number, rest[:stop]))
    return found


def unknown(words: list[str]) -> str | None:
    """What in `onex WORDS` the command line does not know: a command, or an option of one. None when all is known."""
    command = get_command(app)
    context = typer.Context(command, info_name="onex")
    rest = list(words)
    while isinstance(command, TyperGroup) and rest and not rest[0].startswith("-"):
        child = command.get_command(context, rest[0])
        if child is None:
            return rest[0]
        command, context, rest = child, typer.Context(child, info_name=rest[0], parent=context), rest[1:]
    options = {
        name for parameter in command.get_params(context) for name in (*parameter.opts, *parameter.secondary_opts)
    }
    given = [word for word in rest if word.startswith("-") and word != "-"]  # "-" alone is standard input
    return next((word for word in given if word.split("=")[0] not in options), None)


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_of_the_page_resolves(page: Path) -> None:
    assert dead_links(page) == []


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_the_page_exists(page: Path) -> None:
    found = commands(page.read_text())
    assert [f"line {n}: onex {' '.join(words)}: {bad}" for n, words in found if (bad := unknown(words))] == []


def test_no_file_speaks_of_one_machine() -> None:
    texts = {file: file.read_bytes().decode(errors="replace") for file in files()}
    assert [str(file.relative_to(ROOT)) for file, text in texts.items() if MACHINE.search(text)] == []


def test_the_law_knows_a_dead_link_and_a_dead_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A Page\n[up](#a-page) [gone](gone.md) [out](https://example.org)\n```bash\nonex nope --json\n```\n"
    )
    assert dead_links(page) == ["gone.md"]
    assert [unknown(words) for _, words in commands(page.read_text())] == ["nope"]
