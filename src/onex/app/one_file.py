"""Workflows that are declared in a Python file: ``app.py``, or a file that the user names.

Such a file is imported before its contract can be derived. Importing it runs its module code and no handler. What is wrong is
reported all at once, at places in that file.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ..authoring.declaration import WorkflowDeclaration
from ..authoring.derive import derived
from ..contracts.compile import LocatedContract, PythonPlace
from ..contracts.load import load_tree
from ..kernel.errors import AlgorithmNotFoundError
from ..kernel.finding import Finding
from ..kernel.intent import EnumIntentType
from ..nodes.io import Function
from .folder import AppFolder
from .load_report import LoadReport
from .lock import compare_lock, lock_file
from .migrations import DeclaredChanges, changes_in
from .modules import AppModules
from .workflow_source import WorkflowSource


class OneFile:
    """Reads the workflows that the module ``folder.source`` declares."""

    def __init__(self, folder: AppFolder, report: LoadReport) -> None:
        self.folder = folder
        self.report = report

    def sources(self, modules: AppModules) -> list[WorkflowSource]:
        """Raises ContractError when the module or a derived contract has an error."""
        name = self.folder.source
        module = modules.imported([name])[name]
        found = {one.name: one for one in declarations(module)}
        if not found:
            spot = PythonPlace(self._show(str(module.__file__)), 1)
            message = "the file declares no workflow"
            self.report.error("no_workflow", spot, message, 'write: orders = workflow("orders", Order)')
        sources: list[WorkflowSource] = []
        for one in declarations(module):
            if found[one.name] is not one:
                spot = PythonPlace(self._show(one.place.path), one.place.line, one.place.column)
                message = f"two workflows are called {one.name!r}; the other is on line {found[one.name].place.line}"
                self.report.error("duplicate", spot, message, "give one of them another name")
                continue
            made = derived(one, found, self._show)
            if made.tree is None:
                self.report.add(made.findings)
                continue
            loaded = load_tree(made.tree, made.path)
            # a mistake in a declaration causes more in the contract; only the first is reported
            spots = {(one.path, one.line, one.column) for one in made.findings}
            later = (one for one in loaded.findings if (one.path, one.line, one.column) not in spots)
            self.report.add((*made.findings, *map(_in_python, later)))
            if loaded.contract is not None:
                located = LocatedContract(loaded.contract, made.tree, made.path)
                spot = PythonPlace(self._show(one.place.path), one.place.line, one.place.column)
                compare_lock(lock_file(self.folder.root / f"{name}.py", one.name), made.tree, self.report, spot)
                sources.append(
                    WorkflowSource(
                        "",
                        located,
                        made.classes,
                        made.handlers,
                        (name,),
                        self._changes(one, module, list(found)),
                        effects=made.effects,
                        computes=made.computes,
                    )
                )
        self.report.judge()
        return sources

    def _changes(self, one: WorkflowDeclaration[Any], module: ModuleType, names: list[str]) -> DeclaredChanges:
        """Those of this workflow; ``migrate`` and ``renames`` that name none count only where the file declares no other."""
        plain = changes_in(module)
        if len(names) > 1:
            fix = f"say for which workflow, for example @{names[0]}.migrate(...) or {names[0]}.renames(...)"
            message = "the file declares several workflows, so it is not known whose earlier schema this changes"
            for _, function in plain.functions:
                self.report.error("whose_migration", self.report.of(function), message, fix)
            for renamed in plain.renames:
                spot = PythonPlace(self._show(renamed.path), renamed.line)
                self.report.error("whose_migration", spot, message, fix)
            plain = DeclaredChanges()
        return DeclaredChanges((*plain.functions, *one.migrations), (*plain.renames, *one.renamed))

    def _show(self, path: str) -> str:
        return self.folder.show(Path(path))


_FIXES = {
    "stuck_state": "add it to workflow(..., terminal=[...]), or an edge from it",
    "shadowed_transition": "give that one a condition, or take this one out",
    "terminal_exit": "take it out of terminal=[...], or remove the edge",
}
_WORDS = (
    ("add it to states", "add it to the Literal of status"),
    ("add a transition", "add an edge"),
    ("the contract", "the file"),
)


def _in_python(finding: Finding) -> Finding:
    """A fix in the words of a file of Python, where that of YAML is another."""
    fix = _FIXES.get(finding.code, finding.fix)
    for yaml, python in _WORDS:
        fix = fix.replace(yaml, python)
    return finding._replace(fix=fix)


def declarations(module: ModuleType) -> Iterator[WorkflowDeclaration[Any]]:  # of any state
    """The workflows under the names of a module, each once, in their order."""
    seen: set[int] = set()
    for value in list(vars(module).values()):
        if isinstance(value, WorkflowDeclaration) and id(value) not in seen:
            seen.add(id(value))
            yield value


def declared_compute(module: ModuleType, workflow: str, name: str) -> Function:
    """The compute function ``name`` of a workflow. Raises AlgorithmNotFoundError."""
    for one in declarations(module):
        for declared in one.intents:
            is_it = declared.kind == EnumIntentType.COMPUTE_TASK and declared.target == name
            if one.name == workflow and is_it and declared.function is not None:
                return declared.function
    raise AlgorithmNotFoundError(f"{module.__file__} has no compute function {name!r} for workflow {workflow!r}")
