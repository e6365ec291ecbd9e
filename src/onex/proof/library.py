"""The Python files of a repository as modules by dotted name. A file is parsed when it is first asked for; none is imported or run.

Theory of operation. The questions are: which module has this name, what does a name mean in a module, and where is a name
written. They are answered in three layers:

- ``module`` asks `package_roots` in which folders the name can begin, and takes the first folder that holds the file. ``at`` parses
  the file and keeps only what its top level binds: imports, assignments, functions, classes. Branches count as well. Of
  ``if``/``else`` and ``try``/``except`` the first branch wins, since it is the one that usually runs.
- ``name_in`` follows a name through imports, from file to file, to the place where it is written. It ends at a class, a function,
  a variable, a module, or at a name outside of the repository (``ExternalSymbol``). None says that it cannot be known.
- ``defining`` and ``mention`` search all files once by regular expression. They find what no import leads to.

What may go wrong, and why the answer is still right:

- Imports in a circle: while a name is looked for, a second question for it gets None. What was found inside of a circle is not
  remembered, because it may be half of the answer. Only the outermost question is.
- A file that does not parse: ``problem`` says why, and every name in it is external. So nothing is said to be missing from a file
  that cannot be read, and the doctor reports the file itself.
- Warnings of the parser (unknown escapes) are silenced: they are about somebody's style, and would go to our standard error.
"""

from __future__ import annotations

import ast
import posixpath
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from .package_roots import PackageRoots
from .symbols import (
    Assigned,
    Binding,
    ClassSymbol,
    ExternalSymbol,
    FunctionSymbol,
    ImportedModule,
    ImportedName,
    ModuleSymbol,
    Symbol,
    VariableSymbol,
)

Read = Callable[[str], bytes | str]
"""Path -> the bytes of the file, or the reason why there are none."""

_DEFINITION: Final = re.compile(rb"^(?:class|def|async def) ([A-Za-z_][A-Za-z0-9_]*)", re.MULTILINE)
_DOTTED: Final = re.compile(rb"""["']([\w{}$<>-]{1,80}(?:\.[\w{}$<>-]{1,80}){2,12})["']""")


def parsed(source: bytes) -> ast.Module | str:
    """The tree of a file in the encoding it declares (PEP 263), or why this Python cannot read it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # escapes that Python does not know
            return ast.parse(source)
    except SyntaxError as error:
        return f"line {error.lineno or 1}: {error.msg}"
    except (RecursionError, MemoryError):
        return "line 1: it nests too deep to be read"
    except ValueError as error:  # a NUL, lone surrogates out of an escape codec, integers beyond the digit limit
        return f"line 1: {error}"


class Library:
    """``files`` are the paths of the Python files, with slashes, counted from the repository's root."""

    def __init__(self, files: Sequence[str], read: Read) -> None:
        self.files = frozenset(files)
        self.parsed = 0
        self._read = read
        self._modules: dict[str, ModuleSymbol] = {}
        self._names: dict[tuple[str, str], Symbol | None] = {}
        self._looking: set[tuple[str, str]] = set()
        self._written: tuple[dict[str, list[str]], dict[str, tuple[str, int]]] | None = None
        self._roots = PackageRoots(self.files, read)

    # --- modules ----------------------------------------------------------------------------------------------------

    def has_package(self, name: str) -> bool:
        """Whether anything of the top-level package of ``name`` is in the repository."""
        return bool(self._roots.of((name.partition(".")[0],)))

    def module(self, name: str, near: str = "") -> ModuleSymbol | None:
        """The module of that dotted name; of several, the one whose path shares most with ``near``."""
        parts = tuple(name.split("."))
        for root in self._roots.of(parts, near):
            found = self._at(posixpath.join(root, *parts))
            if found is not None:
                return found
        return None

    def at(self, path: str) -> ModuleSymbol:
        """The module in that file, by the name it has where its packages begin."""
        made = self._modules.get(path)
        if made is None:
            made = self._modules[path] = self._parse(path, self._roots.name(path), path.endswith("/__init__.py"))
        return made

    def unreadable(self) -> list[ModuleSymbol]:
        """Those of the modules looked at so far that cannot be read, by path."""
        return sorted((one for one in self._modules.values() if one.problem), key=lambda one: one.path)

    def _at(self, place: str) -> ModuleSymbol | None:
        for path in (f"{place}/__init__.py", f"{place}.py"):
            if path.lstrip("/") in self.files:
                return self.at(path.lstrip("/"))
        if place in self._roots.folders:  # a package without a file of its own
            return self._modules.setdefault(f"{place}/", ModuleSymbol(self._roots.name(place), f"{place}/", True))
        return None

    def _parse(self, path: str, name: str, is_package: bool) -> ModuleSymbol:
        self.parsed += 1
        source = self._read(path)
        if isinstance(source, str):
            return ModuleSymbol(name, path, is_package, problem=source)
        tree = parsed(source)
        if isinstance(tree, str):
            return ModuleSymbol(name, path, is_package, problem=tree)
        bindings: dict[str, Binding] = {}
        stars: list[str] = []
        for statement in _statements(tree.body):
            for bound, binding in bound_by(statement):
                if bound == "*" and isinstance(binding, ImportedModule):
                    stars.append(binding.name)
                else:
                    bindings[bound] = binding
        return ModuleSymbol(name, path, is_package, bindings, tuple(stars))

    # --- search by text ---------------------------------------------------------------------------------------------

    def defining(self, name: str) -> list[str]:
        """Paths of the files in which a class or function of that name is written at the top level."""
        return self._index()[0].get(name, [])

    def mention(self, text: str) -> tuple[str, int] | None:
        """The first file and line that hold the dotted words as a string of their own."""
        return self._index()[1].get(text)

    def _index(self) -> tuple[dict[str, list[str]], dict[str, tuple[str, int]]]:
        """One pass over all files, made when first asked for. Regular expressions only, nothing is parsed."""
        if self._written is None:
            defined: dict[str, list[str]] = {}
            mentioned: dict[str, tuple[str, int]] = {}
            for path in sorted(self.files):
                source = self._read(path)
                if isinstance(source, str):
                    continue
                for found in _DEFINITION.finditer(source):
                    defined.setdefault(found.group(1).decode(errors="replace"), []).append(path)
                for found in _DOTTED.finditer(source):
                    text = found.group(1).decode(errors="replace")
                    if text not in mentioned:
                        mentioned[text] = (path, source.count(b"\n", 0, found.start()) + 1)
            self._written = defined, mentioned
        return self._written

    # --- names ------------------------------------------------------------------------------------------------------

    def imported(self, name: str, near: str = "") -> ModuleSymbol | ExternalSymbol:
        """What ``import name`` gives in the file ``near``. A name with dots before it counts from that file's folder."""
        plain = name.lstrip(".")
        if plain == name:
            return self.module(name, near) or ExternalSymbol(name)
        folder = posixpath.dirname(near)
        for _ in range(len(name) - len(plain) - 1):
            folder = posixpath.dirname(folder)
        place = posixpath.join(folder, *plain.split(".")).rstrip("/")
        return self._at(place) or ExternalSymbol(self._roots.name(f"{place}.py"))

    def name_in(self, module: ModuleSymbol, name: str) -> Symbol | None:
        """What ``name`` means at the top level of a module, followed through imports to where it is written."""
        key = (module.path, name)
        if key in self._names:
            return self._names[key]
        if key in self._looking:
            return None  # imports in a circle
        self._looking.add(key)
        found = self._look(module, name)
        self._looking.discard(key)
        if not self._looking:  # inside a circle the answer may be half of one
            self._names[key] = found
        return found

    def _look(self, module: ModuleSymbol, name: str) -> Symbol | None:
        if module.problem:  # what is in it is as unknown as what is in a package that is not here
            return ExternalSymbol(f"{module.name}.{name}")
        binding = module.bindings.get(name)
        if binding is not None:
            return self._bound(module, name, binding)
        if module.is_package and (below := self.module(f"{module.name}.{name}", module.path)) is not None:
            return below
        for star in module.stars:
            taken = self.imported(star, module.path)
            if (
                isinstance(taken, ModuleSymbol)
                and not taken.problem
                and (found := self.name_in(taken, name)) is not None
            ):
                return found
        return None

    def _bound(self, module: ModuleSymbol, name: str, binding: Binding) -> Symbol | None:
        match binding:
            case ImportedModule():
                return self.imported(binding.name, module.path)
            case ImportedName():
                return self.taken(binding, module.path)
            case Assigned():
                return VariableSymbol(module, name, binding)
            case ast.ClassDef():
                return ClassSymbol(module, binding, name)
            case _:
                return FunctionSymbol(module, binding, name)

    def taken(self, binding: ImportedName, near: str) -> Symbol | None:
        """What ``from module import name`` gives."""
        source = self.imported(binding.module, near)
        if isinstance(source, ExternalSymbol):
            return ExternalSymbol(f"{source.name}.{binding.name}")
        return self.name_in(source, binding.name)


def bound_by(node: ast.stmt) -> Iterator[tuple[str, Binding]]:
    """The names a statement binds, nested blocks left to the caller. A star is ``("*", ImportedModule)``."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            top = alias.name.partition(".")[0]
            yield (alias.asname, ImportedModule(alias.name)) if alias.asname else (top, ImportedModule(top))
    elif isinstance(node, ast.ImportFrom):
        source = "." * node.level + (node.module or "")
        for alias in node.names:
            if alias.name == "*":
                yield "*", ImportedModule(source)
            else:
                yield alias.asname or alias.name, ImportedName(source, alias.name)
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name, node
    elif isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, Assigned(node.value, None)
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, Assigned(node.value, node.annotation)


def _statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module's top level, also those in branches. Of alternatives the first comes last, so that it wins."""
    for node in body:
        match node:
            case ast.If():
                yield from _statements(node.orelse)
                yield from _statements(node.body)
            case ast.Try() | ast.TryStar():
                for handler in node.handlers:
                    yield from _statements(handler.body)
                yield from _statements(node.orelse)
                yield from _statements(node.body)
                yield from _statements(node.finalbody)
            case ast.With():
                yield from _statements(node.body)
            case _:
                yield node
