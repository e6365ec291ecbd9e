"""The modules, handlers and models that contracts name, looked up in the repository's own code.

A package of which the repository holds nothing belongs to somebody else: its references are counted and not reported.
"""

from __future__ import annotations

import posixpath
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from ..contracts.foreign.read_result import EnumFamily, ReadResult
from ..contracts.model.bus import ModelReference
from ..contracts.model.contract import ModelContractBase, ModelContractReducer
from ..kernel.finding import EnumSeverity
from ..proof.library import Library
from ..proof.symbols import ModuleSymbol, Symbol
from .derived_contracts import declared_handlers
from .doctor_finding import DoctorFinding, EnumArea, FilePosition, doctor_finding, located

_BESIDE: Final = ("node", "handler", "reducer", "compute")
"""Files beside a contract that hold its code when it names none."""


BESIDE: Final = "(beside its contract)"

_VERSION: Final = ".".join(map(str, sys.version_info[:2]))
_READER: Final = f"repair the file; if it is for a later Python, run onex by that one (this is {_VERSION})"


class CodeReference(NamedTuple):
    """``role`` is ``handler`` or ``model``. ``module`` is '' when the contract names only a class."""

    role: str
    name: str
    module: str
    place: FilePosition
    operation: str = ""


@dataclass(slots=True)
class ResolvedReferences:
    """``handlers`` are where the contract's code begins. ``found`` counts the references that were found."""

    handlers: list[tuple[CodeReference, Symbol]] = field(default_factory=list)
    findings: list[DoctorFinding] = field(default_factory=list)
    outside: Counter[str] = field(default_factory=Counter)
    found: int = 0


def code_references(reading: ReadResult, contract: ModelContractBase) -> Iterator[CodeReference]:
    """Every class and function that the contract names by module, handlers first."""
    routing = contract.handler_routing
    if routing is not None:
        for n, handler in enumerate(routing.handlers):
            at = ("handler_routing", "handlers", n)
            yield from _target(reading, "handler", handler.handler, *at, "handler", operation=handler.operation or "")
        yield from _target(reading, "handler", routing.default_handler, "handler_routing", "default_handler")
        yield from _target(reading, "handler", routing.entry_point, "handler_routing", "entry_point")
        for n, handler in enumerate(routing.handlers):
            at = ("handler_routing", "handlers", n)
            yield from _target(reading, "model", handler.event_model, *at, "event_model")
            yield from _target(reading, "model", handler.input_model, *at, "input_model")
            yield from _target(reading, "model", handler.output_model, *at, "output_model")
    yield from _target(reading, "handler", contract.node_class, "node_class")
    yield from _target(reading, "model", contract.input_model, "input_model")
    yield from _target(reading, "model", contract.output_model, "output_model")
    if isinstance(contract, ModelContractReducer) and contract.state_model and reading.family is EnumFamily.ONEX:
        yield CodeReference("model", contract.state_model, "payloads", located(reading, "state_model"))


def _target(
    reading: ReadResult, role: str, reference: ModelReference | None, *loc: str | int, operation: str = ""
) -> Iterator[CodeReference]:
    if reference is not None and reference.name.isidentifier():
        # the module's own line where it is written apart, else that of the whole reference
        place = located(reading, *loc, "name")
        yield CodeReference(role, reference.name, reference.module or "", place, operation)


class ReferenceResolver:
    """Looks references up. ``folder_of[contract]`` is its folder, counted from ``root`` like the library's paths.

    ``source_of[contract]`` is the name of the file beside it that it is derived from.
    """

    def __init__(
        self,
        library: Library,
        folder_of: dict[str, str],
        root: Path,
        source_of: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.library = library
        self._folder_of = folder_of
        self._root = root
        self._source_of = source_of
        self._reported: set[str] = set()

    def resolve(self, reading: ReadResult, contract: ModelContractBase) -> ResolvedReferences:
        out = ResolvedReferences()
        folder = self._folder_of[reading.path]
        if reading.path in self._source_of:
            self._derived(reading, contract.name, posixpath.join(folder, self._source_of[reading.path]), out)
            return out
        for target in dict.fromkeys(code_references(reading, contract)):
            if reading.family is EnumFamily.ONEX and f"{folder}/payloads.py".lstrip("/") not in self.library.files:
                continue  # a contract without its app
            self._look_up(reading, target, folder, out)
        if not out.handlers:
            self._beside(reading, folder, out)
        out.findings = list(_merged(out.findings))
        return out

    def _look_up(self, reading: ReadResult, target: CodeReference, folder: str, out: ResolvedReferences) -> None:
        module = self._module(target.module, folder) if target.module else self._holder(target.name, folder)
        if module is None:
            top = target.module.lstrip(".").partition(".")[0]
            bare = "." not in target.module
            if target.module and (not self.library.has_package(top) or (bare and not self._has_code(folder))):
                # a module without a package was meant to stand beside the contract, and no code is there at all
                if top not in sys.stdlib_module_names:
                    out.outside[BESIDE if bare else top] += 1
            elif target.module:
                out.findings.append(self._module_missing(reading, target))
            return
        if module.problem:
            self._reported.add(module.path)
            message = f"{target.module} is named here, and {self.shown(module.path)} cannot be read: {module.problem}"
            out.findings.append(self._one(reading, "code_unreadable", target, message, _READER))
            return
        symbol = self.library.name_in(module, target.name)
        if symbol is None:
            if "__getattr__" not in module.bindings and not self._star_from_outside(module):
                out.findings.append(self._name_missing(reading, target, module))
            return
        out.found += 1
        if target.role == "handler":
            out.handlers.append((target, symbol))

    def _module(self, name: str, folder: str) -> ModuleSymbol | None:
        """By its full name, or beside the contract."""
        plain = name.lstrip(".")
        for place in (f"{folder}/{plain.replace('.', '/')}.py", f"{folder}/{plain.replace('.', '/')}/__init__.py"):
            if place.lstrip("/") in self.library.files:
                return self.library.at(place.lstrip("/"))
        found = self.library.module(plain, folder)
        # a bare word means a file beside, or one that every file of the repository can import
        if found is None or "." in plain or posixpath.dirname(found.path.rstrip("/")) in ("", "src", folder):
            return found
        return None

    def _has_code(self, folder: str) -> bool:
        return any(posixpath.dirname(path) == folder for path in self.library.files)

    def _holder(self, name: str, folder: str) -> ModuleSymbol | None:
        """Of a class named without its module, a file below the contract's folder that defines it."""
        below = f"{folder}/" if folder else ""
        paths = [path for path in self.library.defining(name) if path.startswith(below)]
        return self.library.at(paths[0]) if paths else None

    def _beside(self, reading: ReadResult, folder: str, out: ResolvedReferences) -> None:
        names = ("reducer",) if reading.family is EnumFamily.ONEX else _BESIDE
        # contracts often have a folder of their own beside the code
        above = [posixpath.dirname(folder)] if posixpath.basename(folder) in ("contract", "contracts") else []
        for path in (f"{place}/{name}.py".lstrip("/") for place in (folder, *above) for name in names):
            if path in self.library.files:
                module, place = self.library.at(path), FilePosition(self.shown(path), 1)
                self._report_unreadable(reading, module, place, out)
                for bound, binding in module.bindings.items():
                    if not bound.startswith("_") and hasattr(binding, "body"):
                        symbol = self.library.name_in(module, bound)
                        if symbol is not None:
                            out.handlers.append((CodeReference("handler", bound, module.name, place), symbol))

    def _derived(self, reading: ReadResult, workflow: str, path: str, out: ResolvedReferences) -> None:
        if path not in self.library.files:
            place, source = FilePosition(reading.path, 1), posixpath.basename(path)
            message = f"the contract is derived from {source}, which is not beside it: its code is not examined"
            fix = f"remove the lock file, or put {source} back"
            out.findings.append(
                doctor_finding(
                    EnumArea.CODE, "module_missing", place, message, fix, (reading.path,), EnumSeverity.WARNING
                )
            )
            return
        module, place = self.library.at(path), FilePosition(self.shown(path), 1)
        self._report_unreadable(reading, module, place, out)
        for name, symbol in declared_handlers(self.library, module, workflow):
            out.found += 1
            out.handlers.append((CodeReference("handler", name, module.name, place), symbol))

    def _report_unreadable(
        self, reading: ReadResult, module: ModuleSymbol, place: FilePosition, out: ResolvedReferences
    ) -> None:
        if module.problem:
            self._reported.add(module.path)
            message = f"{posixpath.basename(module.path)} beside the contract cannot be read: {module.problem}"
            target = CodeReference("handler", "", module.name, place)
            out.findings.append(self._one(reading, "code_unreadable", target, message, _READER))

    def _star_from_outside(self, module: ModuleSymbol) -> bool:
        return any(not isinstance(self.library.imported(star, module.path), ModuleSymbol) for star in module.stars)

    # --- what is missing --------------------------------------------------------------------------------------------

    def _module_missing(self, reading: ReadResult, target: CodeReference) -> DoctorFinding:
        message = f"{target.role} {target.name}: there is no module {target.module} in this repository"
        return self._one(reading, "module_missing", target, message, self._elsewhere(target) or self._near(target))

    def _name_missing(self, reading: ReadResult, target: CodeReference, module: ModuleSymbol) -> DoctorFinding:
        message = f"{target.role} {target.name} is not in {self.shown(module.path)}"
        near = get_close_matches(target.name, [name for name in module.bindings if not name.startswith("_")], 1, 0.75)
        fix = self._elsewhere(target) or (f"did you mean {near[0]}?" if near else "write the name that it has there")
        return self._one(reading, f"{target.role}_missing", target, message, fix)

    def _elsewhere(self, target: CodeReference) -> str:
        """Where a class or function of that name is written; '' when nowhere."""
        names = [self.library.at(path).name for path in self.library.defining(target.name)[:2]]
        return f"{target.name} is in {' and in '.join(names)}" if names else ""

    def _near(self, target: CodeReference) -> str:
        """A module that is nearly called so, in the deepest package that exists."""
        parts = target.module.split(".")
        while len(parts) > 1:
            last = parts.pop()
            package = self.library.module(".".join(parts))
            if package is not None:
                inside = posixpath.dirname(package.path)
                names = sorted({name for path in self.library.files if (name := _child(path, inside))})
                near = get_close_matches(last, names, 1, 0.6)
                if near:
                    return f"did you mean {'.'.join(parts)}.{near[0]}?"
                break
        return "write the module that holds it"

    def _one(self, reading: ReadResult, code: str, target: CodeReference, message: str, fix: str) -> DoctorFinding:
        wrong = target.role == "handler" and code != "code_unreadable"
        severity = EnumSeverity.ERROR if wrong else EnumSeverity.WARNING
        return doctor_finding(EnumArea.CODE, code, target.place, message, fix, (reading.path,), severity)

    def unread(self) -> Iterator[DoctorFinding]:
        """Files that code imports and that cannot be read. Those that a contract names were reported with it."""
        for module in self.library.unreadable():
            if module.path not in self._reported:
                message = f"code of a contract imports this file, which cannot be read: {module.problem}"
                place = FilePosition(self.shown(module.path), 1)
                yield doctor_finding(
                    EnumArea.CODE, "code_unreadable", place, message, _READER, (), EnumSeverity.WARNING
                )

    def shown(self, path: str) -> str:
        return str(self._root / path)


def _merged(findings: list[DoctorFinding]) -> Iterator[DoctorFinding]:
    """A name that a contract writes on several lines is reported once."""
    alike: dict[tuple[str, str], list[DoctorFinding]] = {}
    for one in findings:
        alike.setdefault((one.finding.code, one.finding.message), []).append(one)
    for first, *others in alike.values():
        lines = [str(one.finding.line) for one in others]
        more = f" (also named on line {', '.join(lines[:5])})" if lines else ""
        yield first._replace(finding=first.finding._replace(message=f"{first.finding.message}{more}"))


def _child(path: str, folder: str) -> str:
    """The module or package directly in ``folder`` that the file belongs to, '' for none."""
    if not path.startswith(f"{folder}/"):
        return ""
    name = path[len(folder) + 1 :].partition("/")[0].removesuffix(".py")
    return "" if name.startswith("__") else name
