"""The page is built once for its sources; where it cannot be, a sentence says why, and set-up goes on. Its types fit the API."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from page.build import PAGE, WORK, NoPage, find_node, install, lay_out
from tests.laws.tree import ROOT


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "page", tmp_path / "page", ignore=shutil.ignore_patterns("node_modules", "dist", "__pycache__")
    )
    return tmp_path


def build(clone: Path, *words: str) -> tuple[int, str]:
    """In an environment without Node, npm and uv."""
    empty = clone / "empty"
    empty.mkdir(exist_ok=True)
    python = empty / "python"
    if not python.exists():
        python.symlink_to(sys.executable)
    done = subprocess.run(
        [python, "-I", clone / "page" / "build.py", *words],
        env={**os.environ, "PATH": str(empty)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


def test_without_node_a_sentence_says_what_is_missing_and_set_up_does_not_try_again(clone: Path) -> None:
    code, told = build(clone)
    assert (code, "no Node.js >= 20.19" in told, "onex works without it" in told) == (3, True, True)
    assert "make page tries again" in build(clone, "--once")[1]
    (clone / "page" / "index.html").write_text("other sources")
    assert "no Node.js" in build(clone, "--once")[1]


def test_a_bundle_of_these_sources_is_taken_from_the_cache(clone: Path) -> None:
    build(clone)
    wanted = (clone / ".cache" / "page" / "failed").read_text()
    kept = clone / ".cache" / "page" / wanted
    kept.mkdir()
    (kept / "index.html").write_text("built before")
    assert build(clone, "--once") == (0, "page: built, 0 kB\n")
    assert (clone / "src" / "onex" / "service" / "page" / "index.html").read_text() == "built before"
    assert build(clone) == (0, "")


def test_the_types_of_the_page_fit_those_of_the_api() -> None:
    try:
        node, npm = find_node()
        lay_out(PAGE, WORK)
        install(node, npm, WORK)
    except NoPage as error:
        pytest.skip(f"the types of the page are not checked: {error}")
    words = [str(node), "node_modules/svelte-check/bin/svelte-check", "--fail-on-warnings", "--output", "human"]
    done = subprocess.run(words, cwd=WORK, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
