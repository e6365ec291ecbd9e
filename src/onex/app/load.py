"""Makes an app of a folder: contracts are checked first, code is imported after that, then the two are joined.

Theory of operation. ``load_app`` goes through these steps. After each step that can find errors it stops if there are any, and
raises one ContractError with all findings up to then, so a user fixes one kind of trouble at a time but sees all of it.

1. ``AppFolder`` reads the folder. Each file is read once: the bytes that are hashed are the bytes that are imported later.
2. Every contract is checked. A contract with an error imports nothing.
3. The modules are parsed, not run: a missing ``payloads.py`` and a syntax error are found here, and the places of all classes and
   functions are remembered for later findings.
4. The modules are imported through `finder`, under a package name made of the digest. Whatever a module raises, also SystemExit or
   KeyboardInterrupt, becomes a finding at the innermost line of the app. After an error all modules of the app are removed from
   the interpreter: a half executed module must not be found by the next attempt.
5. For each workflow, contract and classes are compiled to a reducer; functions that serve intents are matched to the contract,
   with their types; migrations are checked. These steps continue on errors, so they are reported together.

What the result depends on: the bytes of the folder, and this version of Python and of its libraries. Module code can of course
read a clock while it is imported; nobody can prevent that here. ``digest`` names all code of the app. A worker process gets the
digest from the engine and refuses other files, so both run the same code (``load_compute``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from pydantic_core import to_json

from ..contracts.compile import CompiledReducer, LocatedContract, PythonPlace, compile_reducer
from ..contracts.load import load_contract
from ..contracts.model.contract import ModelContractWorkflow
from ..contracts.text.yaml_tree import place_of
from ..engine.registry import Workflow
from ..kernel.errors import AlgorithmNotFoundError, ContractError
from ..kernel.finding import Finding
from ..kernel.intent import EnumIntentType
from ..kernel.machine import Handlers, MachineReducer
from ..kernel.migration import Migrations
from ..kernel.step import State
from ..kernel.user_code import caught
from ..nodes.compute import COMPUTE
from ..nodes.effect import EFFECT
from ..nodes.io import Function
from ..ports import Code
from .executors import Executors, marked
from .finder import FINDER, import_module
from .folder import AppFolder
from .load_report import LoadReport
from .migrations import migrations_of


@dataclass(frozen=True, slots=True)
class LoadedWorkflow:
    """One workflow, ready for an engine. ``effects[target]`` and ``computes[name]`` are the functions that serve its intents."""

    contract: ModelContractWorkflow
    reducer: MachineReducer[State]
    code: Code
    effects: Mapping[str, Function]
    computes: Mapping[str, Function]
    folder: Path
    migrations: Migrations = field(default_factory=Migrations)

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def unleased(self) -> frozenset[str]:
        return frozenset(self.contract.unleased)

    @property
    def recorded(self) -> Workflow:
        """The workflow for reading its history: without functions that serve intents."""
        return Workflow(self.reducer, self.code, unleased=self.unleased, migrations=self.migrations)


@dataclass(frozen=True, slots=True)
class App:
    """``digest`` (BLAKE3, hex) names all of its code. ``findings`` are warnings only: with an error there is no App."""

    name: str
    root: Path
    digest: str
    workflows: Mapping[str, LoadedWorkflow]
    findings: tuple[Finding, ...]


def load_app(path: Path | str, known_targets: Collection[str] = (), *, digest: str | None = None) -> App:
    """The app in the folder ``path``, which holds one workflow or several in sub-folders.

    ``known_targets`` are targets that others serve. With ``digest`` only that code is accepted. Raises ContractError,
    whose ``findings`` are everything that is wrong.
    """
    folder = AppFolder(Path(path))
    return _Loading(folder, known_targets, _checked_digest(folder, digest)).run()


def load_compute(path: Path | str, digest: str, workflow: str, name: str) -> Function:
    """One compute function of an app that another process loaded under ``digest``. Worker processes call this.

    The contract is not checked again: an equal digest says that it is the same text. Raises ContractError when the files
    changed, AlgorithmNotFoundError when there is no such function.
    """
    folder = AppFolder(Path(path))
    package = FINDER.mount(folder, _checked_digest(folder, digest))
    home = "" if folder.workflows == ("",) else workflow
    for part in (folder.parts(home).get("compute"), folder.shared(home).get("compute")):
        found = None if part is None else marked(import_module(package, part), COMPUTE).get(name)
        if found is not None:
            return found
    raise AlgorithmNotFoundError(f"{folder.shown} has no compute function {name!r} for workflow {workflow!r}")


def _checked_digest(folder: AppFolder, wanted: str | None) -> str:
    digest = folder.digest
    if wanted is not None and digest != wanted:
        raise ContractError(
            f"the files of {folder.shown} changed: their digest is {digest[:16]}, wanted is {wanted[:16]}. "
            "Start the engine again to run the new code",
            digest=digest,
            wanted=wanted,
        )
    return digest


class _Loading:
    def __init__(self, folder: AppFolder, known_targets: Collection[str], digest: str) -> None:
        self.folder = folder
        self.known_targets = known_targets
        self.digest = digest
        self.report = LoadReport(folder)

    def run(self) -> App:
        contracts = self._contracts()
        self.report.judge()
        self._read_modules()
        self.report.judge()
        modules = self._import_modules()
        self.report.judge()
        compiled = {home: self._compile(home, located, modules) for home, located in contracts.items()}
        executors = self._executors(contracts, compiled, modules)
        steps = {home: self._migrations(home, located, compiled[home], modules) for home, located in contracts.items()}
        self.report.judge()
        loaded = [
            self._loaded(home, contracts[home], compiled[home], executors[home], steps[home]) for home in contracts
        ]
        workflows = {workflow.name: workflow for workflow in loaded}
        return App(self.folder.name, self.folder.root, self.digest, workflows, tuple(self.report.findings))

    # --- before any import ------------------------------------------------------------------------------------------

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

    def _read_modules(self) -> None:
        """Parses the Python files. Nothing is run."""
        names: list[str] = []
        for home in self.folder.workflows:
            parts = self.folder.parts(home)
            if "payloads" not in parts:
                path = self.folder.show(self.folder.root.joinpath(*home.split("."), "payloads.py"))
                fix = "write it beside contract.yaml: the state and payload classes"
                self.report.error("missing_file", PythonPlace(path, 0, 0), "there is no payloads.py", fix)
            names += [*parts.values(), *self.folder.shared(home).values()]
        modules, findings = self.folder.closure(names)
        self.report.add(findings)
        if not findings:
            self.report.learn(modules.values())

    # --- import -----------------------------------------------------------------------------------------------------

    def _import_modules(self) -> dict[str, ModuleType]:
        """By name inside the app. A module that raises becomes a finding at the line it raised on."""
        package = FINDER.mount(self.folder, self.digest)
        modules: dict[str, ModuleType] = {}
        for home in self.folder.workflows:
            for name in (*self.folder.parts(home).values(), *self.folder.shared(home).values()):
                if name not in modules:
                    try:
                        modules[name] = import_module(package, name)
                    except BaseException as error:  # whatever a user's module raises
                        self.report.failed(error, caught(error))
        if self.report.wrong:
            # a module half executed must not be found by the next attempt
            FINDER.forget(package)
        return modules

    # --- join -------------------------------------------------------------------------------------------------------

    def _compile(self, home: str, located: LocatedContract, modules: Mapping[str, ModuleType]) -> CompiledReducer:
        parts = self.folder.parts(home)
        classes = vars(modules[parts["payloads"]])
        handlers = self._handlers(modules[parts["reducer"]]) if "reducer" in parts else None
        compiled = compile_reducer(located, classes, handlers, self.report.spot)
        self.report.add(compiled.findings)
        return compiled

    def _handlers(self, module: ModuleType) -> Handlers[State] | None:
        tables = list({id(value): value for value in vars(module).values() if isinstance(value, Handlers)}.values())
        if len(tables) == 1:
            return tables[0]
        spot = PythonPlace(self.folder.show(Path(str(module.__file__))), 1)
        message = f"reducer.py has {len(tables) or 'no'} tables of handlers"
        self.report.error("handlers", spot, message, "write one: orders = reducer(Order); or remove the file")
        return None

    def _executors(
        self,
        contracts: Mapping[str, LocatedContract],
        compiled: Mapping[str, CompiledReducer],
        modules: Mapping[str, ModuleType],
    ) -> dict[str, Executors]:
        named: dict[str, set[str]] = {EFFECT: set(), COMPUTE: set()}
        others = {located.contract.name: compiled[home] for home, located in contracts.items()}
        executors: dict[str, Executors] = {}
        for home, located in contracts.items():
            serves = executors[home] = Executors(self.report, self.known_targets)
            for part, name in (*self.folder.shared(home).items(), *self.folder.parts(home).items()):
                if part in ("effects", "compute"):
                    serves.take(part, modules[name])
            serves.check(located, compiled[home], others)
            for declared in located.contract.intents:
                named[COMPUTE if declared.type == EnumIntentType.COMPUTE_TASK else EFFECT].add(declared.target or "")
        for serves in executors.values():
            serves.idle(named)
        return executors

    def _migrations(
        self, home: str, located: LocatedContract, compiled: CompiledReducer, modules: Mapping[str, ModuleType]
    ) -> Migrations:
        module = modules.get(self.folder.parts(home).get("migrations", ""))
        return Migrations() if module is None else migrations_of(module, located.contract, compiled, self.report)

    def _loaded(
        self, home: str, located: LocatedContract, compiled: CompiledReducer, serves: Executors, migrations: Migrations
    ) -> LoadedWorkflow:
        assert compiled.reducer is not None, "a reducer that was not made has left an error"
        contract = located.contract
        normal = to_json(_without_prose(contract.model_dump(mode="json", exclude_defaults=True)))
        digest = self.folder.code(home, normal)
        code = Code(contract.name, str(contract.contract_version), digest, contract.state_schema)
        folder = self.folder.root.joinpath(*home.split("."))
        return LoadedWorkflow(contract, compiled.reducer, code, serves.effects, serves.computes, folder, migrations)


def _without_prose(value: object) -> object:
    """Without descriptions: a new wording does not make new code. Keys are sorted."""
    if isinstance(value, dict):
        return {name: _without_prose(part) for name, part in sorted(value.items()) if name != "description"}
    if isinstance(value, list):
        return [_without_prose(part) for part in value]
    return value
