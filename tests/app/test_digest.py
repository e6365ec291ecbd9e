"""What counts as a workflow's code: its contract and what its reducer imports from the app, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onex.app import load_app
from onex.kernel.errors import ContractError
from tests.app.apps import edit, job, write


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """The reducer imports ``rules``, which imports ``deep``; the effects import ``tools``."""
    folder = job(tmp_path / "job")
    edit(folder / "reducer.py", "from .payloads", "from . import rules as rules\nfrom .payloads")
    edit(folder / "effects.py", "from .payloads", "from .tools import hammer as hammer\nfrom .payloads")
    return write(
        folder,
        rules="def rule() -> int:\n    from .deep.down import x\n    return x\n",
        deep__down="x = 1\n",
        tools="hammer = 1\n",
        unused="y = 1\n",
    )


def code(folder: Path) -> bytes:
    return load_app(folder).workflows["job"].code.digest


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("reducer.py", "def made(", "# another comment\ndef made("),
        ("payloads.py", 'where: str = ""', 'where: str = "x"'),
        ("rules.py", "return x", "return x + 1"),
        ("deep/down.py", "x = 1", "x = 2"),
        ("contract.yaml", "patch: 0", "patch: 1"),
        ("contract.yaml", "trigger: begin,", "trigger: begin, priority: 1,"),
    ],
)
def test_other_code_of_the_reducer_is_other_code(app: Path, file: str, old: str, new: str) -> None:
    before = code(app)
    edit(app / file, old, new)
    assert code(app) != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("effects.py", ".upper()", ".lower()"),
        ("tools.py", "hammer = 1", "hammer = 2"),
        ("unused.py", "y = 1", "y = 2"),
        ("contract.yaml", "name: job", "# a comment\nname: 'job'"),
        ("contract.yaml", "name: job", "name: job\ndescription: reworded"),
        ("contract.yaml", "trigger: begin,", "trigger: begin, priority: 0,"),
    ],
)
def test_what_no_decision_depends_on_is_no_code(app: Path, file: str, old: str, new: str) -> None:
    before = code(app)
    edit(app / file, old, new)
    assert code(app) == before


def test_the_app_s_own_digest_covers_its_effects_as_well(app: Path) -> None:
    before = load_app(app).digest
    edit(app / "tools.py", "hammer = 1", "hammer = 2")
    assert load_app(app).digest != before


def test_line_endings_and_a_byte_order_mark_are_no_code(app: Path) -> None:
    before, digest = code(app), load_app(app).digest
    for path in [*app.rglob("*.py"), app / "contract.yaml"]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert (code(app), load_app(app).digest) == (before, digest)


def test_a_package_s_own_text_is_code_when_it_has_one(app: Path) -> None:
    before = code(app)
    write(app, **{"__init__.py": "", "deep__init": "z = 1"})
    (app / "deep" / "__init__.py").write_text("\n")
    assert code(app) == before
    (app / "deep" / "__init__.py").write_text("w = 1\n")
    assert code(app) != before


def test_the_place_and_the_folders_above_do_not_matter(app: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "job"
    shutil.copytree(app, copy, ignore=shutil.ignore_patterns("__pycache__"))
    assert load_app(copy).workflows["job"].code == load_app(app).workflows["job"].code
    assert load_app(copy.parent).workflows["job"].code == load_app(app).workflows["job"].code
    assert load_app(copy).digest == load_app(app).digest


def test_a_module_shared_with_another_workflow_is_code(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    job(shop / "job")
    edit(shop / "job" / "reducer.py", "from .payloads", "from ..shared import limit as limit\nfrom .payloads")
    write(shop, shared="limit = 1\n")
    before = code(shop)
    edit(shop / "shared.py", "1", "2")
    assert code(shop) != before


def test_hash_seed_and_process_do_not_matter(app: Path) -> None:
    script = (
        "import sys; from onex.app import load_app; a = load_app(sys.argv[1]);"
        "print(a.digest, a.workflows['job'].code.digest.hex())"
    )
    reported = {
        subprocess.run(
            [sys.executable, "-c", script, str(app)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("0", "4711")
    }
    assert reported == {f"{load_app(app).digest} {code(app).hex()}"}


def test_only_the_code_asked_for_is_loaded(app: Path) -> None:
    digest = load_app(app).digest
    assert load_app(app, digest=digest).digest == digest
    edit(app / "tools.py", "hammer = 1", "hammer = 2")
    with pytest.raises(ContractError, match="changed: their digest is"):
        load_app(app, digest=digest)
