"""The lock file of a derived contract: ``TYPE.lock.yaml`` beside the Python file that declares the workflow.

It is the contract as text, so a change of it is seen in a review and ``onex diff`` compares it between revisions without running
code. Nothing is loaded from it. An app without a lock file is loaded as well.
"""

from __future__ import annotations

from pathlib import Path

from ..authoring.contract_text import contract_lock
from ..contracts.compile import PythonPlace
from ..contracts.text.yaml_tree import YamlMap, plain, read_yaml
from .load_report import LoadReport

CHANGED = "contract_changed"
"""The code of the finding for a lock file that holds another contract than the one derived."""


def lock_name(workflow: str) -> str:
    return f"{workflow}.lock.yaml"


def lock_file(source: Path, workflow: str) -> Path:
    return source.with_name(lock_name(workflow))


def locked_text(tree: YamlMap, source: Path) -> str:
    return contract_lock(tree, source.name)


def holds_contract(text: str, tree: YamlMap, name: str) -> bool:
    """Whether the lock file ``name`` with this text holds the contract ``tree``. Comments and layout do not count."""
    found = read_yaml(text, name).tree
    return found is not None and plain(found) == plain(tree)


def compare_lock(file: Path, tree: YamlMap, report: LoadReport, spot: PythonPlace) -> None:
    """Adds a warning when ``file`` exists and holds another contract than ``tree``."""
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        report.warning(CHANGED, spot, f"{file.name} cannot be read: {error.strerror}", "let it be read")
        return
    if not holds_contract(text, tree, file.name):
        message = f"the contract differs from {file.name}"
        lock = Path(spot.path).with_name(file.name)
        fix = f"onex diff {lock} {spot.path} shows the change; onex contract {spot.path} --lock accepts it"
        report.warning(CHANGED, spot, message, fix)
