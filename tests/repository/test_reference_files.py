"""A contract's references are read below the root of its repository, and nowhere else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onex.contracts.text.include import IncludedFile, IncludeMissing, IncludeRefused
from onex.contracts.text.yaml_tree import BYTES_MAX
from onex.repository.reference_files import Repository, UnreadableContract, contract_text


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository ``here`` with a contract in ``here/nodes/one``, and a file outside; the work folder holds both."""
    (tmp_path / "here" / "nodes" / "one" / "sub").mkdir(parents=True)
    (tmp_path / "here" / ".git").mkdir()
    (tmp_path / "here" / "nodes" / "one" / "contract.yaml").write_text("name: one\n")
    (tmp_path / "here" / "nodes" / "one" / "sub" / "fsm.yaml").write_text("states: [a]\n")
    (tmp_path / "secret.yaml").write_text("password: x\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


CONTRACT = "here/nodes/one/contract.yaml"


def test_a_file_below_the_contract_is_found_and_named_as_the_user_writes_paths(tree: Path) -> None:
    repository = Repository.holding(Path(CONTRACT))
    assert repository.root == tree / "here"
    for reference in ("sub/fsm.yaml", "./sub/fsm.yaml", "sub/./fsm.yaml", "sub//fsm.yaml"):
        assert repository(CONTRACT, reference) == IncludedFile("states: [a]\n", "here/nodes/one/sub/fsm.yaml")
    absolute = Repository.holding(tree / CONTRACT)
    assert absolute(str(tree / CONTRACT), "sub/fsm.yaml") == IncludedFile(
        "states: [a]\n", str(tree / "here/nodes/one/sub/fsm.yaml")
    )


def test_references_count_from_the_file_they_stand_in(tree: Path) -> None:
    repository = Repository.holding(Path(CONTRACT))
    assert isinstance(repository("here/nodes/one/sub/fsm.yaml", "fsm.yaml"), IncludedFile)
    assert repository("here/nodes/one/sub/fsm.yaml", "contract.yaml") == IncludeMissing(
        "here/nodes/one/sub/contract.yaml"
    )


def test_the_root_is_the_nearest_folder_with_a_mark_else_what_was_given(tree: Path) -> None:
    assert Repository.holding(Path(CONTRACT)).root == tree / "here"
    (tree / "here" / "nodes" / "pyproject.toml").touch()
    assert Repository.holding(Path(CONTRACT)).root == tree / "here" / "nodes"
    (tree / "bare" / "x").mkdir(parents=True)
    (tree / "bare" / "x" / "contract.yaml").touch()
    assert Repository.holding(Path("bare/x/contract.yaml"), Path("bare")).root == tree / "bare"
    assert Repository.holding(Path("bare/x/contract.yaml")).root == tree / "bare" / "x"


@pytest.mark.parametrize("reference", ["../one/sub/fsm.yaml", "/etc/hosts", "sub/../../x.yaml", "a\0b"])
def test_what_is_no_path_downwards_is_refused(tree: Path, reference: str) -> None:
    assert isinstance(Repository.holding(Path(CONTRACT))(CONTRACT, reference), IncludeRefused)


def test_a_link_inside_is_followed_and_one_that_leads_out_is_refused(tree: Path) -> None:
    home = tree / "here" / "nodes" / "one"
    (home / "inside.yaml").symlink_to("sub/fsm.yaml")
    (home / "up.yaml").symlink_to("../../../secret.yaml")
    (home / "out").symlink_to(tree)
    (home / "round.yaml").symlink_to("round.yaml")
    (home / "dangling.yaml").symlink_to("nothing.yaml")
    repository = Repository.holding(Path(CONTRACT))
    assert repository(CONTRACT, "inside.yaml") == IncludedFile("states: [a]\n", "here/nodes/one/sub/fsm.yaml")
    for reference in ("up.yaml", "out/secret.yaml"):
        answer = repository(CONTRACT, reference)
        assert isinstance(answer, IncludeRefused) and answer.code == "reference_outside"
    answer = repository(CONTRACT, "round.yaml")
    assert isinstance(answer, IncludeRefused) and answer.code == "reference_unreadable"
    assert isinstance(repository(CONTRACT, "dangling.yaml"), IncludeMissing)


def test_a_link_put_there_after_the_look_is_not_followed(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look finds a plain file, the opening a link: that of the file, and that of a folder above it."""
    home = tree / "here" / "nodes" / "one"
    judged = str(home / "sub" / "fsm.yaml")
    real = os.path.realpath
    monkeypatch.setattr(os.path, "realpath", lambda path: judged if str(path).endswith("fsm.yaml") else real(path))
    repository = Repository.holding(Path(CONTRACT))
    (home / "sub" / "fsm.yaml").unlink()
    (home / "sub" / "fsm.yaml").symlink_to(tree / "secret.yaml")
    assert isinstance(repository(CONTRACT, "sub/fsm.yaml"), IncludeRefused)
    (home / "sub" / "fsm.yaml").unlink()
    (home / "sub").rmdir()
    (tree / "elsewhere").mkdir()
    (tree / "elsewhere" / "fsm.yaml").write_text("x")
    (home / "sub").symlink_to(tree / "elsewhere")
    assert not isinstance(repository(CONTRACT, "sub/fsm.yaml"), IncludedFile)


def test_what_is_no_text_file_of_a_contracts_size_is_refused(tree: Path) -> None:
    home = tree / "here" / "nodes" / "one"
    os.mkfifo(home / "pipe.yaml")
    (home / "large.yaml").write_bytes(b"#" * (BYTES_MAX + 1))
    (home / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    repository = Repository.holding(Path(CONTRACT))
    for reference in ("pipe.yaml", "large.yaml", "latin.yaml", "sub", "."):
        answer = repository(CONTRACT, reference)
        assert isinstance(answer, IncludeRefused), reference
        assert answer.code == "reference_unreadable" and answer.message and answer.fix


@pytest.mark.parametrize(
    ("name", "code", "line"),
    [("latin.yaml", "not_utf8", 2), ("large.yaml", "yaml_too_large", 0), ("pipe.yaml", "unreadable", 0),
     ("none.yaml", "unreadable", 0), ("a\0b", "unreadable", 0), (".", "unreadable", 0)],
)  # fmt: skip
def test_a_contract_that_cannot_be_read_is_a_finding(tmp_path: Path, name: str, code: str, line: int) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * (BYTES_MAX + 1))
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(UnreadableContract) as raised:
        contract_text(Path(f"{tmp_path}/{name}"), "shown.yaml")
    finding = raised.value.finding
    assert (finding.code, finding.path, finding.line) == (code, "shown.yaml", line)
    assert finding.fix


def test_a_contract_may_be_as_large_as_a_contract_may_be(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"#" * BYTES_MAX)
    assert len(contract_text(tmp_path / "x.yaml")) == BYTES_MAX
