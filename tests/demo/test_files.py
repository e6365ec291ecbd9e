"""A demo throws away what a demo left, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.cli.demo.files import DemoFiles, NotADemoStore
from onex.kernel.errors import DatabaseConnectionError, OwnershipLost
from onex.wiring import InvalidStoreUrl


def place(folder: Path, name: str = "proof.db") -> DemoFiles:
    return DemoFiles(f"sqlite:///{folder / name}")


def test_the_next_demo_begins_where_the_last_one_was(tmp_path: Path) -> None:
    with place(tmp_path) as first:
        assert first.store is not None
        first.store.write_text("old")
        first.store.with_name("proof.db-wal").write_text("old")
        (first.folder / "ledger.jsonl").write_text("old")
        (first.folder / "orders").mkdir()
    with place(tmp_path) as second:
        assert second.store is not None
        assert not second.store.exists()
        assert not second.store.with_name("proof.db-wal").exists()
        assert [path.name for path in second.folder.iterdir()] == ["made-by-onex-demo"]


def test_neighbours_are_left_alone(tmp_path: Path) -> None:
    kept = [tmp_path / "proof.db-backup", tmp_path / "other.db"]
    for path in kept:
        path.write_text("mine")
    for _ in range(2):
        with place(tmp_path):
            pass
    assert [path.read_text() for path in kept] == ["mine", "mine"]


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "file").write_text("mine")
    with place(tmp_path) as first:
        (first.folder / "link").symlink_to(mine)
    with place(tmp_path):
        assert (mine / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["proof.db", "proof/note.txt"])
def test_what_no_demo_made_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    with pytest.raises(NotADemoStore, match="was not made by a demo"), place(tmp_path):
        pass
    assert path.read_text() == "mine"


def test_two_demos_do_not_share_a_place(tmp_path: Path) -> None:
    with place(tmp_path), pytest.raises(OwnershipLost, match="another demo"), place(tmp_path):
        pass


def test_a_store_in_memory_would_die_with_the_engine() -> None:
    with pytest.raises(InvalidStoreUrl, match="name a file"):
        DemoFiles("memory:")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DatabaseConnectionError, match="file"), place(tmp_path / "file"):
        pass


def test_tidied_it_keeps_what_a_person_looks_at(tmp_path: Path) -> None:
    with place(tmp_path) as one:
        for name in ("ledger.jsonl", "engine.log", "proof.html"):
            (one.folder / name).write_text("")
        one.tidy()
        assert sorted(path.name for path in one.folder.iterdir()) == ["made-by-onex-demo", "proof.html"]
