"""Collects what is wrong with an app until it is reported all at once, and knows where in its files each thing is written."""

from __future__ import annotations

import ast
import inspect
import re
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ..authoring.declaration import WorkflowDeclaration, workflow
from ..contracts.compile import PythonPlace
from ..contracts.guard.problem import suggest
from ..kernel.errors import ContractError, OnexError
from ..kernel.finding import EnumSeverity, Finding, errors
from ..kernel.user_code import plain_text
from ..kernel.user_trace import trace_text
from .finder import PREFIX
from .folder import AppFolder, AppModule
from .import_limit import ImportEndless

SHOWN = 10
_MOUNTED = re.compile(rf"{PREFIX}[0-9a-f]+\.\w+\.")
"""What ``mount`` puts before the names of an app's modules."""


class LoadReport:
    """The findings of one attempt to load, each once."""

    def __init__(self, folder: AppFolder) -> None:
        self.folder = folder
        self.findings: list[Finding] = []
        self._trace = ""
        self._spots: dict[tuple[str, str], PythonPlace] = {}

    def add(self, findings: Iterable[Finding]) -> None:
        self.findings.extend(finding for finding in findings if finding not in self.findings)

    def error(self, code: str, spot: PythonPlace, message: str, fix: str) -> None:
        self.add([Finding(code, EnumSeverity.ERROR, *spot, message, fix)])

    def warning(self, code: str, spot: PythonPlace, message: str, fix: str) -> None:
        self.add([Finding(code, EnumSeverity.WARNING, *spot, message, fix)])

    @property
    def wrong(self) -> bool:
        return bool(errors(tuple(self.findings)))

    def judge(self) -> None:
        """Raises ContractError when there is an error among the findings. It carries the warnings as well."""
        wrong = errors(tuple(self.findings))
        if wrong:
            count = "1 problem" if len(wrong) == 1 else f"{len(wrong)} problems"
            more = f"\n... and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
            listed = "\n".join(map(str, wrong[:SHOWN]))
            refused = ContractError(
                f"{self.folder.shown} cannot be loaded: {count}\n{listed}{more}", tuple(self.findings)
            )
            refused.trace = self._trace
            raise refused

    def failed(self, error: BaseException, shown: str) -> None:
        """Adds what a module of the app raised while it was imported, at the innermost line of the app. ``shown`` is its text."""
        if isinstance(error, ContractError) and error.findings:
            found = [one for one in error.findings if isinstance(one, Finding)]
            self.add(one._replace(path=self.folder.show(Path(one.path))) for one in found)
            return
        self._trace = self._trace or trace_text(error)
        root = f"{self.folder.root}/"
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(root)]
        spot = PythonPlace(str(self.folder.shown), 0, 0)
        if frames:
            spot = PythonPlace(self.folder.show(Path(frames[-1].filename)), frames[-1].lineno or 0)
        message = plain_text(error.message) if isinstance(error, OnexError) else _MOUNTED.sub("", shown)
        if isinstance(error, ImportEndless):
            fix = "move what runs here into a function: a module of the app is imported and must return"
            self.error("import_endless", spot, f"importing was interrupted: {error}", fix)
            return
        fix = "fix the module: it must be importable without the engine"
        if isinstance(error, SystemExit):
            fix = "remove the exit: a module of the app is imported and must return"
        if isinstance(error, ModuleNotFoundError):
            fix = "import the app's own files relatively (from .payloads import X); install packages of others"
        elif isinstance(error, ImportError) and error.name and error.name.startswith(PREFIX):
            fix = "define the name in the module it is imported from, or correct the name"
        elif near := _near(error):
            fix = near
        self.error("import_failed", spot, f"importing failed: {message}", fix)

    # --- places -----------------------------------------------------------------------------------------------------

    def learn(self, modules: Iterable[AppModule]) -> None:
        """Remembers where classes, fields and functions are written. The modules must parse."""
        for module in modules:
            path = self.folder.show(module.path)
            for name, node in _definitions(ast.parse(module.text).body, ""):
                self._spots[module.name, name] = PythonPlace(path, node.lineno, node.col_offset + 1)

    def spot(self, thing: object, field: str = "") -> PythonPlace | None:
        """Where a class, one of its fields, or a function is written; None when it is not of the app."""
        thing = inspect.unwrap(thing) if inspect.isfunction(thing) else thing
        module, name = getattr(thing, "__module__", ""), getattr(thing, "__qualname__", "")
        top, _, rest = str(module).partition(".")
        if not top.startswith(PREFIX):
            return None
        inside = rest.partition(".")[2]
        exact = self._spots.get((inside, f"{name}.{field}")) if field else None
        return exact or self._spots.get((inside, name))

    def of(self, function: object) -> PythonPlace:
        """``spot``, or the app's folder where there is none."""
        return self.spot(function) or PythonPlace(str(self.folder.shown), 0, 0)


def _near(error: BaseException) -> str:
    """What a misspelt attribute or option of ours is called; '' where it is none of ours, or nothing is near."""
    if isinstance(error, AttributeError) and type(error.obj).__module__.startswith("onex."):
        return suggest(error.name or "", [name for name in dir(error.obj) if not name.startswith("_")])
    wrong = _KEYWORD.search(str(error)) if isinstance(error, TypeError) else None
    last = traceback.extract_tb(error.__traceback__)[-1:]
    options = _OPTIONS.get(wrong[1].rpartition(".")[2]) if wrong and last else None
    if wrong is None or options is None:
        return ""
    known = list(inspect.signature(options).parameters)
    return suggest(wrong[2], known) or f"its options are {', '.join(name for name in known if name != 'self')}"


_KEYWORD = re.compile(r"([\w.]+)\(\) got an unexpected keyword argument '(\w+)'")
DECLARES = ("on", "move", "effect", "compute", "timer", "send", "event_handler", "publishes")
_OPTIONS: Mapping[str, Callable[..., object]] = {
    "workflow": workflow,
    **{
        name: getattr(WorkflowDeclaration, name)
        for name in ("on", "move", "effect", "compute", "timer", "send", "event_handler", "publishes")
    },
}
"""What a declaration in one file may be given, by the name in Python's message."""

_Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definitions(body: list[ast.stmt], outer: str) -> Iterator[tuple[str, ast.stmt]]:
    for node in body:
        if isinstance(node, _Definition):
            yield f"{outer}{node.name}", node
            if isinstance(node, ast.ClassDef):
                yield from _definitions(node.body, f"{outer}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield f"{outer}{node.target.id}", node
