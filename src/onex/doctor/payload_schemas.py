"""The payload classes of an app as JSON Schemas, taken in a child process, so that old code and new code never meet.

Only ``payloads.py`` and what it imports is run, as ``onex check`` runs it. Reducers and effects are not. What that code writes to
standard output goes to standard error.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, JsonValue

from ..app import LoadedWorkflow
from ..app.finder import FINDER, import_module
from ..app.folder import AppFolder
from ..contracts.compile import BUILT_IN_PAYLOADS
from ..contracts.load import load_contract
from ..contracts.model.contract import ModelContractWorkflow
from ..kernel.errors import ContractError
from ..kernel.user_code import caught
from ..repository.contract_files import CONTRACT

TIMEOUT_S = 60
PAYLOADS = "payloads"


class PayloadSchemas(NamedTuple):
    """``classes``: by trigger, ``intents.<name>`` and ``state``. ``problem`` says why there are none."""

    classes: Mapping[str, JsonValue]
    problem: str = ""


def payload_schemas(homes: Sequence[Path]) -> dict[Path, PayloadSchemas]:
    """The schemas of the workflows in these folders, taken in one child process. Never raises for what their code does."""
    if not homes:
        return {}
    words = [sys.executable, "-m", __name__, *(str(home.resolve()) for home in homes)]
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, stdin=subprocess.DEVNULL
        )
        rows = [json.loads(line) for line in done.stdout.splitlines()]
    except subprocess.TimeoutExpired:
        return dict.fromkeys(homes, PayloadSchemas({}, f"its payloads.py does not end within {TIMEOUT_S} s"))
    except ValueError:
        rows = []
    if len(rows) != len(homes):
        last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        return dict.fromkeys(homes, PayloadSchemas({}, f"payloads.py cannot be loaded: {last}"))
    return {home: PayloadSchemas(row["classes"], row["problem"]) for home, row in zip(homes, rows, strict=True)}


def schemas_of(workflow: LoadedWorkflow) -> PayloadSchemas:
    """Those of a workflow that is loaded in this process."""
    classes = {one.__name__: one for one in (*workflow.reducer.payloads.values(), workflow.reducer.state_type)}
    sent = [one.payload for one in workflow.reducer.intents.by_name.values() if one.payload is not None]
    classes |= {one.__name__: one for one in sent}
    return PayloadSchemas({name: one.model_json_schema() for name, one in _named(workflow.contract, classes)})


def _shapes_of(home: Path) -> PayloadSchemas:
    try:
        text = (home / CONTRACT).read_text(encoding="utf-8", errors="replace")
        contract = load_contract(text, str(home / CONTRACT)).contract
        if contract is None:
            return PayloadSchemas({}, "its contract is not one that this engine runs")
        classes = vars(_payloads(home))
        return PayloadSchemas({name: one.model_json_schema() for name, one in _named(contract, classes)})
    except BaseException as error:  # whatever a user's module or class raises
        message = caught(error)
        message = error.message if isinstance(error, ContractError) else message
        return PayloadSchemas({}, f"payloads.py cannot be loaded: {message}")


def _payloads(home: Path) -> object:
    """The module ``payloads`` alone; if it imports from a folder beside its own, as part of the folder above."""
    try:
        folder = AppFolder(home)
        return import_module(FINDER.mount(folder, folder.digest), PAYLOADS)
    except ImportError:
        above = AppFolder(home.parent)
        return import_module(FINDER.mount(above, above.digest), f"{home.name}.{PAYLOADS}")


def _named(contract: ModelContractWorkflow, classes: Mapping[str, object]) -> Iterator[tuple[str, type[BaseModel]]]:
    named = [(trigger, name) for trigger, name in contract.payloads.items()]
    named += [(f"intents.{one.name}", one.payload) for one in contract.intents if one.payload is not None]
    if contract.state_model is not None:
        named.append(("state", contract.state_model))
    for key, name in named:
        found = classes.get(name, BUILT_IN_PAYLOADS.get(name))
        if isinstance(found, type) and issubclass(found, BaseModel):
            yield key, found


def main(homes: Sequence[str]) -> None:
    for home in homes:
        with redirect_stdout(sys.stderr):
            found = _shapes_of(Path(home))
        sys.stdout.write(json.dumps({"classes": dict(found.classes), "problem": found.problem}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
