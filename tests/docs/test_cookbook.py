"""Each recipe of the cookbook does what its page says, and its apps hold under crashes and faults."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from onex.app import load_app
from onex.simulation.app_sim.app_under_test import load_app_under_test
from onex.simulation.app_sim.run import run_app
from onex.simulation.app_sim.runner import RunPlan, workspace
from tests.docs.transcript import Block, blocks, played
from tests.laws.tree import ROOT

COOKBOOK = ROOT / "docs" / "cookbook"
INDEX = COOKBOOK / "README.md"
RECIPES = sorted(page for page in COOKBOOK.glob("*.md") if page != INDEX)
HEADINGS = ("## When it crashes in between", "## Watch out", "## Contract first")
SEEDS = 4
FOUND = {"stop-while-in-flight": (119, 1010)}
"""Seeds that found a fault of the engine: what was cancelled ran, where the answer to a commit was lost."""

NAIVE_SEEDS = 16

one_recipe = pytest.mark.parametrize("page", RECIPES, ids=lambda page: page.stem)


def apps(page: Path) -> list[Block]:
    """The blocks that a page writes as files; each is an app, or the simulation of the app before it."""
    return [block for block in blocks(page.read_text()) if "file" in block.options]


def written(page: Path, folder: Path) -> list[Path]:
    """These files, in folders of their own."""
    files: list[Path] = []
    for number, block in enumerate(apps(page)):
        name = Path(block.options["file"]).name
        if name.endswith("_simulation.py"):
            (files[-1].parent / name).write_text(block.text)
            continue
        file = folder / str(number) / name
        file.parent.mkdir(parents=True)
        file.write_text(block.text)
        files.append(file)
    return files


@one_recipe
def test_the_recipe_does_what_its_page_shows(page: Path, tmp_path: Path) -> None:
    with played(str(page.relative_to(ROOT)), blocks(page.read_text()), tmp_path):
        pass


@one_recipe
def test_its_apps_have_no_finding_and_hold_under_faults(page: Path, tmp_path: Path) -> None:
    files = written(page, tmp_path)
    assert files
    for file in files:
        assert load_app(file).findings == ()
        under_test = load_app_under_test(file)
        with workspace() as where:
            for seed in (*range(SEEDS), *FOUND.get(page.stem, ())):
                result = run_app(under_test, RunPlan(str(file)).script(seed), where, drawn=True)
                assert [str(one) for one in result.violations] == []


@pytest.mark.parametrize("naive", ['"nothing_came", "stopping -> ', 'render.unknown, "stopping -> '])
def test_the_recipe_that_stops_finds_the_naive_form(naive: str, tmp_path: Path) -> None:
    """What waited for a retry has no outcome, though a try may have been done: an edge to ``stopped`` would say it was not."""
    (file,) = written(COOKBOOK / "stop-while-in-flight.md", tmp_path)
    text = file.read_text()
    assert text.count(f"{naive}in_doubt") == 1
    file.write_text(text.replace(f"{naive}in_doubt", f"{naive}stopped"))
    under_test = load_app_under_test(file)
    plan = RunPlan(str(file))
    with workspace() as where:
        found = {
            violation.rule
            for seed in range(NAIVE_SEEDS)
            for violation in run_app(under_test, plan.script(seed), where, drawn=True).violations
        }
    assert found == {"what_is_stopped_was_not_rendered"}


@one_recipe
def test_its_page_says_what_a_recipe_says(page: Path) -> None:
    text = page.read_text()
    assert [heading for heading in HEADINGS if f"\n{heading}\n" not in text] == []


@one_recipe
def test_what_it_writes_contract_first_is_in_the_derived_contract(page: Path, tmp_path: Path) -> None:
    """Each row of the YAML is a row of an app on the page, where it may say more: what a rule gives may be left out."""
    workflows = [one for file in written(page, tmp_path) for one in load_app(file).workflows.values()]
    contracts = [yaml.safe_load(one.contract_text) for one in workflows]
    for block in blocks(page.read_text()):
        if block.language != "yaml":
            continue
        for kind, rows in yaml.safe_load(block.text).items():
            known = [row for one in contracts for row in (one | one["state_machine"]).get(kind, ())]
            unknown = [row for row in rows if not any(row == {key: there.get(key) for key in row} for there in known)]
            assert unknown == []


def test_the_index_lists_every_recipe_once() -> None:
    linked = re.findall(r"\]\(([\w-]+\.md)\)", INDEX.read_text())
    assert sorted(linked) == [page.name for page in RECIPES]


def test_the_apps_are_in_form(tmp_path: Path) -> None:
    files = [file for page in RECIPES for file in written(page, tmp_path / page.stem)]
    tools = [
        ("ruff", "format", "--isolated", "--line-length", "120", "--check"),
        ("ruff", "check", "--isolated", "--line-length", "120", "--select", "E,F,I,B,UP"),
    ]
    for tool in tools:
        ran = subprocess.run(
            [Path(sys.executable).with_name(tool[0]), *tool[1:], *files], capture_output=True, text=True, cwd=tmp_path
        )
        assert ran.returncode == 0, ran.stdout


@pytest.mark.long
def test_the_apps_are_typed_strictly(tmp_path: Path) -> None:
    """A wrong field, payload or status in a recipe is an error of mypy. One run each: files of two pages have one name."""
    for page in RECIPES:
        for file in written(page, tmp_path / page.stem):
            ran = subprocess.run(
                [sys.executable, "-m", "mypy", "--strict", "--cache-dir", tmp_path / "cache", file],
                capture_output=True,
                text=True,
                check=False,
            )
            assert ran.returncode == 0, ran.stdout
