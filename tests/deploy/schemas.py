"""The schemas that the files in `deploy/` are validated against, from wheels that are pinned by hash: fetched once into `.cache`.

`check-jsonschema` brings the schema of the Compose specification, `kubernetes-validate` those of the API of Kubernetes, and
`jsonschema` compares. They are installed apart from `.venv`, and asked in a process of their own: nothing else needs them.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
from pydantic import JsonValue

from tests.laws.tree import ROOT

LOCK = ROOT / "requirements" / "deploy-schemas.txt"
CACHE = ROOT / ".cache" / "deploy-schemas"
KUBERNETES: Final = "1.34"

_COMPARE = """
import json, sys
from importlib.resources import files
from jsonschema import validators

version, documents = json.load(sys.stdin)
compose = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text())
faults = []
for document in documents:
    if "apiVersion" not in document:
        kind = validators.validator_for(compose)
        kind.check_schema(compose)
        faults.append([f"{one.json_path}: {one.message}" for one in kind(compose).iter_errors(document)])
        continue
    import kubernetes_validate
    try:
        kubernetes_validate.validate(document, version, strict=True)
        faults.append([])
    except kubernetes_validate.ValidationError as error:
        faults.append([f"{list(error.path)}: {error.message}"])
json.dump(faults, sys.stdout)
"""


def fetch() -> None:
    """Once per clone. Two at once wait for each other. Skips the test, aloud, when they cannot be had after two tries."""
    CACHE.mkdir(parents=True, exist_ok=True)
    done = CACHE / f"done-{LOCK.stat().st_mtime_ns}"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if done.exists():
            return
        install = [
            str(Path(sys.executable).with_name("uv")), "pip", "install", "--quiet", "--system-certs", "--no-deps",
            "--python", sys.executable, "--require-hashes", "--target", str(CACHE), "-r", str(LOCK),
        ]  # fmt: skip
        for _ in range(2):
            tried = subprocess.run(install, capture_output=True, text=True)
            if tried.returncode == 0:
                done.touch()
                return
    pytest.skip(f"no schemas here: {tried.stderr.strip()[-300:]}")


def schema_faults(documents: list[dict[str, JsonValue]]) -> list[list[str]]:
    """Per document what its schema says against it. One with an `apiVersion` is one of Kubernetes, else a Compose file."""
    fetch()
    compared = subprocess.run(
        [sys.executable, "-c", _COMPARE],
        input=json.dumps([KUBERNETES, documents]), env={**os.environ, "PYTHONPATH": str(CACHE)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert compared.returncode == 0, compared.stderr
    faults: list[list[str]] = json.loads(compared.stdout)
    return faults
