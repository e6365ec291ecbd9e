"""The report as Markdown. The same report gives the same text, and no text of a source file can become markup."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from .finding import printable
from .prose import BARS, headline, number, percent, plural, reason, where
from .report import AnalysisReport, Cycle, FileRow, KindRow

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~&$@])")
_CYCLES: Final = 15
_DIRECTORIES: Final = 40


def escape(text: str) -> str:
    """Plain text for a sentence or a table cell."""
    return _SPECIAL.sub(r"\\\1", printable(text))


def code(text: str) -> str:
    """A code span that ends where it should; a cell ends at a bar, so bars are escaped as tables want it."""
    shown = printable(text).replace("|", "\\|")
    ticks = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (ticks + 1)
    return f"{fence} {shown} {fence}" if ticks else f"`{shown}`"


def render_markdown(report: AnalysisReport) -> str:
    """Ends with a line end; about 60 KB at most, whatever the size of the tree."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: AnalysisReport) -> Iterator[str]:
    yield f"# {escape(report.title)}"
    yield ""
    for sentence in headline(report):
        yield f"- {escape(sentence)}"
    if report.first:
        yield from _head("Look here first")
        rows = [[code(where(row)), escape(reason(row)), number(row.score)] for row in report.first]
        yield from _table(("File", "Why", "Score"), rows, "llr")
    if report.kinds:
        yield from _head("Findings")
        for kind in report.kinds:
            yield from _kind(kind)
    yield from _complexity(report)
    yield from _directories(report)
    yield from _undocumented(report.by_undocumented)
    yield from _imports(report)
    if report.failures:
        yield from _head("Files that do not parse")
        for failure in report.failures:
            yield f"- {_place(failure.path, failure.line)}: {escape(failure.message)}"


def _head(text: str) -> tuple[str, ...]:
    return ("", f"## {text}", "")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], align: str) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"| {' | '.join('---:' if side == 'r' else '---' for side in align)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _place(path: str, line: int) -> str:
    return code(f"{path}:{line}")


def _kind(kind: KindRow) -> Iterator[str]:
    yield ""
    yield f"### {escape(kind.title)} ({number(kind.count)})"
    yield ""
    tests = f", {number(kind.in_tests)} of them in tests" if kind.in_tests else ""
    yield f"{code(kind.code)}, {kind.severity}, in {plural(kind.files, 'file')}{tests}. {escape(kind.why)}"
    yield ""
    for example in kind.examples:
        yield f"- {_place(example.path, example.line)} {escape(example.message)}"
    if kind.count > len(kind.examples):
        yield f"- and {number(kind.count - len(kind.examples))} more"


def _complexity(report: AnalysisReport) -> Iterator[str]:
    totals = report.totals
    if not totals.functions:
        return
    yield from _head("Complexity")
    bars = zip(BARS, totals.complexities, strict=True)
    rows = [[bar, number(count), percent(count, totals.functions)] for bar, count in bars]
    yield from _table(("Independent paths", "Functions", "Share"), rows, "lrr")
    yield ""
    worst = [[code(row.name), _place(row.path, row.line), number(row.complexity)] for row in report.by_complexity]
    yield from _table(("Function", "Place", "Paths"), worst, "llr")


def _directories(report: AnalysisReport) -> Iterator[str]:
    if not report.directories:
        return
    yield from _head("Directories")
    largest = sorted(report.directories, key=lambda row: (-row.totals.code, row.path))
    rows = [
        [
            code(row.path),
            number(row.totals.files),
            number(row.totals.code),
            number(row.totals.functions),
            f"{row.totals.complexity_mean:.1f}",
            number(row.totals.complexity_max),
            number(row.totals.finding_count),
            percent(row.totals.documented, row.totals.public) if row.totals.public else "-",
        ]
        for row in largest[:_DIRECTORIES]
    ]
    head = ("Directory", "Files", "Code", "Functions", "Mean paths", "Most", "Findings", "Documented")
    yield from _table(head, rows, "lrrrrrrr")
    if len(largest) > _DIRECTORIES:
        yield ""
        yield f"and {plural(len(largest) - _DIRECTORIES, 'smaller directory', 'smaller directories')}."


def _undocumented(rows: Sequence[FileRow]) -> Iterator[str]:
    if rows:
        yield from _head("Least documented")
        cells = [[code(row.path), f"{number(row.public - row.documented)} of {number(row.public)}"] for row in rows]
        yield from _table(("File", "Public definitions without a docstring"), cells, "lr")


def _imports(report: AnalysisReport) -> Iterator[str]:
    yield from _head("Imports")
    yield f"{plural(report.modules, 'module')}, {plural(report.edges, 'import')} between them."
    for cycle in report.cycles[:_CYCLES]:
        yield ""
        yield _cycle(cycle)
        for link in cycle.way:
            place = _place(link.path, link.line)
            yield f"  - {code(link.importer)} imports {code(link.imported)} in {place}"
    rest = report.cycle_count + report.lazy_cycle_count - len(report.cycles[:_CYCLES])
    if rest > 0:
        yield ""
        yield f"and {plural(rest, 'more cycle')}."
    if report.hubs:
        yield ""
        rows = [[code(row.module), number(row.fan_in), number(row.fan_out)] for row in report.hubs]
        yield from _table(("Module", "Imported by", "Imports"), rows, "lrr")


def _cycle(cycle: Cycle) -> str:
    when = "closed by imports inside functions" if cycle.lazy else "at load"
    return f"- A cycle of {number(len(cycle.modules))} modules, {when}; a shortest cycle:"
