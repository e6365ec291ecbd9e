"""Names in the handlers of an app, judged by reading its files. No module is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from ..contracts.guard.problem import suggest
from ..contracts.load import load_contract
from ..contracts.model.contract import drawn
from ..kernel.errors import ContractError
from ..kernel.finding import EnumSeverity, Finding
from ..proof.classes import ClassTable
from ..proof.handler_names import HandlerFault, handler_faults
from ..proof.library import Library
from ..proof.symbols import ClassSymbol, ModuleSymbol
from .folder import AppFolder
from .intent_limit import too_many_intents

KNOWN_SHOWN = 12
_FIXES = {
    "unknown_field": "it has {known}",
    "unknown_status": "the statuses are {known}",
}


def handler_findings(folder: AppFolder) -> tuple[Finding, ...]:
    """All errors, in no particular order. What cannot be read is left to others, who report it."""
    try:
        names = [folder.source] if folder.source else [
            name for home in folder.workflows for name in (*folder.parts(home).values(), *folder.shared(home).values())
        ]  # fmt: skip
        modules, _ = folder.closure(names)
    except ContractError:
        return ()
    texts = {one.path.relative_to(folder.root).as_posix(): one.text for one in modules.values() if one.text}
    library = Library(sorted(texts), lambda path: texts.get(path, "it is not of the app"))
    classes = ClassTable(library)
    read = [library.at(path) for path in sorted(texts)]
    statuses = dict(_statuses(folder, library))
    extended = {base for one in _classes(read) for base in classes.line(one)[1:] if isinstance(base, ClassSymbol)}
    found = (
        _finding(folder.show(folder.root / module.path), fault)
        for module in read
        for fault in handler_faults(classes, module, statuses, extended)
    )
    return (*found, *too_many_intents(folder, modules.values()))


def _statuses(folder: AppFolder, library: Library) -> Iterator[tuple[ClassSymbol, frozenset[str]]]:
    """Of the state classes that contracts name; a declaration in one file lists its statuses at the class."""
    for home in () if folder.source else folder.workflows:
        path, data = folder.contract(home)
        contract = load_contract(data.decode(errors="replace"), path).contract
        file = "/".join((*home.split("."), "payloads.py")).lstrip("/")
        if contract is not None and contract.state_model is not None and file in library.files:
            found = library.name_in(library.at(file), contract.state_model)
            if isinstance(found, ClassSymbol):
                yield found, frozenset(drawn(contract.state_machine).statuses)


def _classes(modules: list[ModuleSymbol]) -> Iterator[ClassSymbol]:
    for module in modules:
        for name, binding in module.bindings.items():
            if isinstance(binding, ast.ClassDef):
                yield ClassSymbol(module, binding, name)


def _finding(path: str, fault: HandlerFault) -> Finding:
    few = ", ".join(fault.known[:KNOWN_SHOWN]) + (", ..." if len(fault.known) > KNOWN_SHOWN else "")
    fix = suggest(fault.name, fault.known) if fault.known else ""
    fix = fix or _FIXES[fault.code].format(known=few)
    return Finding(fault.code, EnumSeverity.ERROR, path, fault.line, fault.column, fault.message, fix)
