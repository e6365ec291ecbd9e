"""The modules of an app: parsed first, so that a syntax error runs nothing, and then imported from the bytes that were hashed.

After an error all modules of the app are removed from the interpreter, so that the next attempt finds no half executed module.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from ..kernel.user_code import caught
from .finder import FINDER, import_module
from .folder import AppFolder
from .intent_limit import too_many_intents
from .load_report import LoadReport


class AppModules:
    def __init__(self, folder: AppFolder, digest: str, report: LoadReport) -> None:
        self.folder = folder
        self.digest = digest
        self.report = report

    def imported(self, names: Sequence[str]) -> dict[str, ModuleType]:
        """By name inside the app. Whatever a module raises becomes a finding at the line it raised on. Raises ContractError."""
        found, findings = self.folder.closure(names)
        self.report.add(findings)
        if not findings:
            self.report.learn(found.values())
            self.report.add(too_many_intents(self.folder, found.values()))
        self.report.judge()
        package = FINDER.mount(self.folder, self.digest)
        modules: dict[str, ModuleType] = {}
        for name in names:
            try:
                modules[name] = import_module(package, name)
            except BaseException as error:  # whatever a user's module raises
                self.report.failed(error, caught(error))
        if self.report.wrong:
            FINDER.forget(package)
        self.report.judge()
        return modules
