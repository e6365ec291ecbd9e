"""The reader of pages can tell a page that lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.transcript import Played, blocks, played, section, shows


def play(page: str, folder: Path) -> None:
    with played("page.md", blocks(page), folder):
        pass


def test_a_page_writes_its_files_and_shows_what_its_commands_print(tmp_path: Path) -> None:
    page = "```yaml file=a/b.yaml\nx: 1\n```\nand then\n```bash\ncat a/b.yaml\n```\n```text\nx: 1\n```\n"
    with played("page.md", blocks(page), tmp_path) as here:
        assert (here / "a" / "b.yaml").read_text() == "x: 1\n"


def test_other_output_than_the_page_shows_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(Played, match=r"page.md:5: printed was:\none"):
        play("```bash\necho one\n```\n```text\ntwo\n```\n", tmp_path)


def test_a_command_that_fails_unannounced_is_told(tmp_path: Path) -> None:
    with pytest.raises(Played, match="exits with 1, not 0"):
        play("```bash\nfalse\necho never\n```\n", tmp_path)
    play("```bash exits=3\nexit 3\n```\n", tmp_path / "other")


def test_python_blocks_share_their_names_and_may_fail(tmp_path: Path) -> None:
    play("```python\nx = 1\n```\n```python\nprint(x + 1)\n```\n```text\n2\n```\n", tmp_path)
    with pytest.raises(ZeroDivisionError):
        play("```python\n1 / 0\n```\n", tmp_path / "other")


def test_a_second_terminal_runs_on_until_ctrl_c(tmp_path: Path) -> None:
    page = (
        "```bash terminal=other\necho here; trap 'echo gone; exit' INT; while true; do sleep 0.02; done\n```\n"
        "```text\nhere\n```\n```bash\ntrue\n```\n```text press=ctrl-c\n{last}\n```\n"
    )
    play(page.format(last="gone"), tmp_path)
    with pytest.raises(Played, match="the terminal shows instead:\ngone"):
        play(page.format(last="still here"), tmp_path / "again")


def test_dots_stand_for_a_part_of_a_line_or_for_lines() -> None:
    assert shows("a ... c\n", "a  b   c\n")
    assert shows("a\n...\nz\n", "a\nb\nc\nz\n")
    assert shows("a\n...\nz\n", "a\nz\n")
    assert not shows("a ... c\n", "a b\nc\n")
    assert not shows("a\n", "a\nb\n")


def test_an_option_that_means_nothing_is_no_comment() -> None:
    with pytest.raises(ValueError, match="line 1: a block knows no exit"):
        blocks("```bash exit=1\n```\n")


def test_a_section_ends_where_the_next_one_begins() -> None:
    assert section("# A\n## B\nb\n### C\nc\n## D\nd\n", "## B") == "b\n### C\nc\n"
