"""The whole examination: every fault that was planted and none beside, by reading alone, on any folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onex.doctor.examination import NoContracts, examine
from onex.doctor.purity_claims import EnumClaimVerdict
from onex.repository.contract_files import NoSuchPath
from tests.doctor.planted import CORPUS, examined, reported, written
from tests.laws.tree import ROOT

VERSION = "contract_version: {major: 1, minor: 0, patch: 0}\n"
CLEAN = {
    "pyproject.toml": "[project]\nname = 'shop'\n",
    "src/shop/__init__.py": "",
    "src/shop/price.py": """\
        def price(cents: int, count: int) -> int:
            return cents * count
        """,
    "src/shop/pick/__init__.py": "",
    "src/shop/pick/handler.py": """\
        from shop.price import price


        class HandlerPick:
            def handle(self, request: dict) -> int:
                return price(request["cents"], request["count"])
        """,
    "src/shop/pick/contract.yaml": f"""\
        name: pick
        node_type: COMPUTE_GENERIC
        {VERSION.strip()}
        descriptor: {{purity: pure}}
        handler_routing:
          default_handler: shop.pick.handler:HandlerPick
        event_bus:
          subscribe_topics: [onex.cmd.shop.pick.v1]
          publish_topics: [onex.evt.shop.picked.v1]
        """,
    "src/shop/till/contract.yaml": f"""\
        name: till
        node_type: REDUCER_GENERIC
        {VERSION.strip()}
        event_bus:
          subscribe_topics: [onex.evt.shop.picked.v1]
          publish_topics: [onex.cmd.shop.pick.v1]
        state_machine:
          initial_state: closed
          terminal_states: [gone]
          transitions:
            - {{from_state: closed, to_state: open, trigger: open}}
            - {{from_state: open, to_state: gone, trigger: sell}}
        """,
}


def faulty() -> dict[str, str]:
    """The same shop with one fault of each sort."""
    files = dict(CLEAN)
    files["src/shop/price.py"] = (
        "import time\n\n\ndef price(cents: int, count: int) -> int:\n    return cents * int(time.time())\n"
    )
    files["src/shop/till/contract.yaml"] = (
        CLEAN["src/shop/till/contract.yaml"]
        .replace("picked.v1", "picked.v2")
        .replace("to_state: gone", "to_state: stuck")
    )
    files["src/shop/broken.yaml"] = "name: broken\nnode_type: EFFECT_GENERIC\nname: again\n"
    files["src/shop/lost.yaml"] = (
        f"name: lost\nnode_type: EFFECT_GENERIC\n{VERSION}handler: {{module: shop.nowhere, class: Lost}}\n"
    )
    return files


def test_a_clean_repository_has_no_symptom(tmp_path: Path) -> None:
    diagnosis = examined(tmp_path, CLEAN)
    assert reported(diagnosis, tmp_path) == []
    assert [(one.node, one.verdict) for one in diagnosis.claims] == [
        ("pick", EnumClaimVerdict.HOLDS),
        ("till", EnumClaimVerdict.NO_CODE),
    ]
    assert diagnosis.kinds == {"compute": 1, "reducer": 1}


def test_each_fault_of_its_twin_is_reported_at_its_line(tmp_path: Path) -> None:
    diagnosis = examined(tmp_path, faulty())
    assert reported(diagnosis, tmp_path) == [
        "yaml_duplicate_key src/shop/broken.yaml:3",
        "impure_clock src/shop/price.py:5",
        "topic_mismatch src/shop/till/contract.yaml:5",
        "state_unreachable src/shop/till/contract.yaml:9",
        "dead_end src/shop/till/contract.yaml:12",
        "module_missing src/shop/lost.yaml:4",
    ]


def test_a_broken_claim_shows_the_way_from_the_handler(tmp_path: Path) -> None:
    (one,) = [one for one in examined(tmp_path, faulty()).findings if one.finding.code == "impure_clock"]
    assert [(link.name, str(Path(link.path).relative_to(tmp_path)), link.line) for link in one.chain] == [
        ("HandlerPick.handle", "src/shop/pick/handler.py", 5),
        ("price", "src/shop/pick/handler.py", 6),
        ("time.time()", "src/shop/price.py", 5),
    ]
    assert one.finding.severity == "error"
    assert "pick claims purity (descriptor.purity: pure" in one.finding.message


@pytest.mark.parametrize(
    ("line", "verdict"),
    [
        ("descriptor: {purity: pure}", EnumClaimVerdict.BROKEN),
        ("deterministic_execution: true", EnumClaimVerdict.BROKEN),
        ("determinism: deterministic", EnumClaimVerdict.BROKEN),
        ("description: says nothing of it, a compute node is pure by its kind", EnumClaimVerdict.BROKEN),
        ("descriptor: {purity: side_effecting}", None),
    ],
)
def test_what_counts_as_a_claim(line: str, verdict: EnumClaimVerdict | None, tmp_path: Path) -> None:
    files = faulty()
    contract = "src/shop/pick/contract.yaml"
    files[contract] = files[contract].replace("descriptor: {purity: pure}", line)
    claims = [one for one in examined(tmp_path, files).claims if one.node == "pick"]
    assert [one.verdict for one in claims] == ([verdict] if verdict else [])


@pytest.mark.parametrize("contract", ["src/shop/old/contract.yaml", "src/shop/old/contracts/compute_contract.yaml"])
def test_a_contract_that_names_no_code_is_held_against_what_stands_beside_it(contract: str, tmp_path: Path) -> None:
    files = {
        contract: f"name: old\nnode_type: COMPUTE\n{VERSION}",
        "src/shop/old/node.py": "import time\n\n\nclass NodeOld:\n    def execute_compute(self): return time.time()\n",
    }
    assert reported(examined(tmp_path, files), tmp_path) == ["impure_clock src/shop/old/node.py:5"]


def test_an_effect_may_touch_the_world(tmp_path: Path) -> None:
    files = faulty()
    contract = "src/shop/pick/contract.yaml"
    files[contract] = files[contract].replace("COMPUTE", "EFFECT").replace("purity: pure", "idempotent: true")
    assert [one for one in reported(examined(tmp_path, files), tmp_path) if "impure" in one] == []


def test_a_place_that_many_reach_is_reported_once(tmp_path: Path) -> None:
    files = faulty()
    files["src/shop/pick2/contract.yaml"] = files["src/shop/pick/contract.yaml"].replace("name: pick", "name: pick2")
    found = [one for one in examined(tmp_path, files).findings if one.finding.code == "impure_clock"]
    assert [len(one.contracts) for one in found] == [2]
    assert "pick and 1 more claim purity" in found[0].finding.message


# --- by reading alone -------------------------------------------------------------------------------------------------

WATCH = """\
import sys
seen = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.remove", "os.rename", "os.mkdir"):
        seen.append((event, args))
    if event == "open" and isinstance(args[0], str) and args[0].startswith(sys.argv[1]) and set(args[1] or "r") & set("wax+"):
        seen.append((event, args))
    if event == "import" and args[0].partition(".")[0] in ("shop", "bomb"):
        seen.append((event, args))
from onex.doctor.examination import examine
from pathlib import Path
sys.addaudithook(watch)
diagnosis = examine(Path(sys.argv[1]))
assert diagnosis.findings, "there was something to find"
print(seen)
"""


def test_nothing_is_imported_written_started_or_asked_of_a_network(tmp_path: Path) -> None:
    files = faulty()
    files["bomb.py"] = "raise SystemExit('imported')\n"
    files["src/shop/pick/handler.py"] += "\n\nimport bomb\nbomb.explode()\n"
    written(tmp_path, files)
    run = subprocess.run([sys.executable, "-c", WATCH, str(tmp_path)], capture_output=True, text=True, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == "[]"


def test_the_repository_is_left_as_it_was_also_when_it_cannot_be_written(tmp_path: Path) -> None:
    def state() -> dict[str, str]:
        return {
            str(path.relative_to(tmp_path)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(tmp_path.rglob("*"))
            if path.is_file()
        }

    written(tmp_path, faulty())
    before = state()
    folders = [tmp_path, *(path for path in tmp_path.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    try:
        assert examine(tmp_path).findings
        assert state() == before
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_the_same_repository_gives_the_same_report(tmp_path: Path) -> None:
    first = examined(tmp_path, faulty())
    assert examine(tmp_path).findings == first.findings


# --- any folder -------------------------------------------------------------------------------------------------------


def test_links_that_lead_in_circles_or_out_are_not_followed(tmp_path: Path) -> None:
    root = written(tmp_path / "shop", CLEAN)
    written(tmp_path / "elsewhere", faulty())
    (root / "again").symlink_to(root)
    (root / "out").symlink_to(tmp_path / "elsewhere")
    (root / "out.yaml").symlink_to(tmp_path / "elsewhere" / "src" / "shop" / "broken.yaml")
    (root / "nowhere.py").symlink_to(root / "nowhere.py")
    assert reported(examine(root), root) == []


def test_files_of_all_sorts_are_survived(tmp_path: Path) -> None:
    root = written(tmp_path, CLEAN)
    (root / "src/shop/pick/contract.yaml").write_bytes(b"node_type: \xff\xfe\n")
    (root / "huge.yaml").write_bytes(b"node_type: compute\nname: " + b"x" * 300_000)
    (root / "huge.py").write_bytes(b"x = 1\n" * 1_000_000)
    (root / "bad.py").write_bytes(b"\xff\xfe\x00(")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "contract.yaml").write_text("node_type: nonsense")
    codes = [one.partition(" ")[0] for one in reported(examine(root), root)]
    assert codes == ["yaml_too_large", "not_utf8", "topic_unsaid", "topic_unheard"]


def test_a_folder_that_may_not_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = written(tmp_path, {**CLEAN, "closed/contract.yaml": "node_type: nonsense"})
    scandir = os.scandir

    def refusing(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert reported(examine(root), root) == ["unlisted closed:0"]


@pytest.mark.parametrize(
    ("name", "error"), [("nothing", NoSuchPath), ("file.yaml", NoSuchPath), ("empty", NoContracts)]
)
def test_what_is_no_repository_is_refused_by_name(name: str, error: type[Exception], tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("node_type: compute")
    (tmp_path / "empty").mkdir()
    with pytest.raises(error, match=name):
        examine(tmp_path / name)


# --- real repositories ------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not CORPUS.is_dir(), reason="THE CORPUS IS MISSING: ../shared/corpus/contracts")
def test_the_corpus_is_understood_without_shouting() -> None:
    diagnosis = examine(CORPUS)
    assert len(diagnosis.tree.contracts) == 212
    assert len(diagnosis.loaded) >= 202
    assert sum(diagnosis.kinds.values()) == len(diagnosis.loaded)
    assert not [one for one in diagnosis.findings if one.finding.code == "module_missing"]
    assert diagnosis.outside["omniintelligence"] > 200
    mismatched = [one.finding.message for one in diagnosis.findings if one.finding.code == "topic_mismatch"]
    assert any("realm none there, {env} here" in message for message in mismatched)


def test_this_project_holds_what_it_claims_but_where_impurity_was_planted() -> None:
    diagnosis = examine(ROOT)
    broken = [one for one in diagnosis.findings if one.finding.code.startswith("impure_")]
    planted, deadly = "tests/replay/impure/reducer.py", "tests/cli/deadly/payloads.py"
    assert {str(Path(one.finding.path).relative_to(ROOT)) for one in broken} == {planted, deadly}
    calls = {one.chain[-2].name for one in broken if one.finding.path.endswith(planted)}
    assert calls == {"uuid4", "clock", "chance", "memory", "set_order", "hash_of_text", "local_time", "folder"}


@pytest.mark.long
def test_no_python_that_is_installed_makes_it_fall(tmp_path: Path) -> None:
    """Every top-level function and class of every installed package, entered as if it were a handler."""
    import pydantic

    from onex.doctor.examination import python_source
    from onex.proof.classes import ClassTable
    from onex.proof.function_body import FunctionTraces
    from onex.proof.library import Library
    from onex.proof.reachability import entry_units, reach

    root = Path(pydantic.__file__).parents[1]
    files = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.py"))]
    library = Library(files, lambda path: python_source(root, path))
    bodies = FunctionTraces(ClassTable(library))
    functions = 0
    for path in files:
        module = library.at(path)
        for name in module.bindings:
            found = library.name_in(module, name)
            if found is not None:
                functions += reach(bodies, list(entry_units(bodies, found))[:3]).functions
    assert functions > 10_000
