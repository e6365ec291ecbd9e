"""`onex check`: files and folders of any family, apps with their code; what is said, and what the exit code is."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from onex.cli.main import main
from tests.cli.conftest import JOBS, ONEX, ORDERS, ROOT, Commands, Process

EFFECT = """\
name: mailer
contract_version: {major: 1, minor: 0, patch: 0}
node_type: EFFECT_GENERIC
description: Sends mail
input_model: {name: ModelMail, module: shop.mail}
event_bus: {subscribe_topics: [onex.cmd.shop.mail.v1]}
"""
BROKEN = "name: x\nnode_type: compute\nname: y\n"


@pytest.fixture
def tree(place: Path) -> Path:
    """Two contracts of others, one of them broken, an app of ours, and files that are no contracts."""
    root = place / "here"
    for path, text in {
        "mail/contract.yaml": EFFECT,
        "calc/node.yml": BROKEN,
        "docker-compose.yaml": "services: {db: {image: x}}\n",
        ".github/workflow.yaml": EFFECT,
        "node_modules/x/contract.yaml": EFFECT,
        ".venv/contract.yaml": EFFECT,
        "notes.txt": "node_type: no YAML",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    shutil.copytree(ORDERS, root / "orders", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def rows(commands: Commands, *words: str | Path) -> dict[str, Any]:
    return commands("check", *words, "--json").row


# --- which files ------------------------------------------------------------------------------------------------------


def test_a_folder_is_searched_for_contracts_and_apps(commands: Commands, tree: Path) -> None:
    found = rows(commands, "here")
    assert [(one["path"], one["ok"], one["node_type"], one["family"]) for one in found["files"]] == [
        ("here/calc/node.yml", False, "compute", "H"),
        ("here/mail/contract.yaml", True, "effect", "C"),
        ("here/orders/contract.yaml", True, "reducer", "onex"),
    ]
    assert [(one["path"], one["ok"]) for one in found["apps"]] == [("here/orders", True)]
    assert (found["ok"], found["summary"]["files"], found["summary"]["skipped"]) == (False, 3, 1)


def test_a_file_that_is_taken_for_no_contract_is_named_when_all_is_asked_for(commands: Commands, place: Path) -> None:
    (place / "here").mkdir()
    (place / "here" / "mail.yaml").write_text("name: mail\nnode_type: effect\n")
    (place / "here" / "slip.yaml").write_text("name: slip\nnode_typ: effect\n")
    told = "1 YAML file has no node_type at the top level: not a contract"
    assert commands("check", "here").out.endswith(f"{told}\n")
    assert commands("check", "here", "--all").out.endswith(f"{told}:\n  here/slip.yaml\n")
    assert rows(commands, "here")["skipped"] == ["here/slip.yaml"]


@pytest.fixture
def beside(place: Path) -> Path:
    """A workflow, a copy of it under a name with a dot, and folders of other things."""
    for name in ("orders", "orders-1.0"):
        shutil.copytree(ORDERS, place / "shop" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("data", "node_modules"):
        (place / "shop" / name).mkdir()
        (place / "shop" / name / "contract.yaml").write_text("dogs: 2\n")
    return place / "shop"


def test_folders_that_are_no_package_are_passed_over_and_said(
    commands: Commands, beside: Path, processes: type[Process]
) -> None:
    told = commands("check", "shop")
    assert (told.code, told.out.splitlines()) == (
        0,
        [
            "shop/data is passed over as a workflow: its contract.yaml has no node_type at its top",
            "shop/orders-1.0 is passed over as a workflow: its name is no name of a Python package",
            *["orders 1.0.0: ok. 6 statuses, 8 triggers, 2 intents"] * 2,  # each by itself
        ],
    )
    assert {one["code"] for one in rows(commands, "shop")["beside"]} == {"passed_over"}
    ran = processes("run", "shop", "--until-idle").end()
    assert ran.code == 0
    assert "running orders on" in ran.err
    assert "passed over shop/orders-1.0: its name is no name of a Python package" in ran.err


def test_a_folder_without_contracts_is_a_fault_only_where_it_is_all_there_is(commands: Commands, beside: Path) -> None:
    told = commands("check", *(f"shop/{name}" for name in ("orders", "data", "node_modules")))
    assert told.code == 0
    assert told.out.count("is passed over as a workflow: no YAML file in it has node_type at its top") == 2
    assert commands("check", "shop/node_modules", "shop/data").code == 1


def test_a_workflow_with_a_name_that_is_no_package_is_named_where_it_is_the_only_one(
    commands: Commands, beside: Path
) -> None:
    shutil.rmtree(beside / "orders")
    told = commands("run", "shop", "--until-idle")
    assert told.code != 0
    assert "no sub-folder of it holds a contract.yaml, except data: " in told.err
    assert "orders-1.0: its name is no name of a Python package; rename it, for example orders_1_0" in told.err
    assert commands("check", "shop/orders-1.0").code == 0


def test_files_and_folders_may_be_mixed_and_each_is_read_once(commands: Commands, tree: Path) -> None:
    (tree / "link.yaml").symlink_to("mail/contract.yaml")
    paths = ["here/mail/contract.yaml", "here", "here/mail", "here/docker-compose.yaml"]
    found = rows(commands, *paths)
    assert len({one["path"] for one in found["files"]}) == len(found["files"]) == 4
    named = next(one for one in found["files"] if one["path"] == "here/docker-compose.yaml")
    assert not named["ok"], "a file that is named is a contract, or it is wrong"


def test_a_contract_that_is_named_is_read_without_its_code(commands: Commands, tree: Path) -> None:
    (tree / "orders" / "payloads.py").write_text("raise SystemExit('imported')")
    assert commands("check", "here/orders/contract.yaml").code == 0
    assert commands("check", "here/orders", "--no-code").code == 0
    assert commands("check", "here/orders").code == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("nowhere", "nowhere does not exist; name a contract, an app, or a folder with any"),
        ("empty", "empty holds no contract: no YAML file in it has node_type at its top"),
        ("notes.txt", "notes.txt is no YAML file; name a contract, or name the folder that holds it"),
        ("empty --fix --diff", "--fix writes and --diff only shows; choose one"),
        ("empty --json --sarif -", "--json needs standard output for itself"),
        ("", "Missing argument"),
        ("x" * 300, "cannot be looked at"),
    ],
)
def test_a_path_that_cannot_be_checked_is_one_sentence(commands: Commands, place: Path, words: str, told: str) -> None:
    (place / "empty").mkdir()
    (place / "notes.txt").touch()
    answer = commands("check", *words.split())
    assert (answer.code, told in answer.err) == (2, True), answer.err
    assert "Traceback" not in answer.err


def test_a_folder_that_cannot_be_listed_is_told_and_the_rest_is_read(
    commands: Commands, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def scandir(path: str) -> object:
        if os.fspath(path).endswith("calc"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = rows(commands, "here", "--no-code")
    assert [(one["code"], one["severity"], one["path"]) for one in found["beside"]] == [
        ("unlisted", "warning", "here/calc")
    ]
    assert [one["path"] for one in found["files"]] == ["here/mail/contract.yaml", "here/orders/contract.yaml"]
    assert commands("check", "here", "--no-code", "--strict").code == 1
    assert "here/calc cannot be listed: Permission denied" in commands("check", "here/calc").err


def test_what_cannot_be_read_is_a_finding_of_its_file(commands: Commands, place: Path) -> None:
    (place / "latin.yaml").write_bytes(b"name: x\nnode_type: \xe9\n")
    (place / "large.yaml").write_text("node_type: x\n" + "#" * 300_000)
    os.mkfifo(place / "pipe.yaml")
    found = rows(commands, "latin.yaml", "large.yaml", "pipe.yaml")
    assert [(one["path"], [f["code"] for f in one["findings"]]) for one in found["files"]] == [
        ("latin.yaml", ["not_utf8"]), ("large.yaml", ["yaml_too_large"]), ("pipe.yaml", ["unreadable"]),
    ]  # fmt: skip
    told = commands("check", "large.yaml", "pipe.yaml").out  # nor is a pipe waited for to be quoted
    assert "large.yaml: error [yaml_too_large] the file has more than 262,144 bytes\n" in told
    assert "pipe.yaml: error [unreadable] is no plain file\n" in told


# --- what is said -----------------------------------------------------------------------------------------------------


def test_check_says_that_an_app_is_fine(commands: Commands) -> None:
    told = commands("check", ORDERS)
    assert (told.code, told.out) == (0, "orders 1.0.0: ok. 6 statuses, 8 triggers, 2 intents\n")
    row = rows(commands, ORDERS)
    assert (row["ok"], row["files"][0]["findings"]) == (True, [])
    assert [one["name"] for app in row["apps"] for one in app["workflows"]] == ["orders"]


def test_check_shows_every_problem_of_an_app_at_its_place(commands: Commands, tree: Path) -> None:
    contract = tree / "orders" / "contract.yaml"
    contract.write_text(
        contract.read_text().replace("to_state: charging, trigger: place", "to_state: chargin, trigger: plase")
    )
    told = commands("check", "here/orders")
    assert told.code == 1
    assert "here/orders/contract.yaml:" in told.out
    assert "^^^^^^^" in told.out
    assert told.out.splitlines()[-1].endswith("error") or told.out.splitlines()[-1].endswith("errors")
    row = rows(commands, "here/orders")
    assert row["ok"] is False
    assert {"code", "severity", "line", "column", "message", "fix"} <= set(row["files"][0]["findings"][0])
    assert commands("run", "here/orders").err == told.out


def test_a_mistake_in_an_apps_python_belongs_to_its_contract(commands: Commands, tree: Path) -> None:
    payloads = tree / "orders" / "payloads.py"
    payloads.write_text(payloads.read_text() + "\nthis is no Python\n")
    (file,) = rows(commands, "here/orders")["files"]
    assert file["ok"] is False
    assert [(one["code"], one["path"]) for one in file["findings"]] == [("python_syntax", "here/orders/payloads.py")]


def test_an_app_that_forgot_its_payloads_is_told_so(commands: Commands, tree: Path) -> None:
    (tree / "orders" / "payloads.py").unlink()
    (file,) = rows(commands, "here/orders")["files"]
    assert "missing_file" in [one["code"] for one in file["findings"]]


def test_each_file_alone_is_summed_up_in_a_line(commands: Commands, tree: Path) -> None:
    told = commands("check", "here/mail", "here/calc/node.yml")
    assert told.code == 1
    assert "here/calc/node.yml:3:1: error [yaml_duplicate_key]" in told.out
    assert "here/calc/node.yml: refused, 1 error\n" in told.out
    assert "here/mail/contract.yaml: ok. effect mailer, family C; " in told.out


def test_notes_are_told_when_asked_for(commands: Commands, tree: Path) -> None:
    (tree / "mail" / "contract.yaml").write_text(EFFECT + "testing: {unit: {coverage: 90}}\n")
    quiet, loud = commands("check", "here/mail"), commands("check", "here/mail", "--all")
    assert "testing" not in quiet.out and "(--all shows each)" in quiet.out
    assert "here/mail/contract.yaml:7:1: info" in loud.out
    assert (quiet.code, loud.code) == (0, 0)


def test_many_files_are_counted_by_family_and_kind(commands: Commands, place: Path) -> None:
    for n in range(12):
        (place / f"node{n}").mkdir()
        (place / f"node{n}" / "contract.yaml").write_text(EFFECT.replace("mailer", f"mailer{n}"))
    told = commands("check", ".")
    assert told.code == 0
    assert told.out.splitlines()[0].split() == ["family", "effect", "files", "ok"]
    assert told.out.splitlines()[1].split() == ["C", "12", "12", "12"]
    assert "12 contracts: 12 ok" in told.out


def test_every_key_is_counted(commands: Commands, tree: Path) -> None:
    (tree / "mail" / "contract.yaml").write_text(EFFECT + "testing: {unit: {coverage: 90}}\n")
    (file,) = rows(commands, "here/mail")["files"]
    assert (file["keys"], file["keys_honoured"] + file["keys_reported"]) == (15, 15)
    assert file["keys_reported"] == len(file["reported"])
    told = {one["key"]: (one["line"], one["column"], one["why"]) for one in file["reported"]}
    assert told["testing"] == (7, 1, "unknown")
    assert told["testing.unit.coverage"][0] == 7


def test_references_are_followed_inside_the_repository(commands: Commands, tree: Path) -> None:
    (tree / ".git").mkdir()
    machine = "initial_state: a\nterminal_states: [b]\ntransitions: [{from_state: a, to_state: b, trigger: go}]\n"
    (tree / "mail" / "fsm.yaml").write_text(machine)
    (tree / "mail" / "contract.yaml").write_text(
        "name: tally\nversion: {major: 1, minor: 0, patch: 0}\nnode_type: REDUCER\nstate_machine: {$ref: fsm.yaml}\n"
        "a: {$ref: ../secret.yaml}\nb: {$ref: gone.yaml}\n"
    )
    (file,) = rows(commands, "here/mail")["files"]
    assert [(one["code"], one["severity"], one["line"]) for one in file["findings"] if one["severity"] != "info"] == [
        ("reference_refused", "error", 5), ("reference_missing", "warning", 6),
    ]  # fmt: skip


# --- exit codes and SARIF ---------------------------------------------------------------------------------------------


def test_warnings_fail_a_strict_check_only(commands: Commands, tree: Path) -> None:
    (tree / "mail" / "contract.yaml").write_text(EFFECT + "x: {$ref: gone.yaml}\n")
    assert commands("check", "here/mail").code == 0
    assert commands("check", "here/mail", "--strict").code == 1


def test_sarif_is_written_beside_the_words_or_in_place_of_them(commands: Commands, tree: Path) -> None:
    told = commands("check", "here/calc/node.yml", "--sarif", "out.sarif")
    log = json.loads(Path("out.sarif").read_text())
    assert (told.code, "refused" in told.out) == (1, True)
    (result,) = log["runs"][0]["results"]
    assert (result["ruleId"], result["level"]) == ("yaml_duplicate_key", "error")
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "here/calc/node.yml"
    assert commands("check", "here/calc/node.yml", "--sarif", "-").row == log


def test_a_sarif_file_that_cannot_be_written_is_one_sentence(commands: Commands, tree: Path) -> None:
    told = commands("check", "here/mail", "--sarif", "no/out.sarif")
    assert told.code == 2
    assert "--sarif no/out.sarif cannot be written: No such file" in told.err and "Traceback" not in told.err


# --- mends ------------------------------------------------------------------------------------------------------------


def test_fix_writes_safe_mends_and_checks_again(commands: Commands, tree: Path) -> None:
    contract = tree / "orders" / "contract.yaml"
    right = contract.read_text()
    contract.write_text(right.replace("terminal_states:", "terminal_state:").replace("604800000", "604_800_000"))
    contract.chmod(0o640)
    shown = commands("check", "here/orders", "--diff")
    assert shown.code == 1
    assert "-  terminal_state: [shipped, cancelled]\n+  terminal_states: [shipped, cancelled]\n" in shown.out
    assert "604_800_000" in contract.read_text(), "--diff writes nothing"
    told = commands("check", "here/orders", "--fix")
    assert (told.code, told.out) == (0, "orders 1.0.0: ok. 6 statuses, 8 triggers, 2 intents\n")
    assert contract.read_text() == right
    assert contract.stat().st_mode & 0o777 == 0o640
    assert "fixed [unknown_key] terminal_state -> terminal_states" in told.err
    assert sorted(path.name for path in contract.parent.iterdir()) == sorted(
        path.name for path in ORDERS.iterdir() if path.is_file()
    )


def test_fix_leaves_what_it_cannot_mend(commands: Commands, tree: Path) -> None:
    told = commands("check", "here/calc/node.yml", "--fix")
    assert told.code == 1
    assert (tree / "calc" / "node.yml").read_text() == BROKEN


def test_fix_of_a_link_writes_the_file_it_leads_to(commands: Commands, place: Path) -> None:
    (place / "real.yaml").write_text(EFFECT + "idempotent_operations: yes\n")
    (place / "link.yaml").symlink_to("real.yaml")
    commands("check", "link.yaml", "--fix")
    assert (place / "link.yaml").is_symlink()
    assert (place / "real.yaml").read_text() == EFFECT + "idempotent_operations: true\n"


def test_a_file_that_may_not_be_written_is_one_sentence(
    commands: Commands, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "x.yaml").write_text(EFFECT + "idempotent_operations: yes\n")

    def full(*words: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    told = commands("check", "x.yaml", "--fix")
    assert told.code == 1
    assert "x.yaml cannot be written: No space left on device" in told.err
    assert [path.name for path in place.iterdir() if "x.yaml" in path.name] == ["x.yaml"]
    assert "yes" in (place / "x.yaml").read_text()


def test_a_file_that_changed_meanwhile_is_left_alone(place: Path) -> None:
    from onex.repository.safe_write import NotRewritten, rewrite

    (place / "x.yaml").write_text("new")
    with pytest.raises(NotRewritten, match="changed while it was checked"):
        rewrite(place / "x.yaml", "old", "mended")
    assert (place / "x.yaml").read_text() == "new"


# --- on a terminal ----------------------------------------------------------------------------------------------------


def test_a_long_check_counts_on_a_terminal_and_ctrl_c_ends_it(place: Path) -> None:
    rows = "".join(f"  - {{from_state: a, to_state: a, trigger: t{n}}}\n" for n in range(300))
    text = (
        EFFECT.replace("EFFECT", "REDUCER")
        + f"state_machine:\n  initial_state: a\n  transitions:\n{rows.replace('  -', '    -')}"
    )
    for n in range(400):
        (place / f"n{n}.yaml").write_text(text)
    ours, theirs = pty.openpty()
    process = subprocess.Popen([ONEX, "check", "."], stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    while b"/400 files" not in shown:
        shown += os.read(ours, 1024)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.read() == b""
    os.close(ours)


def test_jobs_are_an_app_as_well(commands: Commands) -> None:
    assert commands("check", JOBS, ORDERS).out.splitlines()[-1].startswith("orders 1.0.0: ok.")


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_the_pre_commit_hooks_are_commands_that_exist(commands: Commands, tree: Path) -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["onex-check", "onex-check-strict", "onex-check-fix"]
    for hook in hooks:
        name, *words = hook["entry"].split()
        assert name == "onex"
        assert main([*words, "here/mail/contract.yaml"]) == 0
        assert main([*words, "here/calc/node.yml"]) == 1
        for path in ("contract.yaml", "nodes/a/contract.yml", "x/effect_contract.yaml"):
            assert re.search(hook["files"], path), path
        for path in ("docker-compose.yaml", "contract.yaml.bak", "contracts/readme.md"):
            assert not re.search(hook["files"], path), path
