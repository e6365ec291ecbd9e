"""An app's modules are found under a name of their own, from the bytes that were hashed, inside its folder only."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from onex.app import load_app, load_compute
from onex.kernel.errors import AlgorithmNotFoundError, ContractError
from onex.kernel.finding import Finding
from tests.app.apps import edit, job, write

THINK = """
from onex import compute

from .payloads import Made, Make


@compute("workshop")
def think(task: Make) -> Made:
    return Made(where=task.what * 2)
"""


def thinker(folder: Path, name: str = "job") -> Path:
    job(folder, name, effects="", compute=THINK)
    edit(folder / "contract.yaml", "type: file_operation", "type: compute_task")
    return folder


def test_the_path_and_the_folder_stay_as_they_were(tmp_path: Path) -> None:
    path = list(sys.path)
    app = load_app(job(tmp_path / "job"))
    assert sys.path == path
    assert "job" not in sys.modules
    assert app.workflows["job"].reducer.state_type.__module__ == f"_onex_{app.digest[:16]}.job.payloads"
    assert sorted(one.name for one in (tmp_path / "job").iterdir()) == [
        "contract.yaml",
        "effects.py",
        "payloads.py",
        "reducer.py",
    ]


def test_the_same_code_is_loaded_once(tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    first, second = load_app(folder), load_app(folder)
    assert first.workflows["job"].reducer.state_type is second.workflows["job"].reducer.state_type


def test_two_revisions_live_side_by_side(tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    old = load_app(folder)
    edit(folder / "payloads.py", 'what: str = ""', 'what: str = "new"')
    new = load_app(folder)
    assert (old.workflows["job"].reducer.initial().model_dump()["what"]) == ""
    assert (new.workflows["job"].reducer.initial().model_dump()["what"]) == "new"


def test_an_edit_within_the_same_second_is_seen(tmp_path: Path) -> None:
    """No bytecode is kept, so no time stamp of a file decides what runs."""
    folder = job(tmp_path / "job")
    stamps = set()
    for word in ("aa", "bb", "cc"):
        edit(folder / "payloads.py", 'what: str = "', f'what: str = "{word}')
        os.utime(folder / "payloads.py", (1_000_000_000, 1_000_000_000))
        stamps.add(load_app(folder).workflows["job"].reducer.initial().model_dump()["what"])
    assert stamps == {"aa", "bbaa", "ccbbaa"}


@pytest.mark.parametrize("what", ["reducer.py", "contract.yaml", "payloads.py"])
def test_a_link_that_leaves_the_folder_is_refused(tmp_path: Path, what: str) -> None:
    folder = job(tmp_path / "job")
    (folder / what).rename(tmp_path / what)
    (folder / what).symlink_to(tmp_path / what)
    with pytest.raises(ContractError, match="outside the app") as caught:
        load_app(folder)
    found = caught.value.findings[0]
    assert isinstance(found, Finding)
    assert (found.code, found.path) == ("outside", str(folder / what))


def test_a_linked_folder_that_leaves_is_refused(tmp_path: Path) -> None:
    job(tmp_path / "real" / "one", "one")
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "one").symlink_to(tmp_path / "real" / "one")
    with pytest.raises(ContractError, match="outside the app"):
        load_app(tmp_path / "shop")


def test_a_module_reached_by_import_that_leaves_is_refused_before_it_runs(tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    write(tmp_path, evil=f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    (folder / "rules.py").symlink_to(tmp_path / "evil.py")
    edit(folder / "reducer.py", "from .payloads", "from . import rules as rules\nfrom .payloads")
    with pytest.raises(ContractError, match="outside the app"):
        load_app(folder)
    hidden = "from importlib import import_module\nimport_module('.ru' + 'les', __package__)"
    edit(folder / "reducer.py", "from . import rules as rules", hidden)
    with pytest.raises(ContractError, match="outside the app"):
        load_app(folder)
    assert not (tmp_path / "ran").exists()


def test_a_link_inside_the_folder_and_a_linked_app_are_fine(tmp_path: Path) -> None:
    folder = job(tmp_path / "job")
    (folder / "reducer.py").rename(folder / "real.py")
    (folder / "reducer.py").symlink_to(folder / "real.py")
    (tmp_path / "alias").symlink_to(folder)
    assert list(load_app(tmp_path / "alias").workflows) == ["job"]


def test_a_relative_import_cannot_climb_out_of_the_app(tmp_path: Path) -> None:
    write(tmp_path, outside="x = 1\n")
    folder = job(tmp_path / "job")
    edit(folder / "reducer.py", "from .payloads", "from ..outside import x as x\nfrom .payloads")
    with pytest.raises(ContractError, match="importing failed"):
        load_app(folder)


def test_a_worker_finds_a_compute_function_by_names(tmp_path: Path) -> None:
    folder = thinker(tmp_path / "job")
    app = load_app(folder)
    assert load_compute(folder, app.digest, "job", "workshop") is app.workflows["job"].computes["workshop"]
    shop = tmp_path / "shop"
    thinker(shop / "one", "one")
    job(shop / "two", "two")
    both = load_app(shop)
    assert load_compute(shop, both.digest, "one", "workshop") is both.workflows["one"].computes["workshop"]
    for workflow, name in [("one", "garden"), ("two", "workshop"), ("three", "workshop")]:
        with pytest.raises(AlgorithmNotFoundError, match="has no compute function"):
            load_compute(shop, both.digest, workflow, name)


def test_a_worker_refuses_files_that_changed(tmp_path: Path) -> None:
    folder = thinker(tmp_path / "job")
    digest = load_app(folder).digest
    edit(folder / "compute.py", "* 2", "* 3")
    with pytest.raises(ContractError, match="Start the engine again"):
        load_compute(folder, digest, "job", "workshop")


def test_an_app_may_have_any_name_that_a_folder_may_have(tmp_path: Path) -> None:
    for name in ("my-app", "1st app", "class", "ümlaut"):
        assert list(load_app(job(tmp_path / name)).workflows) == ["job"]
