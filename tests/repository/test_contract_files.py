"""Which files of a tree are contracts, by their text alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.repository.contract_files import (
    NoSuchPath,
    find_contracts,
    folders_below,
    looks_like_contract,
    workflow_folders,
)

CONTRACTS = [
    "node_type: effect\n",
    "name: x\nnode_type: effect\n",
    "name: x\r\nnode_type : effect\r\n",
    "\ufeffnode_type: effect\n",
    '"node_type": effect\n',
    "'node_type': effect\n",
    "---\n# a remark\nnode_type:\n  effect\n",
    '{"name": "x", "node_type": "effect"}\n',
    "# a remark\n\n---\n  {name: x,\n  node_type: effect}\n",
    "name: [never closed\nnode_type: effect\n",
]
OTHERS = [
    "",
    "services: {db: {image: x}}\n",
    "nodes:\n  - node_type: effect\n",
    "# node_type: effect\n",
    "the_node_type: effect\n",
    "node_type_of: effect\n",
    "text: |\n  node_type: effect\n",
    "[node_type]\n",
]


@pytest.mark.parametrize("text", CONTRACTS)
def test_a_text_with_node_type_at_its_top_looks_like_a_contract(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_bytes(text.encode())
    assert looks_like_contract(tmp_path / "x.yaml")


@pytest.mark.parametrize("text", OTHERS)
def test_a_text_without_does_not(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_bytes(text.encode())
    assert not looks_like_contract(tmp_path / "x.yaml")


def test_no_text_takes_long_to_look_at(tmp_path: Path) -> None:
    """What would make a careless pattern go back and forth: it ends, or this test never does."""
    for text in (
        "\n" * 200_000,
        " " * 200_000,
        "{" * 200_000,
        "{node_type" * 20_000,
        "#\n" * 100_000 + "{node_type",
        "'" * 200_000,
    ):
        (tmp_path / "x.yaml").write_text(text)
        looks_like_contract(tmp_path / "x.yaml")


def test_files_come_in_one_order_and_links_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("b/contract.yaml", "a/z.yml", "a/b/c.YAML", "top.yaml", "__pycache__/x.yaml", "site-packages/x.yaml"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(CONTRACTS[0])
    Path("link.yaml").symlink_to("top.yaml")
    Path("a/round").symlink_to(tmp_path)
    found = find_contracts([Path()])
    assert [str(one.path) for one in found.candidates] == ["top.yaml", "a/z.yml", "a/b/c.YAML", "b/contract.yaml"]
    again = find_contracts([Path("b"), Path("."), Path("b/contract.yaml")])
    assert sorted(str(one.path) for one in again.candidates) == sorted(str(one.path) for one in found.candidates)


def test_what_may_be_an_app_is_the_folder_itself_or_what_stands_in_it(tmp_path: Path) -> None:
    for name in ("one", "two", "two-1.0", "data", "node_modules", ".hidden", "_private", "empty"):
        (tmp_path / name).mkdir()
        if name != "empty":
            (tmp_path / name / "contract.yaml").write_text("name: x\n" if name == "data" else "node_type: reducer\n")
    assert list(workflow_folders(tmp_path)) == [tmp_path / "one", tmp_path / "two"]
    assert list(workflow_folders(tmp_path / "one")) == [tmp_path / "one"]
    assert list(workflow_folders(tmp_path / "empty")) == []
    assert [(one.path.name, one.why, one.fix) for one in folders_below(tmp_path).passed_over] == [
        ("data", "its contract.yaml has no node_type at its top", "write node_type, if it is one"),
        ("two-1.0", "its name is no name of a Python package", "rename it, for example two_1_0, if it is one"),
    ]
    (tmp_path / "data" / "payloads.py").touch()  # who wrote classes for it meant a workflow: its faults are reported
    assert list(workflow_folders(tmp_path)) == [tmp_path / name for name in ("data", "one", "two")]


@pytest.mark.parametrize("path", ["nowhere", "x.txt", "a" * 300, "nul\0"])
def test_what_cannot_be_checked_is_reported(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x.txt").touch()
    with pytest.raises(NoSuchPath) as raised:
        find_contracts([Path(path)])
    assert ";" in raised.value.message or "cannot be looked at" in raised.value.message
