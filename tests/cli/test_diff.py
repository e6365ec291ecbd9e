"""`onex diff` says what breaks and the version it owes; `onex diagram` draws what a contract says. Neither runs a workflow."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.app.apps import edit
from tests.app.repository import Repository
from tests.cli.conftest import ORDERS, Commands

NODE = """name: mailer
node_type: EFFECT_GENERIC
contract_version: {major: 1, minor: 0, patch: 0}
description: sends letters
"""
WORK = """name: nightly
node_type: ORCHESTRATOR_GENERIC
contract_version: {major: 1, minor: 0, patch: 0}
workflow_coordination:
  workflow_definition:
    execution_graph:
      nodes:
        - {node_id: fetch, node_type: EFFECT_GENERIC}
        - {node_id: sum, node_type: COMPUTE_GENERIC, depends_on: [fetch]}
"""


@pytest.fixture
def shop(place: Path) -> Repository:
    """The example at v1; in the work tree an order can no longer be cancelled in doubt, and a reminder comes later."""
    made = Repository(place / "shop")
    shutil.copytree(ORDERS, made.root / "orders", ignore=shutil.ignore_patterns("__pycache__"))
    made.commit()
    made.git("tag", "v1")
    contract = made.root / "orders" / "contract.yaml"
    edit(contract, "    - {from_state: in_doubt, to_state: cancelled, trigger: cancel}\n", "")
    edit(contract, "timeout_ms: 604800000", "timeout_ms: 86400000")
    edit(contract, "minor: 0", "minor: 1")
    return made


def test_each_change_is_told_with_its_reason_its_line_and_what_it_owes(
    commands: Commands, shop: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.root)
    told = commands("diff", "v1", "orders")
    assert told.code == 1
    assert told.out.splitlines() == [
        "orders  reducer  1.0.0 -> 1.1.0  contract.yaml",
        "  breaks  - state_machine.transitions[in_doubt: cancel] (was line 29)",
        "            'cancel' no longer leads from 'in_doubt' to 'cancelled'",
        "  adds    ~ state_machine.states[basket].timeout_ms: 604800000 -> 86400000 (line 12)",
        "            its timer fires at another time",
        "          ~ contract_version: 1.0.0 -> 1.1.0 (line 2)",
        "            this is the bump that was made",
        "  breaking, requires major (2.0.0), got minor: raise contract_version",
        "",
        "1 contract: 1 changed; 1 breaking; 1 with too small a version bump",
    ]


def test_a_version_that_went_down_is_called_so(
    commands: Commands, shop: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.root)
    edit(shop.root / "orders" / "contract.yaml", "major: 1, minor: 1", "major: 0, minor: 9")
    told = commands("diff", "v1", "orders")
    assert (told.code, told.out.splitlines()[-3]) == (
        1,
        "  breaking, requires major (2.0.0), but it was lowered: raise contract_version",
    )


def test_for_programs_it_is_one_document(commands: Commands, shop: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.root)
    row = commands("diff", "v1", "orders", "--json").row
    assert (row["breaking"], row["short"]) == (True, True)
    assert row["summary"] == {
        "contracts": 1, "added": 0, "removed": 0, "changed": 1, "moved": 0, "not_compared": 0
    }  # fmt: skip
    contracts = row["contracts"]
    assert isinstance(contracts, list) and isinstance(only := contracts[0], dict)
    assert {name: only[name] for name in ("name", "kind", "what", "owed", "made", "short", "problem")} == {
        "name": "orders", "kind": "reducer", "what": "both", "owed": "major", "made": "minor", "short": True, "problem": "",
    }  # fmt: skip
    assert isinstance(changes := only["changes"], list)
    assert changes[0] == {
        "path": "state_machine.transitions[in_doubt: cancel]",
        "what": "removed",
        "old": {"from_state": "in_doubt", "to_state": "cancelled", "trigger": "cancel"},
        "new": None,
        "breaking": True,
        "bump": "major",
        "reason": "'cancel' no longer leads from 'in_doubt' to 'cancelled'",
        "line_old": 29,
        "line_new": 0,
    }


def test_a_version_that_says_enough_is_fine_unless_breaking_is_asked_for(
    commands: Commands, shop: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.root)
    edit(shop.root / "orders" / "contract.yaml", "major: 1", "major: 2")
    told = commands("diff", "v1", "orders")
    assert (told.code, told.out.splitlines()[-3]) == (0, "  breaking, requires major (2.0.0), got major")
    assert commands("diff", "v1", "orders", "--breaking").code == 1
    assert commands("diff", "v1", "v1").out == "1 contract: no differences\n"


def test_contracts_that_came_and_went_are_counted(commands: Commands, place: Path) -> None:
    for side, names in (("old", ("mailer", "printer")), ("new", ("mailer", "typist"))):
        (place / side).mkdir()
        for name in names:
            (place / side / f"{name}.yaml").write_text(NODE.replace("mailer", name).replace("letters", name))
    told = commands("diff", "old", "new")
    assert (told.code, told.out.splitlines()) == (
        0,
        [
            "gone    printer  effect  1.0.0  printer.yaml",
            "new     typist  effect  1.0.0  typist.yaml",
            "",
            "3 contracts: 1 added, 1 removed; 1 breaking",
        ],
    )
    assert commands("diff", "old", "new", "--breaking").code == 1


def test_changes_on_which_nobody_acts_are_shown_when_asked_for(commands: Commands, place: Path) -> None:
    (place / "a.yaml").write_text(f"{NODE}testing: {{cases: 1}}\n")
    (place / "b.yaml").write_text(f"{NODE}testing: {{cases: 2}}\n")
    assert commands("diff", "a.yaml", "b.yaml").out == "1 contract: no differences\n"
    told = commands("diff", "a.yaml", "b.yaml", "--all")
    assert (told.code, told.out.splitlines()[1:4]) == (
        0,
        [
            "          ~ testing (line 5)",
            "            no field holds it, and nobody acts on it",
            "  requires none, got none",
        ],
    )


def test_a_new_side_that_does_not_load_is_found_an_old_one_is_told(commands: Commands, place: Path) -> None:
    (place / "a.yaml").write_text(NODE)
    (place / "b.yaml").write_text("name: mailer\nnode_type: [\n")
    there, back = commands("diff", "a.yaml", "b.yaml"), commands("diff", "b.yaml", "a.yaml")
    assert (there.code, back.code) == (1, 0)
    assert "not compared: the new one does not load: line 3" in there.out
    assert "not compared: the old one did not load: line 3" in back.out


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("diff", "nowhere", "a.yaml"), 2, "'nowhere' is no path that exists, and no git revision either"),
        (("diff", "./nowhere", "a.yaml"), 2, "./nowhere does not exist"),
        (("diff", "a.yaml"), 2, "Missing argument 'NEW'"),
        (("diagram", "nowhere"), 2, "nowhere does not exist"),
        (("diagram", "a.yaml"), 2, "a.yaml has nothing to draw: no state machine, no steps of a workflow"),
        (("diagram", "broken.yaml"), 1, "broken.yaml:3:1: error [yaml_syntax]"),
        (("diagram", "work.yaml", "--svg", "no/where.svg"), 2, "no/where.svg cannot be written"),
        (("diagram", "work.yaml", "--svg", "a.svg", "--json"), 2, "--json and --svg do not go together"),
        (("diagram", ".", "--svg", "a.svg"), 2, "has 2 pictures (again, nightly); choose one with --type"),
    ],
)
def test_a_mistake_is_a_sentence(
    commands: Commands, place: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    (place / "a.yaml").write_text(NODE)
    (place / "broken.yaml").write_text("name: mailer\nnode_type: [\n")
    (place / "work.yaml").write_text(WORK)
    (place / "again.yaml").write_text(WORK.replace("nightly", "again"))
    told = commands(*words)
    assert (told.code, sentence in " ".join(told.err.split())) == (code, True), told.err


# --- diagram ----------------------------------------------------------------------------------------------------------


def test_a_picture_is_a_file_of_its_own(commands: Commands, place: Path) -> None:
    told = commands("diagram", ORDERS, "--svg", "orders.svg")
    assert (told.code, told.out, told.err) == (0, "", "wrote orders.svg\n")
    texts = {
        element.text for element in ElementTree.parse(place / "orders.svg").iter() if element.tag.endswith("}text")
    }
    assert {"basket", "charging", "shipped", "abandon after 7 d", "[payload.items.size() > 0]"} <= texts
    assert (place / "orders.svg").read_text() == commands("diagram", ORDERS, "--format", "svg").out


def test_an_orchestrator_is_drawn_as_its_steps(commands: Commands, place: Path) -> None:
    (place / "work.yaml").write_text(WORK)
    assert commands("diagram", "work.yaml").out.splitlines() == [
        "flowchart TD",
        '    n0["fetch<br><small>EFFECT_GENERIC</small>"]',
        '    n1["sum<br><small>COMPUTE_GENERIC</small>"]',
        "    n0 --> n1",
    ]


def test_files_that_cannot_be_read_are_counted_beside_those_that_can(commands: Commands, place: Path) -> None:
    (place / "work.yaml").write_text(WORK)
    (place / "broken.yaml").write_text("name: mailer\nnode_type: [\n")
    told = commands("diagram", ".")
    assert (told.code, told.out.startswith("flowchart TD")) == (0, True)
    assert told.err == "1 contract of 2 cannot be read; onex check . says why\n"


def test_no_code_is_imported_to_draw(commands: Commands, place: Path) -> None:
    shutil.copytree(ORDERS, place / "orders", ignore=shutil.ignore_patterns("__pycache__"))
    (place / "orders" / "payloads.py").write_text("raise SystemExit('imported')\n")
    assert commands("diagram", "orders").out == commands("diagram", ORDERS).out
