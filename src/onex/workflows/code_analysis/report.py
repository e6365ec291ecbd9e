"""The whole report as one value. The same analyses give the same report, in whatever order they come.

While it reads it keeps sums per directory, the imports of each module, and bounded lists of the worst and of examples. It keeps
no analysis. Examples are chosen by hash, so they come from the whole tree and not from its first files. Tests come after
the code they test, because they break rules on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict

from .analysis import FileAnalysis
from .complexity import COMPLEXITY_MAX
from .finding import CHECKS, EnumCheckSeverity, SourceFinding
from .graph import (
    Adjacency,
    ImportGraph,
    ModuleIndex,
    cycles,
    fan_in,
    fan_out,
    import_graph,
    lazy_cycles,
    shortest_cycle,
    steps,
)
from .imports import ImportStatement
from .summary import severity_count, totals_of
from .tally import AnalysisTotals

ROWS: Final = 25
EXAMPLES: Final = 20
FAILURES: Final = 100
CYCLES: Final = 40
DRAWN: Final = 10

_T = TypeVar("_T")
Key = tuple[int | str, ...]


class ReportRow(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DirectoryRow(ReportRow):
    """The files right in a directory, not those below it."""

    path: str
    tests: bool
    totals: AnalysisTotals


class FileRow(ReportRow):
    """``score`` orders the files to look at first: 5 per bug, 3 per risk, 1 per upkeep finding, and 1 for every five
    points of complexity above the bound, over all functions."""

    path: str
    tests: bool
    lines: int
    functions: int
    complexity_max: int
    worst_function: str
    worst_line: int
    bugs: int
    risks: int
    upkeep: int
    public: int
    documented: int
    score: int

    @property
    def findings(self) -> int:
        return self.bugs + self.risks + self.upkeep


class FunctionRow(ReportRow):
    path: str
    tests: bool
    line: int
    name: str
    complexity: int


class Example(ReportRow):
    path: str
    line: int
    column: int
    message: str


class KindRow(ReportRow):
    """All findings of one check, ``in_tests`` of the ``count`` in test files; at most ``EXAMPLES`` of them shown."""

    code: str
    severity: EnumCheckSeverity
    title: str
    why: str
    count: int
    files: int
    in_tests: int
    examples: tuple[Example, ...]


class ImportLink(ReportRow):
    """``importer`` imports ``imported`` in line ``line`` of ``path``."""

    importer: str
    imported: str
    path: str
    line: int


class Cycle(ReportRow):
    """Modules that all reach each other by imports. ``way`` is a shortest cycle; it ends at the module it begins with.

    ``edges`` are all imports between the modules, as positions in ``modules``; empty above ``DRAWN`` modules.
    """

    lazy: bool
    modules: tuple[str, ...]
    way: tuple[ImportLink, ...]
    edges: tuple[tuple[int, int], ...]


class ModuleRow(ReportRow):
    module: str
    fan_in: int
    fan_out: int


class AnalysisReport(ReportRow):
    """``cycle_count``, ``lazy_cycle_count`` and ``totals.failed`` count all, where the tuples are cut."""

    title: str
    totals: AnalysisTotals
    outside_tests: AnalysisTotals
    directories: tuple[DirectoryRow, ...]
    first: tuple[FileRow, ...]
    by_findings: tuple[FileRow, ...]
    by_undocumented: tuple[FileRow, ...]
    by_complexity: tuple[FunctionRow, ...]
    kinds: tuple[KindRow, ...]
    failures: tuple[Example, ...]
    modules: int
    edges: int
    cycles: tuple[Cycle, ...]
    cycle_count: int
    lazy_cycle_count: int
    hubs: tuple[ModuleRow, ...]
    files_with_findings: int


class Least(Generic[_T]):
    """The ``limit`` smallest items by key; holds at most twice as many."""

    def __init__(self, limit: int, key: Callable[[_T], Key]) -> None:
        self._limit, self._key = limit, key
        self._items: list[_T] = []

    def add(self, item: _T) -> None:
        self._items.append(item)
        if len(self._items) >= 2 * self._limit:
            self._items = self.items()

    def items(self) -> list[_T]:
        return sorted(self._items, key=self._key)[: self._limit]


def build_report(analyses: Iterable[FileAnalysis], title: str = "Code analysis") -> AnalysisReport:
    """Reads each analysis once, in any order."""
    gathered = _Gathered()
    for analysis in analyses:
        gathered.add(analysis)
    return gathered.report(title)


def is_test(path: str) -> bool:
    """By convention of names: a folder called test, tests or ``*_test(s)``, a file called ``test_*``, ``*_test(s)`` or

    ``conftest``.
    """
    *folders, name = path.split("/")
    stem = name.removesuffix(".py")
    if stem == "conftest" or stem.startswith("test_") or stem.endswith(("_test", "_tests")):
        return True
    return any(folder in ("test", "tests") or folder.endswith(("_test", "_tests")) for folder in folders)


class _Gathered:
    def __init__(self) -> None:
        self._totals = self._outside_tests = AnalysisTotals()
        self._directories: dict[str, AnalysisTotals] = {}
        self._first: Least[FileRow] = Least(ROWS, lambda row: (row.tests, -row.score, row.path))
        self._by_findings: Least[FileRow] = Least(ROWS, lambda row: (row.tests, -row.findings, row.path))
        self._by_undocumented: Least[FileRow] = Least(
            ROWS, lambda row: (row.tests, row.documented - row.public, row.path)
        )
        self._by_complexity: Least[FunctionRow] = Least(
            ROWS, lambda row: (row.tests, -row.complexity, row.path, row.line, row.name)
        )
        self._failures: Least[Example] = Least(FAILURES, lambda row: (row.path, row.line, row.column))
        self._examples: dict[str, Least[Example]] = {}
        self._kind_files: dict[str, int] = {}
        self._kind_in_tests: dict[str, int] = {}
        self._files_with_findings = 0
        self._paths: dict[str, str] = {}
        self._imports: list[tuple[str, str, tuple[ImportStatement, ...]]] = []

    def add(self, analysis: FileAnalysis) -> None:
        totals = totals_of(analysis)
        directory = analysis.path.rpartition("/")[0] or "."
        self._totals = self._totals.merge(totals)
        self._directories[directory] = self._directories.get(directory, AnalysisTotals()).merge(totals)
        self._imports.append((analysis.module, analysis.path, analysis.imports))
        row = _file_row(analysis, totals)
        if not row.tests:
            self._outside_tests = self._outside_tests.merge(totals)
        if row.score:
            self._first.add(row)
        if row.findings:
            self._files_with_findings += 1
            self._by_findings.add(row)
        if row.public > row.documented:
            self._by_undocumented.add(row)
        for function in analysis.functions:
            self._by_complexity.add(
                FunctionRow(
                    path=analysis.path,
                    tests=row.tests,
                    line=function.line,
                    name=function.name,
                    complexity=function.complexity,
                )
            )
        for code, count in totals.findings.items():
            self._kind_files[code] = self._kind_files.get(code, 0) + 1
            self._kind_in_tests[code] = self._kind_in_tests.get(code, 0) + (count if row.tests else 0)
        for finding in analysis.findings:
            self._find(analysis.path, finding)

    def _find(self, path: str, finding: SourceFinding) -> None:
        example = Example(path=path, line=finding.line, column=finding.column, message=finding.message)
        if finding.code == "syntax":
            self._failures.add(example)
        if finding.code not in self._examples:
            self._examples[finding.code] = Least(EXAMPLES, _drawn)
        self._examples[finding.code].add(example)

    def report(self, title: str) -> AnalysisReport:
        index = ModuleIndex(module for module, _, _ in self._imports)
        numbered = [(index.number(module) or 0, path, imports) for module, path, imports in self._imports]
        graph = import_graph(index, ((number, imported) for number, _, imports in numbered for imported in imports))
        at_load, later = cycles(graph.load), lazy_cycles(graph)
        places = _Places(index, numbered)
        drawn = [places.cycle(cycle, graph, lazy=False) for cycle in at_load[:CYCLES]]
        drawn += [places.cycle(cycle, graph, lazy=True) for cycle in later[: CYCLES - len(drawn)]]
        drawn.sort(key=lambda cycle: all(is_test(link.path) for link in cycle.way))
        return AnalysisReport(
            title=title,
            totals=self._totals,
            outside_tests=self._outside_tests,
            directories=tuple(
                DirectoryRow(path=path, tests=is_test(f"{path}/"), totals=totals)
                for path, totals in sorted(self._directories.items())
            ),
            first=tuple(self._first.items()),
            by_findings=tuple(self._by_findings.items()),
            by_undocumented=tuple(self._by_undocumented.items()),
            by_complexity=tuple(self._by_complexity.items()),
            kinds=tuple(self._kinds()),
            failures=tuple(self._failures.items()),
            modules=len(index),
            edges=graph.edges,
            cycles=tuple(drawn),
            cycle_count=len(at_load),
            lazy_cycle_count=len(later),
            hubs=_hubs(index, graph),
            files_with_findings=self._files_with_findings,
        )

    def _kinds(self) -> Iterable[KindRow]:
        """In the order of ``CHECKS``. A code that this version does not know comes last, without title and reason."""
        unknown = sorted(code for code in self._totals.findings if code not in CHECKS)
        for code in [*CHECKS, *unknown]:
            count = self._totals.findings.get(code, 0)
            if count:
                check = CHECKS.get(code)
                examples = sorted(self._examples[code].items(), key=lambda row: (row.path, row.line, row.column))
                yield KindRow(
                    code=code,
                    severity=check.severity if check else EnumCheckSeverity.UPKEEP,
                    title=check.title if check else code,
                    why=check.why if check else "",
                    count=count,
                    files=self._kind_files[code],
                    in_tests=self._kind_in_tests[code],
                    examples=tuple(examples),
                )


class _Places:
    """Knows the source lines of the edges of the graph."""

    def __init__(self, index: ModuleIndex, numbered: Sequence[tuple[int, str, tuple[ImportStatement, ...]]]) -> None:
        self._index = index
        self._files: dict[int, list[tuple[str, tuple[ImportStatement, ...]]]] = {}
        for number, path, imports in numbered:
            self._files.setdefault(number, []).append((path, imports))

    def cycle(self, component: tuple[int, ...], graph: ImportGraph, *, lazy: bool) -> Cycle:
        adjacency: Adjacency = graph.all() if lazy else graph.load
        members = {number: position for position, number in enumerate(component)}
        edges = [(members[a], members[b]) for a in component for b in adjacency[a] if b in members]
        return Cycle(
            lazy=lazy,
            modules=tuple(self._index.names[number] for number in component),
            way=tuple(self._link(a, b) for a, b in steps(shortest_cycle(adjacency, component))),
            edges=tuple(edges) if len(component) <= DRAWN else (),
        )

    def _link(self, importer: int, imported: int) -> ImportLink:
        path, line = min(
            (path, found.line)
            for path, imports in self._files[importer]
            for found in imports
            if imported in self._index.targets(found)
        )
        names = self._index.names
        return ImportLink(importer=names[importer], imported=names[imported], path=path, line=line)


def _drawn(example: Example) -> Key:
    """A hash of the place only, so that any order of reading chooses the same examples."""
    place = f"{example.path}:{example.line}:{example.column}"
    return (is_test(example.path), blake2b(place.encode(), digest_size=8).hexdigest(), place, example.message)


def _file_row(analysis: FileAnalysis, totals: AnalysisTotals) -> FileRow:
    worst = max(analysis.functions, key=lambda function: (function.complexity, -function.line), default=None)
    above = sum(max(function.complexity - COMPLEXITY_MAX, 0) for function in analysis.functions)
    bugs, risks, upkeep = (severity_count(totals, severity) for severity in EnumCheckSeverity)
    return FileRow(
        path=analysis.path,
        tests=is_test(analysis.path),
        lines=analysis.counts.lines,
        functions=len(analysis.functions),
        complexity_max=analysis.complexity_max,
        worst_function=worst.name if worst else "",
        worst_line=worst.line if worst else 1,
        bugs=bugs,
        risks=risks,
        upkeep=upkeep,
        public=analysis.public,
        documented=analysis.documented,
        score=5 * bugs + 3 * risks + upkeep + above // 5,
    )


def _hubs(index: ModuleIndex, graph: ImportGraph) -> tuple[ModuleRow, ...]:
    """The modules most others import, and those that import most others."""
    edges = graph.all()
    arriving, leaving = fan_in(edges), fan_out(edges)
    numbers = range(len(index))
    most_used = sorted(numbers, key=lambda number: (-arriving[number], number))[:ROWS]
    neediest = sorted(numbers, key=lambda number: (-leaving[number], number))[: ROWS // 2]
    chosen = sorted({*most_used, *neediest}, key=lambda number: (-arriving[number], number))
    return tuple(
        ModuleRow(module=index.names[number], fan_in=arriving[number], fan_out=leaving[number])
        for number in chosen
        if arriving[number] or leaving[number]
    )
