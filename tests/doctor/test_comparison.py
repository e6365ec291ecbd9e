"""Which contract is which: by name and kind wherever its file went, in folders and in git; and the classes beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.doctor.comparison import ContractComparison, compare, sides
from onex.doctor.payload_schemas import payload_schemas
from onex.repository.contract_files import NoSuchPath
from onex.repository.git_revision import RevisionUnreadable
from tests.app.apps import edit, job
from tests.app.repository import Repository

EFFECT = """name: {name}
node_type: EFFECT_GENERIC
contract_version: {{major: 1, minor: 0, patch: 0}}
description: {description}
event_bus:
  subscribe_topics: [{topic}]
  publish_topics: [done.v1, late.v1, lost.v1]
"""


def effect(file: Path, name: str, topic: str = "asked.v1", description: str = "of a test") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(EFFECT.format(name=name, topic=topic, description=description))
    return file


def by_name(found: list[ContractComparison]) -> dict[str, ContractComparison]:
    return {one.name: one for one in found}


def test_contracts_are_the_same_by_name_and_kind_wherever_their_files_went(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    effect(old / "a" / "contract.yaml", "mailer")
    effect(old / "b" / "contract.yaml", "printer")
    effect(old / "c" / "contract.yaml", "typist", "typed.v1", "who leaves")
    effect(new / "post" / "mailer.yaml", "mailer", "asked.v2")
    effect(new / "b" / "contract.yaml", "printer")
    effect(new / "d" / "contract.yaml", "reader", "read.v1", "who comes")
    found = by_name(compare(old, new))
    assert {name: (bool(one.old), bool(one.new), one.has_moved) for name, one in found.items()} == {
        "mailer": (True, True, True),
        "printer": (True, True, False),
        "reader": (False, True, False),
        "typist": (True, False, False),
    }
    assert [change.path for change in found["mailer"].difference.breaking] == [  # type: ignore[union-attr]  # both sides are there
        "event_bus.subscribe_topics[asked.v1]"
    ]
    assert found["printer"].difference.changes == ()  # type: ignore[union-attr]  # the same
    assert found["typist"].is_breaking and not found["reader"].is_breaking


def test_a_contract_that_was_renamed_with_its_folder_is_recognised_by_what_it_says(tmp_path: Path) -> None:
    effect(tmp_path / "old" / "mailer" / "contract.yaml", "mailer", description="sends letters")
    effect(tmp_path / "old" / "printer" / "contract.yaml", "printer", "print.v1", "prints letters")
    effect(tmp_path / "new" / "post" / "contract.yaml", "post", description="sends letters")
    effect(tmp_path / "new" / "printer" / "contract.yaml", "printer", "print.v1", "prints letters")
    (post, _) = compare(tmp_path / "old", tmp_path / "new")
    assert (post.old.name, post.new.name, post.has_moved) == ("mailer", "post", True)  # type: ignore[union-attr]  # both are there
    assert [change.path for change in post.difference.breaking] == ["name"]  # type: ignore[union-attr]  # the same


def test_two_files_are_compared_whatever_they_are_called(tmp_path: Path) -> None:
    old, new = effect(tmp_path / "a.yaml", "mailer"), effect(tmp_path / "b.yaml", "printer", description="other")
    (only,) = compare(old, new)
    assert [change.path for change in only.difference.changes] == ["name", "description"]  # type: ignore[union-attr]  # both load


def test_a_side_that_does_not_load_is_reported_and_not_compared(tmp_path: Path) -> None:
    old, new = effect(tmp_path / "a.yaml", "mailer"), tmp_path / "b.yaml"
    new.write_text("name: mailer\nnode_type: [")
    (only,) = compare(old, new)
    assert only.difference is None
    assert only.problem.startswith("the new one does not load: line 3: not YAML")
    (back,) = compare(new, old)
    assert back.problem.startswith("the old one did not load: line 3")


def test_a_folder_without_contracts_has_none_and_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert compare(tmp_path / "empty", tmp_path / "empty") == []
    with pytest.raises(NoSuchPath, match="does not exist"):
        compare(tmp_path / "empty", tmp_path / "nowhere")


# --- git --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """v1: mailer in post/, including a file beside it. v2: it hears another topic. Then it moved to letters/."""
    made = Repository(tmp_path / "tree")
    file = effect(made.root / "post" / "contract.yaml", "mailer")
    file.write_text(file.read_text() + "input_schema: !include letter.yaml\n")
    (made.root / "post" / "letter.yaml").write_text("type: object\nproperties: {to: {type: string}}\n")
    made.commit()
    made.git("tag", "v1")
    edit(file, "asked.v1", "asked.v2")
    made.commit()
    made.git("tag", "v2")
    (made.root / "post").rename(made.root / "letters")
    edit(made.root / "letters" / "letter.yaml", "string", "integer")
    monkeypatch.chdir(made.root)
    return made


def changes(old: str, new: str) -> list[str]:
    with sides(old, new, Path()) as (left, right):
        (only,) = compare(left, right)
    assert only.difference is not None, only.problem
    return [change.path for change in only.difference.changes]


HEARD = ["event_bus.subscribe_topics[asked.v1]", "event_bus.subscribe_topics[asked.v2]"]


@pytest.mark.parametrize(
    ("old", "new", "paths"),
    [
        ("v1", "v2", HEARD),
        ("v1", ".", ["input_schema.to", *HEARD]),
        ("v2", "./", ["input_schema.to"]),
        ("v1:post", "v2:post", HEARD),
        ("v1:post/contract.yaml", "letters/contract.yaml", ["input_schema.to", *HEARD]),
        ("letters/contract.yaml", "v2:post/contract.yaml", ["input_schema.to"]),
    ],
)
def test_either_side_may_be_a_revision_and_a_file_comes_with_what_it_includes(
    repository: Repository, old: str, new: str, paths: list[str]
) -> None:
    assert sorted(changes(old, new)) == sorted(paths)


def test_a_revision_beside_a_file_is_that_file_as_it_was(repository: Repository) -> None:
    (repository.root / "letters").rename(repository.root / "post")
    assert changes("v2", "post/contract.yaml") == ["input_schema.to"]
    assert changes("post/contract.yaml", "v2") == ["input_schema.to"]


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("v9", ".", "'v9' is neither a path nor a revision"),
        ("v1:post/other.yaml", ".", "^v1:post/other.yaml does not exist; REV:PATH names where it stood then"),
        ("v1", "letters/contract.yaml", "letters does not exist at 'v1'"),
        ("v1:nowhere", ".", "nowhere does not exist at 'v1:nowhere'"),
    ],
)
def test_what_git_does_not_have_is_refused_under_the_name_it_was_given(
    repository: Repository, old: str, new: str, sentence: str
) -> None:
    with pytest.raises(RevisionUnreadable, match=sentence), sides(old, new, Path()):
        raise AssertionError("there is no such side")


# --- classes ----------------------------------------------------------------------------------------------------------


def test_the_classes_of_an_app_are_compared_too(tmp_path: Path) -> None:
    old, new = job(tmp_path / "old"), job(tmp_path / "new")
    edit(new / "payloads.py", "class Begin(Payload):\n", "class Begin(Payload):\n    urgent: bool\n")
    (only,) = compare(old, new)
    assert [(change.path, change.reason) for change in only.difference.breaking] == [  # type: ignore[union-attr]  # both load
        ("triggers[begin].payload.urgent", "field 'urgent' is new and must be given")
    ]


def test_classes_that_cannot_be_loaded_are_reported_and_the_contract_is_compared(tmp_path: Path) -> None:
    old, new = job(tmp_path / "old"), job(tmp_path / "new")
    (new / "payloads.py").write_text("raise RuntimeError('not today')\n")
    (only,) = compare(old, new)
    assert only.difference is not None
    assert only.hints == ("new: payloads.py cannot be loaded: RuntimeError: not today",)


def test_what_a_module_prints_or_ends_with_does_not_reach_the_answer(tmp_path: Path) -> None:
    loud, gone, whole = job(tmp_path / "loud"), job(tmp_path / "gone"), job(tmp_path / "whole")
    edit(loud / "payloads.py", "class Begin", "print('{}')\n\n\nclass Begin")
    edit(gone / "payloads.py", "class Begin", "raise SystemExit(3)\n\n\nclass Begin")
    made = payload_schemas([loud, gone, whole])
    assert made[loud] == made[whole]
    assert sorted(made[whole].classes) == ["begin", "failed", "intents.make", "made", "state"]
    assert made[gone].problem == "payloads.py cannot be loaded: SystemExit: 3"
