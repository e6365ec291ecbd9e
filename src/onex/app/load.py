"""From a folder to an app: contracts are judged first, code is imported after, then both are joined.

No contract with an error imports anything. All problems are reported at once, each at its line.
"""

from __future__ import annotations

import ast
import inspect
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic_core import to_json

from ..contracts.compile import Compiled, Promise, Spot, compile_reducer
from ..contracts.contract import ModelContractReducer
from ..contracts.guard import suggest
from ..contracts.load import load_contract
from ..contracts.source import place_of
from ..kernel.action import Nothing
from ..kernel.errors import AlgorithmNotFoundError, ContractError, OnexError
from ..kernel.finding import EnumSeverity, Finding, errors
from ..kernel.intent import EnumIntentType, IntentSpec
from ..kernel.machine import Handlers, MachineReducer
from ..kernel.step import State
from ..nodes.compute import COMPUTE, ComputeIO
from ..nodes.effect import EFFECT, EffectIO
from ..nodes.io import Function, Shape, compute_shape, effect_shape
from ..ports import Code
from .finder import FINDER, PREFIX, import_module
from .folder import Folder, Module


@dataclass(frozen=True, slots=True)
class LoadedWorkflow:
    """One workflow, ready for an engine: ``effects[target]`` and ``computes[name]`` are the functions that serve it."""

    contract: ModelContractReducer
    reducer: MachineReducer[State]
    code: Code
    effects: Mapping[str, Function]
    computes: Mapping[str, Function]
    folder: Path

    @property
    def name(self) -> str:
        return self.contract.name

    @property
    def unleased(self) -> frozenset[str]:
        return frozenset(self.contract.unleased)


@dataclass(frozen=True, slots=True)
class App:
    """``digest`` (BLAKE3, hex) names all of its code; ``findings`` are warnings, the errors having refused it."""

    name: str
    root: Path
    digest: str
    workflows: Mapping[str, LoadedWorkflow]
    findings: tuple[Finding, ...]


def load_app(path: Path | str, known_targets: Collection[str] = (), *, digest: str | None = None) -> App:
    """The app in the folder ``path``, one workflow or a folder of them; same files, same app, in any process.

    ``known_targets`` are targets that others serve. With ``digest`` only that code is accepted. Raises ContractError,
    whose ``findings`` are everything that is wrong.
    """
    folder = Folder(Path(path))
    return _Loading(folder, known_targets, _checked_digest(folder, digest)).run()


def load_compute(path: Path | str, digest: str, workflow: str, name: str) -> Function:
    """One compute function of an app that was loaded under ``digest`` elsewhere: how a worker process finds it.

    The contract is not read again: the digest says that it is the one already judged. Raises ContractError when the
    files changed, AlgorithmNotFoundError when there is no such function.
    """
    folder = Folder(Path(path))
    package = FINDER.mount(folder, _checked_digest(folder, digest))
    home = "" if folder.workflows == ("",) else workflow
    for part in (folder.parts(home).get("compute"), folder.shared(home).get("compute")):
        found = None if part is None else _marked(import_module(package, part), COMPUTE).get(name)
        if found is not None:
            return found
    raise AlgorithmNotFoundError(f"{folder.shown} has no compute function {name!r} for workflow {workflow!r}")


def _checked_digest(folder: Folder, wanted: str | None) -> str:
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
    def __init__(self, folder: Folder, known_targets: Collection[str], digest: str) -> None:
        self.folder = folder
        self.known_targets = known_targets
        self.digest = digest
        self.findings: list[Finding] = []
        self.places = _Places(folder)

    def run(self) -> App:
        promises = self._contracts()
        self._judge()
        self._static()
        self._judge()
        package = FINDER.mount(self.folder, self.digest)
        modules = self._modules(package)
        if errors(tuple(self.findings)):
            # a module half executed must not be found by the next attempt
            FINDER.forget(package)
        self._judge()
        loaded: dict[str, LoadedWorkflow] = {}
        compiled = {home: self._compile(home, promise, modules) for home, promise in promises.items()}
        for home, promise in promises.items():
            workflow = self._join(home, promise, compiled, promises, modules)
            if workflow is not None:
                loaded[workflow.name] = workflow
        self._judge()
        return App(self.folder.name, self.folder.root, self.digest, loaded, tuple(self.findings))

    def _judge(self) -> None:
        found = tuple(self.findings)
        wrong = errors(found)
        if wrong:
            count = "1 problem" if len(wrong) == 1 else f"{len(wrong)} problems"
            told = "\n".join(map(str, wrong[:10]))
            more = f"\n... and {len(wrong) - 10} more" if len(wrong) > 10 else ""
            raise ContractError(f"{self.folder.shown} cannot be loaded: {count}\n{told}{more}", found)

    # --- before any import ------------------------------------------------------------------------------------------

    def _contracts(self) -> dict[str, Promise]:
        promises: dict[str, Promise] = {}
        named: dict[str, str] = {}
        for home in self.folder.workflows:
            path, data = self.folder.contract(home)
            try:
                text = data.decode()
            except UnicodeDecodeError as error:
                line = data[: error.start].count(b"\n") + 1
                self._error("not_utf8", Spot(path, line), f"byte {error.start} is not UTF-8", "save the file as UTF-8")
                continue
            loaded = load_contract(text, path)
            self.findings.extend(loaded.findings)
            if loaded.contract is None or loaded.tree is None:
                continue
            name = loaded.contract.name
            spot = Spot(path, *place_of(loaded.tree, ("name",)))
            if name in named:
                message = f"two workflows are named {name!r}; the other is {named[name]}"
                self._error("duplicate", spot, message, "a workflow type names one workflow")
            elif home and name != home:
                message = f"the workflow {name!r} stands in the folder {home!r}"
                self._error("folder_name", spot, message, f"rename the folder, or write name: {home}")
            named[name] = path
            promises[home] = Promise(loaded.contract, loaded.tree, path)
        return promises

    def _static(self) -> None:
        """What can be seen in the Python files without running them."""
        names: list[str] = []
        for home in self.folder.workflows:
            parts = self.folder.parts(home)
            if "payloads" not in parts:
                path = self.folder.show(self.folder.root.joinpath(*home.split("."), "payloads.py"))
                fix = "write it beside contract.yaml: the state and payload classes"
                self._error("missing_file", Spot(path, 0, 0), "there is no payloads.py", fix)
            names += [*parts.values(), *self.folder.shared(home).values()]
        modules, findings = self.folder.closure(names)
        self.findings.extend(findings)
        self.places.read(modules.values())

    # --- import -----------------------------------------------------------------------------------------------------

    def _modules(self, package: str) -> dict[str, ModuleType]:
        """By name inside the app. A module that raises becomes a finding at the line it raised on."""
        modules: dict[str, ModuleType] = {}
        for home in self.folder.workflows:
            for name in (*self.folder.parts(home).values(), *self.folder.shared(home).values()):
                if name in modules:
                    continue
                try:
                    modules[name] = import_module(package, name)
                except (Exception, SystemExit) as error:
                    self._failed(error)
        return modules

    def _failed(self, error: BaseException) -> None:
        root = str(self.folder.root)
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
        if isinstance(error, ContractError) and error.findings:
            self.findings.extend(self._shown(one) for one in error.findings if isinstance(one, Finding))
            return
        spot = Spot(str(self.folder.shown), 0, 0)
        if frames:
            spot = Spot(self.folder.show(Path(frames[-1].filename)), frames[-1].lineno or 0)
        said = error.message if isinstance(error, OnexError) else f"{type(error).__name__}: {error}"
        fix = "mend the module: it must be importable without the engine"
        if isinstance(error, ModuleNotFoundError):
            fix = "import the app's own files relatively (from .payloads import X); install what is not yours"
        finding = Finding("import_failed", EnumSeverity.ERROR, *spot, f"importing failed: {said}", fix)
        if finding not in self.findings:
            self.findings.append(finding)

    def _shown(self, finding: Finding) -> Finding:
        return finding._replace(path=self.folder.show(Path(finding.path)))

    # --- join -------------------------------------------------------------------------------------------------------

    def _compile(self, home: str, promise: Promise, modules: Mapping[str, ModuleType]) -> Compiled:
        parts = self.folder.parts(home)
        classes = vars(modules[parts["payloads"]])
        handlers = self._handlers(modules[parts["reducer"]]) if "reducer" in parts else None
        compiled = compile_reducer(promise, classes, handlers, self.places.spot)
        self.findings.extend(compiled.findings)
        return compiled

    def _handlers(self, module: ModuleType) -> Handlers[State] | None:
        tables = list({id(value): value for value in vars(module).values() if isinstance(value, Handlers)}.values())
        if len(tables) == 1:
            return tables[0]
        spot = Spot(self.folder.show(Path(str(module.__file__))), 1)
        message = (
            f"reducer.py has {len(tables)} tables of handlers" if tables else "reducer.py has no table of handlers"
        )
        self._error("handlers", spot, message, "write one: orders = reducer(Order); or remove the file")
        return None

    def _join(
        self,
        home: str,
        promise: Promise,
        compiled: Mapping[str, Compiled],
        promises: Mapping[str, Promise],
        modules: Mapping[str, ModuleType],
    ) -> LoadedWorkflow | None:
        effects = self._functions(home, "effects", EFFECT, modules)
        computes = self._functions(home, "compute", COMPUTE, modules)
        own = compiled[home]
        contract = promise.contract
        served = _Served(self, promise, own, effects, computes)
        others = {promises[other].contract.name: compiled[other] for other in promises}
        if own.reducer is not None:
            for n, declared in enumerate(contract.intents):
                served.check(n, own.reducer.intents.by_name[declared.name], others)
        if own.reducer is None:
            return None
        normal = to_json(_without_prose(contract.model_dump(mode="json", exclude_defaults=True)))
        code = Code(
            contract.name, str(contract.contract_version), self.folder.code(home, normal), contract.state_schema
        )
        folder = self.folder.root.joinpath(*home.split("."))
        return LoadedWorkflow(contract, own.reducer, code, effects, computes, folder)

    def _functions(self, home: str, part: str, mark: str, modules: Mapping[str, ModuleType]) -> dict[str, Function]:
        """The marked functions that serve a workflow: its own, and those at the root of the app."""
        found: dict[str, Function] = {}
        for names in (self.folder.shared(home), self.folder.parts(home)):
            if part not in names:
                continue
            for target, function in _marked(modules[names[part]], mark, self._twice).items():
                if target in found:
                    self._twice(target, found[target], function)
                found[target] = function
        return found

    def _twice(self, target: str, first: Function, second: Function) -> None:
        other = self.places.spot(first, "")
        where = f" (the other is {other.path}:{other.line})" if other else ""
        self._error("duplicate", self._spot(second), f"two functions serve {target!r}{where}", "give one another name")

    def _spot(self, function: Function) -> Spot:
        return self.places.spot(function, "") or Spot(str(self.folder.shown), 0, 0)

    def _error(self, code: str, spot: Spot, message: str, fix: str) -> None:
        finding = Finding(code, EnumSeverity.ERROR, *spot, message, fix)
        if finding not in self.findings:
            self.findings.append(finding)


class _Served:
    """Whether somebody serves each intent of one workflow, with the right classes."""

    def __init__(
        self,
        loading: _Loading,
        promise: Promise,
        compiled: Compiled,
        effects: Mapping[str, Function],
        computes: Mapping[str, Function],
    ) -> None:
        self.loading = loading
        self.promise = promise
        self.payloads = compiled.payloads
        self.effects = effects
        self.computes = computes

    def check(self, n: int, spec: IntentSpec, others: Mapping[str, Compiled]) -> None:
        if spec.kind == EnumIntentType.TIMER:
            return
        if spec.kind == EnumIntentType.ACTION_SEND:
            self._send(n, spec, others)
            return
        computed = spec.kind == EnumIntentType.COMPUTE_TASK
        function = (self.computes if computed else self.effects).get(spec.target)
        if function is None:
            if computed or spec.target not in self.loading.known_targets:
                self._nobody(n, spec, computed)
            return
        try:
            shape = compute_shape(function, ComputeIO) if computed else effect_shape(function, EffectIO)
        except ContractError as error:
            self.loading._failed(error)
            return
        self._fits(n, spec, function, shape)

    def _nobody(self, n: int, spec: IntentSpec, computed: bool) -> None:
        mark, file = ("compute", "compute.py") if computed else ("effect", "effects.py")
        known = list(self.computes if computed else self.effects)
        fix = suggest(spec.target, known) or f'write a function marked @{mark}("{spec.target}") in {file}'
        self._at(n, "target", "no_executor", f"nobody serves {spec.target!r}: {file} has no such function", fix)

    def _fits(self, n: int, spec: IntentSpec, function: Function, shape: Shape) -> None:
        spot = self.loading._spot(function)
        sent = spec.payload or Nothing
        if sent is not shape.payload:
            message = f"{shape.name} takes {shape.payload.__name__}; intent {spec.name!r} carries {sent.__name__}"
            self.loading._error(
                "function_payload", spot, message, f"annotate it {sent.__name__}, or change the contract"
            )
        succeeded = next((trigger for outcome, trigger in spec.outcomes.items() if outcome == "succeeded"), None)
        if succeeded is None:
            return
        wanted = self.payloads.get(succeeded, Nothing)
        if wanted is not shape.result:
            gives = "nothing" if shape.result is Nothing else shape.result.__name__
            takes = "nothing" if wanted is Nothing else wanted.__name__
            fix = f"return {takes}, or write payload: {shape.result.__name__} at the transitions of {succeeded!r}"
            if wanted is Nothing:
                fix = f"write payload: {shape.result.__name__} at the transitions of {succeeded!r}, or return None"
            message = f"{shape.name} returns {gives}; {succeeded!r}, which its success fires, carries {takes}"
            self.loading._error("function_result", spot, message, fix)

    def _send(self, n: int, spec: IntentSpec, others: Mapping[str, Compiled]) -> None:
        other = others.get(spec.target)
        if other is None:
            if spec.target not in self.loading.known_targets:
                fix = suggest(spec.target, list(others)) or f"it has {', '.join(others)}"
                self._at(n, "target", "unknown_workflow", f"this app has no workflow {spec.target!r}", fix)
            return
        if other.reducer is None:
            return
        taken = other.reducer.payloads.get(spec.trigger)
        if taken is None:
            known = list(other.reducer.payloads)
            fix = suggest(spec.trigger, known) or f"it has {', '.join(known)}"
            self._at(n, "trigger", "unknown_trigger", f"{spec.target} has no trigger {spec.trigger!r}", fix)
        elif (spec.payload or Nothing) is not taken:
            sent = (spec.payload or Nothing).__name__
            message = f"{spec.trigger!r} of {spec.target} carries {taken.__name__}; intent {spec.name!r} sends {sent}"
            self._at(n, "payload", "send_payload", message, f"import {taken.__name__} from ..{spec.target}.payloads")

    def _at(self, n: int, key: str, code: str, message: str, fix: str) -> None:
        place = place_of(self.promise.tree, ("intents", n, key))
        self.loading._error(code, Spot(self.promise.path, *place), message, fix)


class _Places:
    """Where classes, their fields and functions are written, read off the syntax trees."""

    def __init__(self, folder: Folder) -> None:
        self.folder = folder
        self._spots: dict[tuple[str, str], Spot] = {}

    def read(self, modules: Collection[Module]) -> None:
        for module in modules:
            path = self.folder.show(module.path)
            for name, node in _definitions(ast.parse(module.text).body, ""):
                self._spots[module.name, name] = Spot(path, node.lineno, node.col_offset + 1)

    def spot(self, thing: object, field: str) -> Spot | None:
        """Of a class, one of its fields, or a function; None when the app did not write it."""
        thing = inspect.unwrap(thing) if inspect.isfunction(thing) else thing
        module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
        parts = module.split(".", 2)
        if not parts[0].startswith(PREFIX) or len(parts) < 2:
            return None
        inside = parts[2] if len(parts) == 3 else ""
        exact = self._spots.get((inside, f"{name}.{field}")) if field else None
        return exact or self._spots.get((inside, name))


_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(body: list[ast.stmt], outer: str) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, _Definition):
            yield f"{outer}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, f"{outer}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield f"{outer}{node.target.id}", node


def _marked(
    module: ModuleType, mark: str, twice: Callable[[str, Function, Function], None] | None = None
) -> dict[str, Function]:
    """Functions by the name they were marked with, in the order of the file."""
    found: dict[str, Function] = {}
    for value in vars(module).values():
        name = getattr(value, mark, None) if inspect.isfunction(value) else None
        if isinstance(name, str):
            if twice is not None and name in found and found[name] is not value:
                twice(name, found[name], value)
            found.setdefault(name, value)
    return found


def _without_prose(value: object) -> object:
    """Descriptions explain code and are none: rewording one does not make other code of it. Keys are sorted."""
    if isinstance(value, dict):
        return {name: _without_prose(part) for name, part in sorted(value.items()) if name != "description"}
    if isinstance(value, list):
        return [_without_prose(part) for part in value]
    return value
