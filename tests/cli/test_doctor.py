"""``onex doctor``: what it says to a person and to a program, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from onex.doctor.doctor_finding import FINDING_TITLES
from tests.cli.conftest import ONEX, ROOT, Commands
from tests.doctor.planted import written
from tests.doctor.test_examination import CLEAN, faulty


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return written(tmp_path / "shop", faulty())


def test_a_person_is_told_the_worst_first_with_places_ways_and_mends(commands: Commands, shop: Path) -> None:
    told = commands("doctor", "shop")
    assert told.code == 0
    assert told.out.startswith("4 contracts: 1 effect, 1 compute, 1 reducer, 1 not loaded\n")
    assert "contracts  1 does not load" in told.out
    assert "claims of purity  2 claims: 1 broken, 1 code not found" in told.out
    assert (
        "      by HandlerPick.handle (shop/src/shop/pick/handler.py:5) -> price (shop/src/shop/pick/handler.py:6)"
        in told.out
    )
    assert "topics  3: 2 published, 2 consumed, 1 both" in told.out
    order = [told.out.index(f"\n{area}") for area in ("contracts", "claims", "topics", "machines", "code")]
    assert order == sorted(order)
    assert told.out.endswith("3 errors, 3 warnings\n")


def test_a_clean_repository_is_told_so(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(written(tmp_path, CLEAN))
    told = commands("doctor")
    assert told.code == 0
    assert told.out.endswith("no problems found\n")


def test_a_long_list_is_cut_unless_all_of_it_is_asked_for(commands: Commands, tmp_path: Path) -> None:
    topics = ", ".join(f"shop.event{n}.v1" for n in range(9))
    written(tmp_path, {"a.yaml": f"name: a\nnode_type: effect\nevent_bus: {{publish_topics: [{topics}]}}\n"})
    assert commands("doctor", tmp_path).out.count("which no contract here consumes") == 5
    assert "... and 4 more (--all)" in commands("doctor", tmp_path).out
    assert commands("doctor", tmp_path, "--all").out.count("which no contract here consumes") == 9


def test_with_all_each_claim_has_its_verdict_and_what_was_not_followed(
    commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "pay/contract.yaml": "name: pay\nnode_type: compute\ndescriptor: {purity: pure}\n",
        "pay/handler.py": "import weird.things\n\n\ndef handle(x):\n    return weird.things.made(x)\n",
        "mail/contract.yaml": "name: mail\nnode_type: compute\n",
    }
    monkeypatch.chdir(written(tmp_path, files))
    unproven = "    pay/contract.yaml:3: unproven: pay (descriptor.purity: pure); not followed: calls into weird"
    absent = "    mail/contract.yaml:2: code not found: mail (node_type: compute)"
    assert [line for line in commands("doctor", "--all").out.splitlines() if line in (unproven, absent)] == [
        unproven,
        absent,
    ]
    assert "weird" not in commands("doctor").out


def test_a_program_is_told_everything(commands: Commands, shop: Path) -> None:
    row = json.loads(commands("doctor", "shop", "--json").out)
    assert row["kinds"] == {"compute": 1, "effect": 1, "reducer": 1}
    assert [one["ok"] for one in row["contracts"]] == [False, True, True, True]
    clock = next(one for one in row["symptoms"] if one["code"] == "impure_clock")
    assert (clock["path"], clock["line"], clock["area"]) == ("shop/src/shop/price.py", 5, "claims of purity")
    assert [link["name"] for link in clock["chain"]] == ["HandlerPick.handle", "price", "time.time()"]
    assert row["counts"] == {"error": 3, "warning": 3, "info": 0}
    assert {one["verdict"] for one in row["claims"]} == {"broken", "no code here"}
    assert row["topics"]["consumed"][0]["topic"] == "onex.cmd.shop.pick.v1"


@pytest.mark.parametrize(("files", "code"), [(CLEAN, 0), (faulty(), 1)])
def test_strict_fails_by_what_was_found(files: dict[str, str], code: int, commands: Commands, tmp_path: Path) -> None:
    assert commands("doctor", written(tmp_path, files), "--strict").code == code


def test_maps_are_written_as_their_names_say(commands: Commands, shop: Path) -> None:
    told = commands("doctor", "shop", "--map", "shop.svg", "--map", "shop.mmd", "--map", "shop.md")
    assert told.code == 0
    assert Path("shop.svg").read_text().startswith("<svg ")
    assert Path("shop.mmd").read_text().startswith("flowchart LR\n")
    assert Path("shop.md").read_text().startswith("# System map of shop\n\n```mermaid\nflowchart LR\n")
    assert "shop.svg: written" in told.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "nowhere does not exist; name the folder of a repository"),
        (["shop/pyproject.toml"], "is no folder; name the folder of a repository"),
        (["shop/src/shop/pick/none"], "does not exist"),
        (["shop", "--map", "shop.png"], "--map shop.png: a map ends in"),
        (["shop", "--map", "no/such/folder/shop.svg"], "cannot be written: No such file or directory"),
    ],
)
def test_a_mistake_is_one_sentence_and_wrong_use(
    words: list[str], sentence: str, commands: Commands, shop: Path
) -> None:
    told = commands("doctor", *words)
    assert told.code == 2
    assert sentence in told.err
    assert told.out == ""


def test_a_folder_without_contracts_is_no_repository(commands: Commands, tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text("a: 1\n")
    told = commands("doctor", tmp_path)
    assert told.code == 2
    assert "holds no contract: no YAML file in it has node_type at its top level (1 others, 0 Python files)" in told.err


def test_the_guide_explains_every_symptom_and_no_other() -> None:
    guide = (ROOT / "docs" / "guides" / "doctor.md").read_text()
    table = guide.partition("## Every finding")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    explained = [code for row in rows for code in re.findall(r"`(\w+)`", row)]
    assert sorted(explained) == sorted(FINDING_TITLES)


def test_ctrl_c_ends_it_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    text = "name: a{0}\nnode_type: compute\nevent_bus: {{publish_topics: [shop.e{0}.v1]}}\n"
    shop = written(tmp_path / "shop", {f"{n}.yaml": text.format(n) for n in range(1500)})
    before = sorted(path.name for path in shop.iterdir())
    with subprocess.Popen(
        [ONEX, "doctor", str(shop), "--map", str(tmp_path / "map.svg")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        while process.poll() is None and not _reads(process.pid, shop):
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err) == (b"", b"")
    assert sorted(path.name for path in shop.iterdir()) == before
    assert not (tmp_path / "map.svg").exists()


def _reads(pid: int, folder: Path) -> bool:
    """Whether the process has come as far as to read the folder's contracts."""
    try:
        maps = Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False
    return "_yaml" in maps and "pydantic_core" in maps
