"""A Python file of a user's that something is added to. No line of it is changed: imports go behind imports, code to the end."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..kernel.errors import ContractError
from ..kernel.finding import EnumSeverity, Finding

BOM = "\ufeff"
FUTURE = "from __future__ import annotations"


@dataclass
class ModuleText:
    """``before`` is its text, None where there is no file. ``added`` names what is new in it, in the order added."""

    path: Path
    before: str | None
    tree: ast.Module
    added: list[str] = field(default_factory=list)
    _imports: dict[str, list[str]] = field(default_factory=dict)
    _code: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, path: Path) -> ModuleText:
        """Raises ContractError when the file is no Python, OSError when it cannot be read."""
        if not path.is_file():
            return cls(path, None, ast.Module([], []))
        try:
            text = path.read_bytes().decode()
            return cls(path, text, ast.parse(text.removeprefix(BOM)))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            line = error.lineno or 0 if isinstance(error, SyntaxError) else 0
            finding = Finding(
                "python_syntax", EnumSeverity.ERROR, str(path), line, 0, f"not Python: {error}", "fix it first"
            )
            raise ContractError(str(finding), (finding,)) from error

    def binds(self, name: str) -> bool:
        """Whether the top level has the name, what was added included. With ``from x import *`` a class is assumed to be there."""
        names = self._names
        return name in names or ("*" in names and name[:1].isupper())

    @property
    def _names(self) -> set[str]:
        names = {name for node in self.tree.body for name in _bound_by(node)}
        return names | {name for taken in self._imports.values() for name in taken}

    def decorated(self, mark: str) -> set[str]:
        """The texts in ``@mark("text")`` and ``@anything.mark("text")`` of its functions."""
        calls = [
            one
            for node in ast.walk(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for one in node.decorator_list
            if isinstance(one, ast.Call) and mark in (getattr(one.func, "id", ""), getattr(one.func, "attr", ""))
        ]
        return {str(one.value) for call in calls for one in call.args if isinstance(one, ast.Constant)}

    def table(self) -> str | None:
        """The variable that holds ``reducer(...)``; None when there is none at the top level."""
        for node in self.tree.body:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=ast.Call(func=called))
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.Call(func=called))
                ) if "reducer" in (getattr(called, "id", ""), getattr(called, "attr", "")):
                    return name
        return None

    def need(self, module: str, *names: str) -> None:
        """Imports names that are not there yet."""
        whole = any(_takes_all(node, module) for node in self.tree.body)
        for name in () if whole else names:
            if name not in self._names:
                self._imports.setdefault(module, []).append(name)

    def add(self, what: str, code: str) -> None:
        """``code`` is one definition, without blank lines around it."""
        self.added.append(what)
        self._code.append(code)
        self.tree.body += ast.parse(code).body

    @property
    def after(self) -> str:
        """The text with all of it."""
        lines = [
            f"from {module} import {', '.join(sorted(names))}"
            for module, names in sorted(self._imports.items(), key=_order)
        ]
        if self.before is None:
            groups = [FUTURE, *("\n".join(group) for group in _groups(lines))]
            return "\n\n".join(groups) + "".join(f"\n\n\n{code}" for code in self._code) + "\n"
        end = "\r\n" if "\r\n" in self.before else "\n"
        rows = self.before.splitlines(keepends=True)
        place = self._last_import()
        if rows and place and not rows[place - 1].endswith(("\n", "\r")):
            rows[place - 1] += end
        rows[place:place] = [f"{line}{end}" for line in lines]
        text = "".join(rows)
        text = text if not text or text.endswith(("\n", "\r")) else f"{text}{end}"
        return text + "".join(f"{end}{end}{code.replace(chr(10), end)}{end}" for code in self._code)

    def _last_import(self) -> int:
        """The line behind which imports go: the last import of the top level, else the docstring, else none."""
        written = ast.parse((self.before or "").removeprefix(BOM))
        ends = [node.end_lineno or 0 for node in written.body if isinstance(node, ast.Import | ast.ImportFrom)]
        if not ends and ast.get_docstring(written, clean=False) is not None:
            ends = [written.body[0].end_lineno or 0]
        return max(ends, default=0)


def _takes_all(node: ast.stmt, module: str) -> bool:
    """Whether it is ``from module import *``."""
    if not isinstance(node, ast.ImportFrom) or [one.name for one in node.names] != ["*"]:
        return False
    return "." * node.level + (node.module or "") == module


def _order(item: tuple[str, list[str]]) -> tuple[bool, str]:
    return item[0].startswith("."), item[0]


def _groups(lines: Iterable[str]) -> Iterator[list[str]]:
    """Imports of packages, then those of the app."""
    lines = list(lines)
    for own in (False, True):
        group = [line for line in lines if line.startswith("from .") is own]
        if group:
            yield group


def _bound_by(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from ((one.asname or one.name).partition(".")[0] for one in names)
        case ast.Assign(targets=targets):
            yield from (one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.If() | ast.Try():
            for inner in ast.iter_child_nodes(node):
                if isinstance(inner, ast.stmt):
                    yield from _bound_by(inner)
