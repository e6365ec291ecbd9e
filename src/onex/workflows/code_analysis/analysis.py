"""The analysis of one file, a pure function: it depends on its arguments and on the grammar of this Python, nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ConfigDict

from .checks import Flaw
from .finding import CHECKS, SourceFinding, printable
from .imports import ImportStatement
from .module_scan import ModuleScan
from .source import Columns, LineCounts, SourceText, count_lines, decode, parse, split, suppressions, too_deep

NAME_CHARACTERS: Final = 400


class FunctionComplexity(BaseModel):
    """``name`` is the qualified name; ``complexity`` is McCabe's number (see ``complexity``), at least 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    line: int
    complexity: int
    arguments: int


class Undocumented(BaseModel):
    """A public module (``name`` empty), class or function without a docstring."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    line: int


class FileAnalysis(BaseModel):
    """Everything known of one file. It is stored as a blob and not in a state, because its size grows with the file.

    ``ok`` is False when the file does not parse; ``findings`` then holds one of code ``syntax``, ``counts`` are made
    line by line, and everything read from the tree is empty. ``suppressed`` counts findings that a ``# noqa`` removed.
    ``complexity_mean`` is over the functions, 0.0 without any.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    module: str
    package: bool
    size_bytes: int
    encoding: str
    ok: bool
    counts: LineCounts
    classes: int = 0
    methods: int = 0
    functions: tuple[FunctionComplexity, ...] = ()
    complexity_max: int = 0
    complexity_mean: float = 0.0
    public: int = 0
    documented: int = 0
    undocumented: tuple[Undocumented, ...] = ()
    imports: tuple[ImportStatement, ...] = ()
    findings: tuple[SourceFinding, ...] = ()
    suppressed: int = 0

    @property
    def documentation(self) -> float:
        """The share of public definitions that have a docstring; 1.0 when there are none."""
        return self.documented / self.public if self.public else 1.0


def is_package(path: str) -> bool:
    """True for an ``__init__.py``: relative imports start from it, not from the folder above."""
    return path.rpartition("/")[2] == "__init__.py"


def analyse(source: bytes, path: str, module: str) -> FileAnalysis:
    """Never raises for the content of a file: one that cannot be read gets a finding of code ``syntax``.

    ``module`` is the dotted name the file is imported by; relative imports count from there.
    """
    path, module = printable(path, NAME_CHARACTERS), printable(module, NAME_CHARACTERS)
    text = decode(source)
    if isinstance(text, SourceFinding):
        lines = split(source.decode("latin-1"))
        return _unread(SourceText("", lines, "unknown"), text, path=path, module=module, size_bytes=len(source))
    tree, parser_findings = parse(text)
    if tree is None:
        return _unread(text, parser_findings[0], path=path, module=module, size_bytes=len(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scan = ModuleScan(tree, text.lines, module, package=is_package(path))
        if scan.too_deep:
            return _unread(text, too_deep(), path=path, module=module, size_bytes=len(source))
        counts = count_lines(text.lines, scan.strings, scan.docstrings)
    findings, suppressed = _place(text, scan.flaws, parser_findings)
    complexities = [shape.complexity for shape in scan.functions]
    missing = tuple(Undocumented(name=name, line=line) for name, line, there in scan.definitions if not there)
    return FileAnalysis(
        path=path,
        module=module,
        package=is_package(path),
        size_bytes=len(source),
        encoding=text.encoding,
        ok=True,
        counts=counts,
        classes=scan.classes,
        methods=scan.methods,
        functions=tuple(
            FunctionComplexity(name=name, line=line, complexity=complexity, arguments=arguments)
            for name, line, complexity, arguments in scan.functions
        ),
        complexity_max=max(complexities, default=0),
        complexity_mean=round(sum(complexities) / len(complexities), 3) if complexities else 0.0,
        public=len(scan.definitions),
        documented=len(scan.definitions) - len(missing),
        undocumented=missing,
        imports=tuple(scan.imports),
        findings=findings,
        suppressed=suppressed,
    )


def _unread(text: SourceText, why: SourceFinding, *, path: str, module: str, size_bytes: int) -> FileAnalysis:
    return FileAnalysis(
        path=path,
        module=module,
        package=is_package(path),
        size_bytes=size_bytes,
        encoding=text.encoding,
        ok=False,
        counts=count_lines(text.lines, (), ()),
        findings=(why,),
    )


def _place(
    text: SourceText, flaws: list[Flaw], parser_findings: list[SourceFinding]
) -> tuple[tuple[SourceFinding, ...], int]:
    """Findings with their columns in characters, in source order, and how many a ``# noqa`` removes."""
    quiet = suppressions(text)
    columns = Columns(text.lines)
    placed = [found for found in parser_findings if not _silenced(found.code, found.line, found.line, quiet)]
    suppressed = len(parser_findings) - len(placed)
    for code, line, offset, last, message in sorted(set(flaws)):
        if _silenced(code, line, last, quiet):
            suppressed += 1
        else:
            column = columns.column(line, offset)
            placed.append(SourceFinding(code=code, line=line, column=column, message=printable(message)))
    placed.sort(key=lambda found: (found.line, found.column, found.code, found.message))
    return tuple(placed), suppressed


def _silenced(code: str, first: int, last: int, quiet: Mapping[int, frozenset[str]]) -> bool:
    for line in {first, last} if quiet else ():
        codes = quiet.get(line)
        if codes is not None and (not codes or not codes.isdisjoint(CHECKS[code].known_as)):
            return True
    return False
