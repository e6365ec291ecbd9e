"""What a user installs: the wheel, alone in a clean environment and started from an empty directory, does the work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.docs.transcript import blocks, played

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")


def run(words: Sequence[str | Path], cwd: Path) -> str:
    """Standard output of the command, without this session's environment variables leaking into it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ONEX", "VIRTUAL_ENV"))}
    done = subprocess.run(words, cwd=cwd, env=kept, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(map(str, words))}\nexit {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout


def install(python: Path, *words: str | Path) -> None:
    """By uv, which set-up has filled a cache for; by pip where only pip knows the way to an index."""
    fast = [UV, "pip", "install", "--quiet", "--system-certs", "--python", python, *words]
    if subprocess.run(fast, cwd=ROOT, capture_output=True).returncode != 0:
        run([python, "-m", "pip", "install", "--quiet", *words], ROOT)


@pytest.fixture(scope="module")
def onex(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `onex` command of an environment that holds the wheel and its locked dependencies, and nothing else."""
    place = tmp_path_factory.mktemp("wheel")
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place, ROOT], place)
    (wheel,) = place.glob("onex-*.whl")
    bundle = ROOT / "src" / "onex" / "service" / "page"
    built = {f"onex/service/page/{path.relative_to(bundle)}" for path in bundle.rglob("*") if path.is_file()}
    assert built <= set(ZipFile(wheel).namelist()), "the page, where it was built, is in the wheel"
    run([sys.executable, "-m", "venv", place / "clean"], place)
    python = place / "clean" / "bin" / "python"
    install(python, "--require-hashes", "-r", ROOT / "requirements" / "runtime.txt")
    install(python, "--no-deps", wheel)
    run([python, "-m", "pip", "check"], place)
    return python.with_name("onex")


def test_the_wheel_tells_its_version(onex: Path, tmp_path: Path) -> None:
    assert "0.1.0" in run([onex, "--version"], tmp_path)


@pytest.fixture(scope="module")
def with_pytest(onex: Path) -> Path:
    """The same environment, with pytest in it as the tutorial says."""
    install(onex.with_name("python"), "pytest")
    return onex


def test_the_tutorial_plays_in_an_environment_of_its_own(with_pytest: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "first-workflow.md").read_text()
    with played("docs/first-workflow.md", blocks(page), tmp_path, programs=with_pytest.parent) as here:
        assert len(list((here / "calendar").glob("*.txt"))) == 3
    kept = {**os.environ, "PATH": str(with_pytest.parent), "PYTHONPATH": ""}
    where = subprocess.run(
        ["python", "-c", "import onex; print(onex.__file__)"], cwd=tmp_path, env=kept, capture_output=True, text=True
    )
    assert Path(where.stdout.strip()).is_relative_to(with_pytest.parents[1]), "it was the wheel that played"


def test_the_demo_runs_from_the_wheel(onex: Path, tmp_path: Path) -> None:
    printed = run([onex, "demo", "--workflow", "orders", "--instances", "50", "--json"], tmp_path)
    last = json.loads(printed.strip().splitlines()[-1])
    told = {
        name: last[name] for name in ("instances", "kills", "effects_lost", "effects_repeated", "replay_mismatches")
    }
    assert told == {"instances": 50, "kills": 2, "effects_lost": 0, "effects_repeated": 0, "replay_mismatches": 0}
    assert last["effects_retried"] >= 1
