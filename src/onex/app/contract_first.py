"""Workflows whose contract is a file: ``contract.yaml`` beside ``payloads.py``, ``reducer.py`` and so on.

The contracts are checked before any module is imported. After each step that can find errors the report is judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from ..contracts.compile import BUILT_IN_PAYLOADS, LocatedContract, PythonPlace
from ..contracts.load import load_contract
from ..contracts.text.yaml_tree import place_of
from ..kernel.errors import ContractError
from ..kernel.machine import Handlers
from ..kernel.step import State
from ..nodes.compute import COMPUTE, ComputeIO
from ..nodes.effect import EFFECT, EffectIO
from ..nodes.io import Function, FunctionShape, compute_shape, effect_shape
from ..orchestration.join import Functions
from ..orchestration.joined_app import WrittenPlan, joined_app
from .executors import marked
from .folder import DECISIVE, AppFolder
from .load_report import LoadReport
from .migrations import DeclaredChanges, changes_in
from .modules import AppModules
from .workflow_source import WorkflowSource


class ContractFirst:
    """Reads the workflows of a folder. Each method reports and goes on; the caller judges."""

    def __init__(self, folder: AppFolder, report: LoadReport) -> None:
        self.folder = folder
        self.report = report

    def sources(self, modules: AppModules) -> list[WorkflowSource]:
        """Raises ContractError when a contract or a module has an error."""
        contracts = self._contracts()
        self.report.judge()
        self._check_files(contracts)
        imported = modules.imported(self._names())
        sources = [self._source(home, located, imported) for home, located in contracts.items()]
        plans = [
            WrittenPlan(one.home, one.located, one.classes, _functions(one.modules))
            for one in sources
            if one.located.contract.tasks
        ]
        by_home = {one.home: one for one in sources}
        for written, plan in joined_app(plans):
            self.report.add(plan.findings)
            made = replace(
                by_home[written.home], located=written.contract, classes=plan.classes, handlers=plan.handlers
            )
            sources = [one for one in sources if one.located.contract.name != made.located.contract.name] + [made]
        self.report.judge()
        return sources

    def _contracts(self) -> dict[str, LocatedContract]:
        contracts: dict[str, LocatedContract] = {}
        for home in self.folder.workflows:
            path, data = self.folder.contract(home)
            try:
                text = data.decode()
            except UnicodeDecodeError as error:
                line = data[: error.start].count(b"\n") + 1
                message = f"byte {error.start} is not UTF-8"
                self.report.error("not_utf8", PythonPlace(path, line), message, "save the file as UTF-8")
                continue
            loaded = load_contract(text, path)
            self.report.add(loaded.findings)
            if loaded.contract is None or loaded.tree is None:
                continue
            name = loaded.contract.name
            if home and name != home:
                spot = PythonPlace(*place_of(loaded.tree, ("name",)).spot(path))
                message = f"the workflow {name!r} stands in the folder {home!r}"
                self.report.error("folder_name", spot, message, f"rename the folder, or write name: {home}")
            contracts[home] = LocatedContract(loaded.contract, loaded.tree, path)
        return contracts

    def _check_files(self, contracts: Mapping[str, LocatedContract]) -> None:
        """A contract that names no class of the app needs no ``payloads.py``."""
        for home, located in contracts.items():
            contract = located.contract
            if contract.tasks:
                continue  # a model may stand in the contract itself
            named = {contract.state_model, *contract.payloads.values(), *(one.payload for one in contract.intents)}
            if named - {None, *BUILT_IN_PAYLOADS} and "payloads" not in self.folder.parts(home):
                path = self.folder.show(self.folder.root.joinpath(*home.split("."), "payloads.py"))
                fix = "write it beside contract.yaml: the state and payload classes"
                self.report.error("missing_file", PythonPlace(path, 0, 0), "there is no payloads.py", fix)

    def _names(self) -> list[str]:
        names: list[str] = []
        for home in self.folder.workflows:
            names += [*self.folder.parts(home).values(), *self.folder.shared(home).values()]
        return list(dict.fromkeys(names))

    def _source(self, home: str, located: LocatedContract, modules: Mapping[str, ModuleType]) -> WorkflowSource:
        parts = self.folder.parts(home)
        served = tuple(
            (part, modules[name])
            for part, name in (*self.folder.shared(home).items(), *parts.items())
            if part in ("effects", "compute")
        )
        classes: Mapping[str, object] = vars(modules[parts["payloads"]]) if "payloads" in parts else {}
        handlers = self._handlers(modules[parts["reducer"]]) if "reducer" in parts else None
        if located.contract.tasks and "reducer" in parts:
            spot = PythonPlace(self.folder.show(Path(str(modules[parts["reducer"]].__file__))), 1)
            message = "an orchestration has no handlers of its own: they are made of its tasks"
            self.report.error("handlers", spot, message, "remove reducer.py, or make it a workflow that a task starts")
        return WorkflowSource(
            home,
            located,
            classes,
            handlers,
            tuple(parts[part] for part in DECISIVE if part in parts),
            changes_in(modules[parts["migrations"]]) if "migrations" in parts else DeclaredChanges(),
            served,
        )

    def _handlers(self, module: ModuleType) -> Handlers[State] | None:
        tables = list({id(value): value for value in vars(module).values() if isinstance(value, Handlers)}.values())
        if len(tables) == 1:
            return tables[0]
        spot = PythonPlace(self.folder.show(Path(str(module.__file__))), 1)
        message = f"reducer.py has {len(tables) or 'no'} tables of handlers"
        self.report.error("handlers", spot, message, "write one: orders = reducer(Order); or remove the file")
        return None


def _functions(served: Iterable[tuple[str, ModuleType]]) -> Functions:
    """What the functions of these modules take and return. One that cannot be read has a finding of its own later."""
    effects: dict[str, FunctionShape] = {}
    computes: dict[str, FunctionShape] = {}
    for part, module in served:
        mark, found = (EFFECT, effects) if part == "effects" else (COMPUTE, computes)
        for target, function in marked(module, mark).items():
            shape = _shape(function, mark)
            if shape is not None:
                found[target] = shape
    return Functions(
        {target: (one.payload, one.result) for target, one in effects.items()},
        {name: (one.payload, one.result) for name, one in computes.items()},
    )


def _shape(function: Function, mark: str) -> FunctionShape | None:
    try:
        return effect_shape(function, EffectIO) if mark == EFFECT else compute_shape(function, ComputeIO)
    except ContractError:
        return None
