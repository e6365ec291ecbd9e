"""The same bytes give the same value: an analysis reads nothing but its arguments and the grammar of this Python."""

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
    """All that is known of one file. It is a blob, not a state: its size grows with the file.

    ``ok`` is False when the file does not parse; ``findings`` then holds one of code ``syntax``, ``counts`` are made
    line by line, and everything read from the tree is empty. ``suppressed`` counts findings a ``# noqa`` took away.
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
        """Public definitions with a docstring over all of them; 1.0 when there are none."""
        return self.documented / self.public if self.public else 1.0


def is_package(path: str) -> bool:
    """True for an ``__init__.py``: relative imports start from it, not from the folder above."""
    return path.rpartition("/")[2] == "__init__.py"


def analyse(source: bytes, path: str, module: str) -> FileAnalysis:
    """Never raises for what a file holds: what cannot be read is a finding of code ``syntax``.

    ``module`` is the dotted name the file is imported by; relative imports count from there.
    """
    path, module = printable(path, NAME_CHARACTERS), printable(module, NAME_CHARACTERS)
    text = decode(source)
    if isinstance(text, SourceFinding):
        lines = split(source.decode("latin-1"))
        return _unread(SourceText("", lines, "unknown"), text, path=path, module=module, size_bytes=len(source))
    tree, heard = parse(text)
    if tree is None:
        return _unread(text, heard[0], path=path, module=module, size_bytes=len(source))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        survey = ModuleScan(tree, text.lines, module, package=is_package(path))
        if survey.too_deep:
            return _unread(text, too_deep(), path=path, module=module, size_bytes=len(source))
        counts = count_lines(text.lines, survey.strings, survey.docstrings)
    findings, suppressed = _place(text, survey.flaws, heard)
    complexities = [shape.complexity for shape in survey.functions]
    missing = tuple(Undocumented(name=name, line=line) for name, line, there in survey.definitions if not there)
    return FileAnalysis(
        path=path,
        module=module,
        package=is_package(path),
        size_bytes=len(source),
        encoding=text.encoding,
        ok=True,
        counts=counts,
        classes=survey.classes,
        methods=survey.methods,
        functions=tuple(
            FunctionComplexity(name=name, line=line, complexity=complexity, arguments=arguments)
            for name, line, complexity, arguments in survey.functions
        ),
        complexity_max=max(complexities, default=0),
        complexity_mean=round(sum(complexities) / len(complexities), 3) if complexities else 0.0,
        public=len(survey.definitions),
        documented=len(survey.definitions) - len(missing),
        undocumented=missing,
        imports=tuple(survey.imports),
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


def _place(text: SourceText, flaws: list[Flaw], heard: list[SourceFinding]) -> tuple[tuple[SourceFinding, ...], int]:
    """Findings with their columns in characters, in source order, and how many a ``# noqa`` takes away."""
    quiet = suppressions(text)
    columns = Columns(text.lines)
    placed = [found for found in heard if not _silenced(found.code, found.line, found.line, quiet)]
    suppressed = len(heard) - len(placed)
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
