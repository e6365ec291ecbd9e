"""Makes an app of a folder: contracts are checked first, code is imported after that, then the two are joined.

Theory of operation. ``load_app`` goes through these steps. After each step that can find errors it stops if there are any, and
raises one ContractError with all findings up to then, so a user fixes one kind of trouble at a time but sees all of it.

1. ``AppFolder`` reads the folder. Each file is read once: the bytes that are hashed are the bytes that are imported later.
2. Contract first (`contract_first`): every contract is checked. A contract with an error imports nothing.
3. The modules are parsed, not run: a missing ``payloads.py`` and a syntax error are found here, and the places of all classes and
   functions are remembered for later findings.
4. The modules are imported through `finder`, under a package name made of the digest. Whatever a module raises, also SystemExit or
   KeyboardInterrupt, becomes a finding at the innermost line of the app. In one file (`one_file`) the contract is derived now, and
   checked as the other form's is.
5. For each workflow, contract and classes are compiled to a reducer; functions that serve intents are matched to the contract,
   with their types; migrations are checked. These steps continue on errors, so they are reported together.

What the result depends on: the bytes of the folder, and this version of Python and of its libraries. Module code can of course
read a clock while it is imported; nobody can prevent that here. ``digest`` names all code of the app. A worker process gets the
digest from the engine and refuses other files, so both run the same code (``load_compute``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic_core import to_json

from ..authoring.contract_text import contract_text
from ..contracts.compile import CompiledReducer, LocatedContract, PythonPlace, compile_reducer
from ..contracts.model.contract import ModelContractWorkflow
from ..contracts.model.schedule import SCHEDULE
from ..contracts.orchestration.expansion import CANCEL
from ..contracts.text.yaml_tree import place_of
from ..engine.bus.topics import ConsumedTopic
from ..engine.registry import Workflow
from ..kernel.errors import AlgorithmNotFoundError, ContractError
from ..kernel.finding import Finding
from ..kernel.intent import RUN_BEGIN, EnumIntentType
from ..kernel.machine import MachineReducer
from ..kernel.migration import Migrations
from ..kernel.quota import NO_LIMITS, ResourceLimits
from ..kernel.search import SearchPlan
from ..kernel.step import State
from ..kernel.target_policy import NO_POLICY, TargetPolicy, joined
from ..nodes.compute import COMPUTE
from ..nodes.effect import EFFECT, policy_of
from ..nodes.io import Function
from ..orchestration.start_queue import derived_queue
from ..ports import Code
from .contract_first import ContractFirst
from .executors import Executors, marked
from .finder import FINDER, import_module
from .folder import AppFolder
from .load_report import LoadReport
from .migrations import DeclaredChanges, migrations_of
from .modules import AppModules
from .one_file import OneFile, declared_compute
from .public_triggers import public_findings
from .schedule_checks import schedule_findings
from .search_fields import search_plan
from .topic_checks import topic_findings
from .workflow_source import WorkflowSource

SCHEDULES = Path("onex:schedule")
"""The workflow that keeps the schedules of an app that has some."""


@dataclass(frozen=True, slots=True)
class LoadedWorkflow:
    """One workflow, ready for an engine. ``effects[target]`` and ``computes[name]`` are the functions that serve its intents.

    ``located`` is its contract with the places of its parts.
    """

    contract: ModelContractWorkflow
    reducer: MachineReducer[State]
    code: Code
    effects: Mapping[str, Function]
    computes: Mapping[str, Function]
    folder: Path
    located: LocatedContract
    migrations: Migrations = field(default_factory=Migrations)
    search: SearchPlan | None = None

    @property
    def contract_text(self) -> str:
        """Its contract as YAML, in one form for one contract."""
        return contract_text(self.located.tree)

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def unleased(self) -> frozenset[str]:
        return frozenset(self.contract.unleased)

    @property
    def public(self) -> frozenset[str]:
        return frozenset(self.contract.public)

    @property
    def is_start_queue(self) -> bool:
        """Derived from the contract of another workflow: it holds what waits to begin."""
        return any(one.type == RUN_BEGIN for one in self.contract.intents)

    @property
    def pinned(self) -> bool:
        """Whether an instance keeps this code for life."""
        return self.contract.version_policy == "pinned"

    @property
    def limits(self) -> ResourceLimits:
        """What one of its instances may take."""
        limited = self.contract.resource_limits
        return NO_LIMITS if limited is None else limited.limits

    @property
    def policies(self) -> dict[str, TargetPolicy]:
        """``policies[target]``, of the targets that have one."""
        found = {target: declared.policy for target, declared in self.contract.targets.items()}
        for target, function in self.effects.items():
            found[target] = joined(found.get(target, NO_POLICY), policy_of(function))
        return {target: policy for target, policy in found.items() if policy != NO_POLICY}

    @property
    def ends(self) -> frozenset[str]:
        """Triggers that end it wherever they are accepted. That of an orchestration undoes what was done, and ends its children."""
        if self.contract.tasks:
            return frozenset({CANCEL})
        lines = self.contract.state_machine.transitions
        goes_on = {line.trigger for line in lines if line.to_state not in self.contract.state_machine.terminal_states}
        return frozenset(line.trigger for line in lines) - goes_on

    @property
    def consumed(self) -> tuple[ConsumedTopic, ...]:
        """Topics whose messages become its actions."""
        bus = self.contract.event_bus
        return tuple(
            ConsumedTopic(
                self.name, one.topic, one.trigger, one.event_type or "", one.key or "", bool(one.by_event_type)
            )
            for one in (() if bus is None else bus.subscribe_topics)
        )

    @property
    def recorded(self) -> Workflow:
        """The workflow for reading its history: without functions that serve intents."""
        return Workflow(
            self.reducer,
            self.code,
            unleased=self.unleased,
            migrations=self.migrations,
            public=self.public,
            pinned=self.pinned,
        )


@dataclass(frozen=True, slots=True)
class App:
    """``digest`` (BLAKE3, hex) names all of its code. ``findings`` are warnings only: with an error there is no App.

    ``root`` is the folder or Python file that is the app. ``source`` is the file that declares the workflows, None where
    contracts do.
    """

    name: str
    root: Path
    digest: str
    workflows: Mapping[str, LoadedWorkflow]
    findings: tuple[Finding, ...]
    source: Path | None = None

    @property
    def written(self) -> Mapping[str, LoadedWorkflow]:
        """The workflows of its author: without those that keep its schedules, and what waits to begin."""
        if len(self.workflows) == 1:
            return self.workflows
        return {name: one for name, one in self.workflows.items() if name != SCHEDULE and not one.is_start_queue}

    def with_schedules(self) -> App:
        """The same with the workflow that keeps schedules, whether it has some or not."""
        kept = load_app(SCHEDULES).workflows
        return self if SCHEDULE in self.workflows else replace(self, workflows={**self.workflows, **kept})


def load_app(path: Path | str, known_targets: Collection[str] = (), *, digest: str | None = None) -> App:
    """The app at ``path``: a folder with one workflow, or with several in sub-folders, or a Python file that declares some.

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
    if folder.source:
        return declared_compute(import_module(package, folder.source), workflow, name)
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
        form = OneFile(self.folder, self.report) if self.folder.source else ContractFirst(self.folder, self.report)
        written = form.sources(AppModules(self.folder, self.digest, self.report))
        sources = [*written, *self._queues(written)]
        self.report.judge()
        compiled = {one.located.contract.name: self._compile(one) for one in sources}
        executors = self._executors(sources, compiled)
        loaded: dict[str, LoadedWorkflow] = {}
        steps = {one.located.contract.name: self._migrations(one, compiled) for one in sources}
        self.report.add(topic_findings([one.located for one in sources], compiled))
        self.report.add(schedule_findings([one.located for one in sources], compiled))
        plans: dict[str, SearchPlan | None] = {}
        for one in sources:
            plans[one.located.contract.name] = self._search(one, compiled[one.located.contract.name])
        self.report.judge()
        self.report.add(public_findings([one.located for one in sources], [one.reducer for one in compiled.values()]))
        for one in sources:
            name = one.located.contract.name
            loaded[name] = self._loaded(one, compiled[name], executors[name], steps[name], plans[name])
        folder = self.folder
        source = folder.root / f"{folder.source}.py" if folder.source else None
        app = App(folder.title, folder.place, self.digest, loaded, tuple(self.report.findings), source)
        return app.with_schedules() if any(one.contract.schedules for one in loaded.values()) else app

    def _queues(self, written: Sequence[WorkflowSource]) -> Iterator[WorkflowSource]:
        """What waits to begin, of each workflow with ``start:``."""
        names = {one.located.contract.name for one in written}
        for one in written:
            made = derived_queue(one.located, one.classes) if one.located.contract.start else None
            if made is None:
                continue
            self.report.add(made.findings)
            if made.contract is not None and made.contract.contract.name in names:
                spot = PythonPlace(*place_of(one.located.tree, ("start",)).spot(one.located.path))
                message = f"{made.contract.contract.name} holds what waits to begin, and another workflow has the name"
                self.report.error("duplicate", spot, message, "give that one another name")
            elif made.contract is not None:
                yield replace(
                    one,
                    located=made.contract,
                    classes=made.classes,
                    handlers=made.handlers,
                    migrations=DeclaredChanges(),
                    modules=(),
                    effects={},
                    computes={},
                )

    def _compile(self, source: WorkflowSource) -> CompiledReducer:
        compiled = compile_reducer(source.located, source.classes, source.handlers, self.report.spot)
        self.report.add(compiled.findings)
        return compiled

    def _executors(
        self, sources: Sequence[WorkflowSource], compiled: Mapping[str, CompiledReducer]
    ) -> dict[str, Executors]:
        named: dict[str, set[str]] = {EFFECT: set(), COMPUTE: set()}
        executors: dict[str, Executors] = {}
        for one in sources:
            name = one.located.contract.name
            serves = executors[name] = Executors(self.report, self.known_targets)
            for part, module in one.modules:
                serves.take(part, module)
            serves.effects.update(one.effects)
            serves.computes.update(one.computes)
            serves.check(one.located, compiled[name], compiled)
            for declared in one.located.contract.intents:
                named[COMPUTE if declared.type == EnumIntentType.COMPUTE_TASK else EFFECT].add(declared.target or "")
        for serves in executors.values():
            serves.idle(named)
        return executors

    def _migrations(self, source: WorkflowSource, compiled: Mapping[str, CompiledReducer]) -> Migrations:
        contract = source.located.contract
        return migrations_of(source.migrations, contract, compiled[contract.name], self.report)

    def _search(self, source: WorkflowSource, compiled: CompiledReducer) -> SearchPlan | None:
        if compiled.reducer is None:
            return None
        plan, findings = search_plan(source.located, compiled.reducer.state_type)
        self.report.add(findings)
        return plan

    def _loaded(
        self,
        source: WorkflowSource,
        compiled: CompiledReducer,
        serves: Executors,
        migrations: Migrations,
        search: SearchPlan | None,
    ) -> LoadedWorkflow:
        assert compiled.reducer is not None, "a reducer that was not made has left an error"
        contract = source.located.contract
        normal = to_json(_without_prose(contract.decided))
        digest = self.folder.code(source.home, normal, source.parts)
        code = Code(contract.name, str(contract.contract_version), digest, contract.state_schema)
        folder = self.folder.root.joinpath(*source.home.split("."))
        return LoadedWorkflow(
            contract,
            compiled.reducer,
            code,
            serves.effects,
            serves.computes,
            folder,
            source.located,
            migrations,
            search,
        )


def _without_prose(value: object) -> object:
    """Without descriptions: a new wording does not make new code. Keys are sorted."""
    if isinstance(value, dict):
        return {name: _without_prose(part) for name, part in sorted(value.items()) if name != "description"}
    if isinstance(value, list):
        return [_without_prose(part) for part in value]
    return value
