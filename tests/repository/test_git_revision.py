"""Code at a revision is what was committed, in a folder of its own, and the repository does not notice."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from onex.app import load_app
from onex.repository.git_revision import RevisionUnreadable, checkout, is_revision
from tests.app.apps import edit, job, write
from tests.app.repository import Repository
from tests.authoring.declared import WHOLE
from tests.authoring.declared import app as declared


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """Three commits of the app ``shop/job``: as first written (tag v1), with a louder reducer, and moved to ``shop/work``."""
    repository = Repository(tmp_path / "tree")
    app = job(repository.root / "shop" / "job")
    repository.commit()
    repository.git("tag", "v1")
    edit(app / "reducer.py", "where=action.payload.where", "where=action.payload.where + '!'")
    repository.commit()
    repository.git("tag", "v2")
    app.rename(app.with_name("work"))
    repository.commit()
    return repository


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


def test_a_revision_is_what_was_committed_and_is_gone_afterwards(repository: Repository) -> None:
    app = repository.root / "shop" / "job"
    with checkout("v1", app) as old:
        assert old.name == "job"
        assert files(old) == ["contract.yaml", "effects.py", "payloads.py", "reducer.py"]
        assert "'!'" not in (old / "reducer.py").read_text()
        assert repository.git("rev-parse", "v1")[:12] in old.parts
    assert not old.exists()
    assert not old.parent.parent.exists()


def test_it_is_gone_after_an_interrupt_too(repository: Repository) -> None:
    with pytest.raises(KeyboardInterrupt), checkout("v1", repository.root / "shop" / "job") as old:
        raise KeyboardInterrupt
    assert not old.parent.parent.exists()


def test_a_path_that_exists_is_itself_whatever_git_has_of_that_name(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository.root)
    (repository.root / "v1").mkdir()
    assert not is_revision("v1")
    with checkout("v1", Path("shop/work")) as found:
        assert found == Path("v1")
    assert not is_revision("./v2")
    assert is_revision("v2")
    with pytest.raises(RevisionUnreadable, match=r"\./v2 does not exist"), checkout("./v2", Path("shop/work")):
        pass


def test_a_path_inside_the_revision_can_be_named(repository: Repository) -> None:
    with checkout("v2:shop/job", repository.root / "shop" / "work") as old:
        assert old.name == "job"
        assert "'!'" in (old / "reducer.py").read_text()
    with checkout("v2:", repository.root / "shop") as top:
        assert top.name == "tree"
        assert "shop/job/contract.yaml" in files(top)


def test_the_whole_repository_can_be_the_app(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "job")
    job(repository.root)
    repository.commit()
    with checkout("HEAD", repository.root) as old:
        assert load_app(old).digest == load_app(repository.root).digest


def test_an_app_in_a_folder_whose_name_begins_with_a_dot(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "tree")
    app = job(repository.root / ".kept" / "job")
    repository.commit()
    with checkout("HEAD", app) as old:
        assert load_app(old).digest == load_app(app).digest


def test_two_revisions_of_one_app_are_loaded_side_by_side(repository: Repository) -> None:
    app = repository.root / "shop" / "job"
    with checkout("v1", app) as first, checkout("v2", app) as second:
        quiet, loud = load_app(first), load_app(second)
        assert quiet.workflows["job"].code.digest != loud.workflows["job"].code.digest
        states = {one.workflows["job"].reducer.state_type for one in (quiet, loud)}
    assert len({state.__module__ for state in states}) == 2
    assert {sys.modules[state.__module__].__dict__["Job"] for state in states} == states


def test_the_repository_does_not_notice(repository: Repository) -> None:
    app = repository.root / "shop" / "work"
    (app / "notes.txt").write_text("not committed")
    edit(app / "reducer.py", "'!'", "'?'")
    repository.git("add", str(app / "reducer.py"))
    edit(app / "reducer.py", "'?'", "'??'")

    def all_of_it() -> dict[str, tuple[int, bytes]]:
        found = {name: repository.root / name for name in files(repository.root)}
        return {name: (path.stat().st_mtime_ns, path.read_bytes()) for name, path in found.items()}

    before = all_of_it()
    with checkout("HEAD", app):
        pass
    assert all_of_it() == before


def test_no_attribute_of_the_repository_changes_a_byte(tmp_path: Path) -> None:
    """``git archive`` would: ``export-subst`` rewrites, ``export-ignore`` leaves out, ``eol`` converts, filters run programs."""
    repository = Repository(tmp_path / "tree")
    app = job(repository.root / "job")
    write(app, table="KEPT = '$Format:%H$'\n")
    repository.commit()
    (repository.root / ".gitattributes").write_text("* export-subst eol=crlf filter=shout\npayloads.py export-ignore\n")
    repository.commit()
    repository.git("config", "filter.shout.smudge", f"touch {tmp_path}/ran; cat")
    with checkout("HEAD", app) as old:
        assert {name: (old / name).read_bytes() for name in files(old)} == {
            name: (app / name).read_bytes() for name in files(app)
        }
    assert not (tmp_path / "ran").exists()


def test_git_variables_of_a_hook_lead_nowhere_else(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", os.devnull)
    monkeypatch.setenv("GIT_WORK_TREE", "/")
    with checkout("v1", repository.root / "shop" / "job") as old:
        assert (old / "contract.yaml").is_file()


@pytest.mark.parametrize(
    ("spec", "reported"),
    [
        ("v3", "'v3' is neither a path nor a revision of .*; git tag and git log name revisions"),
        ("--output=x", "is no git revision"),
        ("", "'' is no git revision"),
        (":shop/job", "'' is no git revision"),
        ("v1\0", "is no git revision"),
        ("v1..v2", "is neither a path nor a revision"),
        ("^v1", "is neither a path nor a revision"),
        ("v1:shop/work", r"shop/work does not exist at 'v1:shop/work' \(commit .*REV:path"),
        ("v1:../job", "counts from the repository's root"),
        ("v1:./job", "counts from the repository's root"),
        ("v1:/etc", "counts from the repository's root"),
        ("v1:*", "does not exist"),
        ("HEAD", "shop/job does not exist at 'HEAD'"),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_step(repository: Repository, spec: str, reported: str) -> None:
    with pytest.raises(RevisionUnreadable, match=reported), checkout(spec, repository.root / "shop" / "job"):
        pass


def test_outside_a_repository_there_are_no_revisions(tmp_path: Path) -> None:
    with (
        pytest.raises(RevisionUnreadable, match="'v1' is no path that exists, and no git revision either"),
        checkout("v1", tmp_path),
    ):
        pass


def test_a_machine_without_git_is_reported(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository.root))
    with (
        pytest.raises(RevisionUnreadable, match=r"git cannot be started .*install it, or name a folder"),
        checkout("v1", repository.root),
    ):
        pass


@pytest.mark.parametrize(
    ("link", "leads"),
    [
        ("out.py", "../../secret.py"),
        ("out.py", "/etc/passwd"),
        ("out.py", "deep/down/near/../../secret.py"),  # looks as if it stayed: near is itself a link upwards
    ],
)
def test_a_link_that_leaves_the_app_is_refused(tmp_path: Path, link: str, leads: str) -> None:
    repository = Repository(tmp_path / "tree")
    app = job(repository.root / "job")
    (app / "deep" / "down").mkdir(parents=True)
    (app / "deep" / "down" / "near").symlink_to("../..")
    (app / link).symlink_to(leads)
    repository.commit()
    with pytest.raises(RevisionUnreadable, match=f"job/{link} is a link out of it"), checkout("HEAD", app):
        pass


def test_a_link_that_stays_is_kept(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "tree")
    app = job(repository.root / "job", reducer="")
    write(app, parts__reducer="KIND = 1\n")
    (app / "same.py").symlink_to("parts/reducer.py")
    repository.commit()
    with checkout("HEAD", app) as old:
        assert (old / "same.py").read_text() == "KIND = 1\n"


def test_a_submodule_is_refused(repository: Repository) -> None:
    app = repository.root / "shop" / "work"
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},shop/work/vendored")
    repository.git("commit", "--quiet", "--message", "a submodule")
    with pytest.raises(RevisionUnreadable, match="shop/work/vendored is a submodule"), checkout("HEAD", app):
        pass


def test_a_python_file_comes_with_what_it_may_import(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "tree")
    folder = declared(repository.root / "apps", WHOLE.replace("class Begin(Payload):\n    what: str\n", "").replace(
        "\n\nclass Job", "\nfrom .words import Begin\n\n\nclass Job"
    ), words="from onex import Payload\n\n\nclass Begin(Payload):\n    what: str\n")  # fmt: skip
    (folder / "notes.txt").write_text("no code")
    repository.commit()
    (folder / "words.py").write_text("")
    with checkout("HEAD", folder / "app.py") as old:
        assert files(old.parent) == ["app.py", "words.py"]
        assert list(load_app(old).workflows) == ["jobs"]
        assert repository.git("rev-parse", "HEAD")[:12] in old.parts
    with pytest.raises(RevisionUnreadable, match="does not exist at 'HEAD'"), checkout("HEAD", folder / "other.py"):
        pass
