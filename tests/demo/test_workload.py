"""A job says beforehand what it will do, and says the same at every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.cli.demo.workload import JobMissing, code_analysis, example, orders


def test_orders_have_two_effects_each(tmp_path: Path) -> None:
    job = orders(120, tmp_path)
    assert (len(job.inputs), job.effects) == (120, 240)
    assert job.inputs[0].key == "orders:001"


def test_the_same_job_sends_the_same_ids(tmp_path: Path) -> None:
    assert orders(20, tmp_path).inputs == orders(20, tmp_path).inputs
    assert len({one.action_id for one in orders(20, tmp_path).inputs}) == 20


def test_a_tree_is_its_python_files_without_what_is_hidden_or_foreign(tmp_path: Path) -> None:
    for name in ("a.py", "b/c.py", "b/note.txt", ".git/d.py", "site-packages/e.py", "b/__pycache__/f.py", "env/g.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "env/pyvenv.cfg").write_text("")
    (tmp_path / "venv").mkdir()
    (tmp_path / "venv/module.py").write_text("")  # a package may be called so: the standard library has one
    job = code_analysis(tmp_path, tmp_path / "demo")
    assert [one.key for one in job.inputs if one.trigger == "discover"] == [
        "code_file:demo/a.py",
        "code_file:demo/b/c.py",
        "code_file:demo/venv/module.py",
    ]
    assert job.effects == 7


def test_a_name_that_is_no_instance_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("")
    (tmp_path / f"{'x' * 200}.py").write_text("")
    (tmp_path / "line\nbreak.py").write_text("")
    assert code_analysis(tmp_path, tmp_path / "demo").effects == 3


def test_a_folder_without_python_is_no_job(tmp_path: Path) -> None:
    with pytest.raises(JobMissing, match="holds no Python file"):
        code_analysis(tmp_path, tmp_path / "demo")


def test_the_standard_library_is_there(tmp_path: Path) -> None:
    keys = {one.key for one in code_analysis(None, tmp_path).inputs}
    assert {"code_file:demo/json/decoder.py", "code_directory:demo/json", "code_total:demo"} <= keys


def test_an_example_is_found_by_name() -> None:
    assert (example("orders") / "contract.yaml").is_file()
    with pytest.raises(JobMissing, match="parcels"):
        example("parcels")
