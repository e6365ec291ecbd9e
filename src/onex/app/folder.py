"""An app on disk: which workflows it has, its modules as bytes, and which of them are code of a workflow.

Theory of operation. A folder is an app if it holds ``contract.yaml`` (one workflow), or if folders directly below it do
(several). It cannot be both. Folders below that cannot be packages, and those without a contract, are passed over. Each file
is read when it is first asked for and kept, so all later answers agree with each other: what is hashed is what is imported. A
folder that changes while it is read can at worst give a mixture that was never on disk together; the digest is then that of the
mixture, and a process that reads the folder later refuses it.

- ``closure`` follows relative imports from module to module by parsing. ``from . import x`` may mean a module or a name, so
  both are tried. Absolute imports are somebody else's packages. Imports made at run time (``importlib``) are not seen.
- ``digest`` is over everything: contracts and each module that a workflow's files reach. A worker compares it.
- ``code`` is over what decides a state (promise 30): the contract without prose, and what ``payloads.py``, ``reducer.py`` and
  ``migrations.py`` reach. Effects and compute are left out: to change them does not change what a replay gives. Names count from
  the workflow's folder, so it does not matter which folder above was loaded. Byte order marks, kinds of line end and empty
  modules do not count. Each text is preceded by its name and length, so no two lists of modules feed the hash the same bytes.
- A path is resolved before it is read and must lie in the folder. So a link cannot bring in files that are not part of the app.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from ..contracts.text.yaml_tree import BYTES_MAX
from ..kernel.errors import ContractError
from ..kernel.finding import EnumSeverity, Finding
from ..repository.contract_files import CONTRACT, ONE_FILE, built_in, folders_below, identifier_of
from .decision_text import without_effects

PARTS = ("payloads", "reducer", "effects", "compute", "migrations")
DECISIVE = ("payloads", "reducer", "migrations")
"""The parts that decide a state."""
MODULE_BYTES_MAX = 4 * 1024 * 1024


class AppModule(NamedTuple):
    """``name`` is dotted from the app's folder, '' for the folder itself. ``text`` is empty for a package without
    ``__init__.py``.
    """

    name: str
    path: Path
    text: bytes
    is_package: bool

    @property
    def package(self) -> str:
        return self.name if self.is_package else self.name.rpartition(".")[0]


class OutsideApp(ContractError):
    """A link that leads out of the app's folder, or a file that cannot be read."""

    def __init__(self, path: str, message: str, fix: str) -> None:
        finding = Finding("outside", EnumSeverity.ERROR, path, 0, 0, message, fix)
        super().__init__(str(finding), (finding,))
        self.finding = finding


class AppFolder:
    """``shown`` is the path as the user wrote it. Findings name files by it, so that an editor can open them.

    ``source`` is the module that declares the workflows, '' where contracts do. ``root`` is the folder that imports are relative
    to, and ``place`` the folder or file that is the app.
    """

    def __init__(self, shown: Path) -> None:
        """Raises ContractError when there is no app: no folder, and neither contract nor app.py in it."""
        shown = self.shown = built_in(shown)
        self.place = shown.resolve()
        is_file = self.place.suffix == ".py" and self.place.is_file()
        self.root = self.place.parent if is_file else self.place
        self.name = identifier_of(self.root.name)
        self.title = identifier_of(self.place.stem) if is_file else self.name
        self.source = self.place.stem if is_file else ""
        self._home = shown.parent if is_file else shown
        self._modules: dict[str, AppModule | None] = {}
        self._contracts: dict[str, bytes] = {}
        self._imports: dict[str, tuple[str, ...] | Finding] = {}
        if not self.root.is_dir():
            what = "does not exist" if self.place.suffix == ".py" and not self.place.exists() else "is no folder"
            hint = "; name the folder that holds it" if self.root.is_file() else ""
            if shown.name and (file := shown.with_name(f"{shown.name}.py")).is_file():
                hint = f"; did you mean {file}?"
            raise ContractError(
                f"{shown} {what}{hint}. An app is a folder with a {CONTRACT} or an {ONE_FILE}, or a Python file"
            )
        if self.source and not self.source.isidentifier():
            raise ContractError(
                f"{shown} cannot be a Python module; rename it, for example {identifier_of(self.source)}.py"
            )
        try:
            self.workflows = () if self.source else tuple(self._find())
        except OSError as error:
            raise ContractError(f"{shown} cannot be read: {error.strerror}") from error

    def _find(self) -> Iterator[str]:
        """The workflows' packages, dotted from the root: '' alone, or one per sub-folder, by name."""
        found = folders_below(self.root)
        below = [home.name for home in found.workflows]
        if (self.root / CONTRACT).is_file():
            if below:
                raise ContractError(
                    f"{self.shown} has a {CONTRACT} of its own and in {', '.join(below)}: an app is either one "
                    "workflow or a folder of workflows. Move its own into a sub-folder"
                )
            yield ""
            return
        if not below and (self.root / ONE_FILE).is_file():
            self.source = ONE_FILE.removesuffix(".py")
            return
        if not below:
            near = [name for name in ("contract.yml", "Contract.yaml", "contract.json") if (self.root / name).exists()]
            hint = f"; rename {near[0]} to {CONTRACT}" if near else ""
            if found.passed_over:
                passed = [f"{one.path.name}: {one.why}; {one.fix}" for one in found.passed_over]
                hint = f", except {'. '.join(passed)}"
            raise ContractError(
                f"{self.shown} holds no {CONTRACT} and no {ONE_FILE}, and no sub-folder of it holds a {CONTRACT}{hint}"
            )
        yield from below

    def contract(self, workflow: str) -> tuple[str, bytes]:
        """Shown path and bytes of a workflow's contract, at most one byte more than a contract may have. Raises OutsideApp."""
        path = self.root.joinpath(*_parts(workflow), CONTRACT)
        if workflow not in self._contracts:
            self._contracts[workflow] = self._bytes(path, BYTES_MAX + 1)
        return self.show(path), self._contracts[workflow]

    def show(self, path: Path) -> str:
        """``path`` under the name the user gave the folder."""
        try:
            return str(self._home / path.relative_to(self.root))
        except ValueError:
            return str(path)

    def module(self, name: str) -> AppModule | None:
        """The module as it was when it was first asked for; None when there is none. Raises OutsideApp."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> AppModule | None:
        place = self.root.joinpath(*_parts(name))
        init = place / "__init__.py"
        if init.is_file():
            return AppModule(name, init, self._bytes(init, MODULE_BYTES_MAX), True)
        if name and (file := place.with_name(f"{place.name}.py")).is_file():
            return AppModule(name, file, self._bytes(file, MODULE_BYTES_MAX), False)
        if place.is_dir():
            self._inside(place)
            return AppModule(name, init, b"", True)
        return None

    def _bytes(self, path: Path, limit: int) -> bytes:
        self._inside(path)
        try:
            with path.open("rb") as file:
                return file.read(limit)
        except OSError as error:
            raise OutsideApp(self.show(path), f"cannot be read: {error.strerror}", "let the engine read it") from error

    def _inside(self, path: Path) -> None:
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise OutsideApp(self.show(path), f"cannot be read: {error}", "") from error
        if real != self.root and self.root not in real.parents:
            raise OutsideApp(self.show(path), f"is a link to {real}, outside the app", "copy the file into the app")

    def parts(self, workflow: str) -> dict[str, str]:
        """A workflow's ``payloads``, ``reducer``, ``effects`` and so on, as far as they exist: module names."""
        names = {part: ".".join((*_parts(workflow), part)) for part in PARTS}
        return {part: name for part, name in names.items() if self._has(name)}

    def shared(self, workflow: str) -> dict[str, str]:
        """``effects`` and ``compute`` at the root of an app of several workflows. They serve all of them."""
        return {part: part for part in ("effects", "compute") if workflow and self._has(part)}

    def _has(self, name: str) -> bool:
        # a folder of data that happens to be called "effects" is no module
        module = self.module(name)
        return module is not None and module.path.is_file()

    def closure(self, names: Iterable[str]) -> tuple[dict[str, AppModule], list[Finding]]:
        """These modules, their packages and what they import from the app at any depth, by name. Nothing is run."""
        found: dict[str, AppModule] = {}
        findings: list[Finding] = []
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            if name in found:
                continue
            try:
                module = self.module(name)
            except OutsideApp as error:
                findings.append(error.finding)
                continue
            if module is None:
                continue
            found[name] = module
            if name:
                waiting.append(name.rpartition(".")[0])
            if name not in self._imports:
                self._imports[name] = self._parse(module)
            taken = self._imports[name]
            if isinstance(taken, Finding):
                findings.append(taken)
            else:
                waiting.extend(taken)
        return dict(sorted(found.items())), findings

    def _parse(self, module: AppModule) -> tuple[str, ...] | Finding:
        try:
            tree = ast.parse(module.text, str(module.path))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return _syntax(self.show(module.path), error)
        return tuple(_imports(module, tree))

    @property
    def digest(self) -> str:
        """BLAKE3 (hex) over the contracts and every module that the workflows' files reach."""
        names = [self.source] if self.source else []
        hasher = blake3()
        for workflow in self.workflows:
            names += [*self.parts(workflow).values(), *self.shared(workflow).values()]
            _feed(hasher, f"{workflow}/{CONTRACT}", self.contract(workflow)[1])
        for name, module in self.closure(names)[0].items():
            _feed(hasher, name, module.text)
        return hasher.hexdigest()

    def code(self, workflow: str, contract: bytes, decisive: Iterable[str]) -> bytes:
        """BLAKE3 over ``contract``, which the caller normalised, and all that the modules ``decisive`` import from the app
        (promise 30).

        Migrations count as well: the first state under new code is what they make of the last state under the old one.
        """
        hasher = blake3()
        _feed(hasher, CONTRACT, contract)
        modules, _ = self.closure(decisive)
        named = {self._from(workflow, name): module for name, module in modules.items()}
        for name in sorted(named):
            if named[name].text.strip():
                text = named[name].text
                _feed(hasher, name, without_effects(text) if self.source else text)
        return hasher.digest()

    def _from(self, workflow: str, name: str) -> str:
        """How a module is called in a hash: from the workflow's folder. The file that declares workflows may have any name."""
        if self.source and name == self.source:
            return "@"
        if not workflow or name.startswith(f"{workflow}."):
            return f".{name[len(workflow) + 1 :] if workflow else name}"
        return "." if name == workflow else f"..{name}"


def _feed(hasher: blake3, name: str, text: bytes) -> None:
    plain = text.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    hasher.update(b"%d %b %d\n" % (len(name.encode()), name.encode(), len(plain)))
    hasher.update(plain)


def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.split(".")) if name else ()


def _imports(module: AppModule, tree: ast.Module) -> Iterator[str]:
    """Names inside the app that this module may import: its relative imports, and each imported name as a module too."""
    package = _parts(module.package)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.level - 1 > len(package):
                continue  # above the app: the import itself fails with the reason
            base = (*package[: len(package) - node.level + 1], *_parts(node.module or ""))
            yield ".".join(base)
            for taken in node.names:
                if taken.name != "*":
                    yield ".".join((*base, taken.name))


def _syntax(path: str, error: Exception) -> Finding:
    line, column, message = 0, 0, str(error)
    if isinstance(error, SyntaxError):
        line, column, message = error.lineno or 0, error.offset or 0, error.msg
    return Finding("python_syntax", EnumSeverity.ERROR, path, line, column, f"not Python: {message}", "fix the line")
