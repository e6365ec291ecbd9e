"""The git revision is read as git keeps it: loose, packed, detached, and in a work tree."""

from __future__ import annotations

import platform
from pathlib import Path

import pydantic
import pytest

from onex.wiring.environment import environment, git_revision

COMMIT = "4f6d1b5e4f0a5c8e9a540e0e5b0c7a016f1d1b5e"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git = tmp_path / "code" / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (git / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    (tmp_path / "code" / "app").mkdir()
    return tmp_path / "code"


def test_a_branch_is_followed_from_any_folder_below(repository: Path) -> None:
    assert git_revision(repository / "app") == COMMIT


def test_a_packed_branch_is_found(repository: Path) -> None:
    (repository / ".git" / "refs" / "heads" / "main").unlink()
    (repository / ".git" / "packed-refs").write_text(
        f"# pack-refs with: peeled fully-peeled sorted\n{'0' * 40} refs/heads/mainly\n{COMMIT} refs/heads/main\n"
    )
    assert git_revision(repository) == COMMIT


def test_a_detached_head_is_the_commit(repository: Path) -> None:
    (repository / ".git" / "HEAD").write_text(f"{COMMIT}\n")
    assert git_revision(repository) == COMMIT


def test_a_work_tree_shares_its_branches(repository: Path, tmp_path: Path) -> None:
    own = repository / ".git" / "worktrees" / "second"
    own.mkdir(parents=True)
    (own / "HEAD").write_text("ref: refs/heads/second\n")
    (own / "commondir").write_text("../..\n")
    (repository / ".git" / "refs" / "heads" / "second").write_text(f"{'a' * 40}\n")
    second = tmp_path / "second"
    second.mkdir()
    (second / ".git").write_text(f"gitdir: {own}\n")
    assert git_revision(second) == "a" * 40


def test_a_branch_without_a_commit_has_no_revision(repository: Path) -> None:
    (repository / ".git" / "refs" / "heads" / "main").unlink()
    assert git_revision(repository) == ""


def test_the_environment_names_what_runs(repository: Path) -> None:
    env = environment(repository)
    assert (env.python, env.pydantic, env.git_revision) == (platform.python_version(), pydantic.VERSION, COMMIT)
    assert env.onex
