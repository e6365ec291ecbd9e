"""The numbers as sentences, the same for Markdown and HTML."""

from __future__ import annotations

from collections.abc import Iterator

from .complexity import COMPLEXITY_MAX
from .finding import EnumCheckSeverity
from .report import AnalysisReport, FileRow
from .summary import severity_count
from .tally import BUCKETS

BARS: tuple[str, ...] = (
    *(f"{low + 1}-{high}" if high - low > 1 else f"{high}" for low, high in zip((0, *BUCKETS), BUCKETS, strict=False)),
    f"over {BUCKETS[-1]}",
)
"""Names of the bars of ``complexity.histogram``."""


def number(value: int) -> str:
    return f"{value:,}"


def plural(count: int, noun: str, many: str = "") -> str:
    return f"{number(count)} {noun if count == 1 else many or noun + 's'}"


def percent(part: int, whole: int) -> str:
    """One decimal below 10 %, none above. A part above zero is never shown as 0 %."""
    if not whole:
        return "0 %"
    share = 100 * part / whole
    if 0 < share < 0.1:
        return "under 0.1 %"
    return f"{share:.1f} %" if share < 10 and part else f"{share:.0f} %"


def headline(report: AnalysisReport) -> Iterator[str]:
    """The summary, the most useful sentence first."""
    totals = report.totals
    if not totals.files:
        yield "There was no file to read."
        return
    yield (
        f"{plural(totals.files, 'file')} in {plural(len(report.directories), 'directory', 'directories')} hold "
        f"{plural(totals.code, 'line')} of code: {plural(totals.functions, 'function')} and "
        f"{plural(totals.classes, 'class', 'classes')}."
    )
    yield _findings(report)
    yield from _complexity(report)
    yield from _documentation(report)
    yield from _cycles(report)
    if totals.failed:
        verb = "is" if totals.failed == 1 else "are"
        yield f"{plural(totals.failed, 'file')} cannot be read by this Python and {verb} listed below."


def _findings(report: AnalysisReport) -> str:
    totals, outside = report.totals, report.outside_tests
    if not totals.finding_count:
        return "The checks found no problems."
    kinds = _listed(
        severity_count(totals, EnumCheckSeverity.BUG),
        severity_count(totals, EnumCheckSeverity.RISK),
        severity_count(totals, EnumCheckSeverity.UPKEEP),
    )
    clean = totals.files - report.files_with_findings
    sentence = f"The checks found {plural(totals.finding_count, 'thing')}: {kinds}"
    if outside.finding_count < totals.finding_count:
        sentence += f"; {number(totals.finding_count - outside.finding_count)} of them in tests"
    return f"{sentence}. {percent(clean, totals.files)} of the files have none."


def _complexity(report: AnalysisReport) -> Iterator[str]:
    totals = report.totals
    if not totals.functions:
        return
    above = above_limit(totals.complexities)
    sentence = f"The mean function has {totals.complexity_mean:.1f} independent paths"
    if above:
        sentence += f"; {number(above)} ({percent(above, totals.functions)}) have more than {COMPLEXITY_MAX}"
    worst = report.by_complexity[0]
    yield f"{sentence}. The most complex is {worst.name} with {worst.complexity} ({worst.path}:{worst.line})."


def _documentation(report: AnalysisReport) -> Iterator[str]:
    outside = report.outside_tests
    if outside.public:
        yield (
            f"Outside tests, {percent(outside.documented, outside.public)} of "
            f"{plural(outside.public, 'public definition')} have a docstring."
        )


def _cycles(report: AnalysisReport) -> Iterator[str]:
    if not report.cycle_count and not report.lazy_cycle_count:
        if report.edges:
            yield "No two modules import each other."
        return
    largest = max((len(cycle.modules) for cycle in report.cycles if not cycle.lazy), default=0)
    parts = []
    if report.cycle_count:
        parts.append(f"{plural(report.cycle_count, 'import cycle')} at load, the largest of {number(largest)} modules")
    if report.lazy_cycle_count:
        parts.append(f"{number(report.lazy_cycle_count)} that only imports inside functions close")
    verb = "is" if report.cycle_count == 1 else "are"
    yield f"There {verb} {'; and '.join(parts)}."


def above_limit(complexities: tuple[int, ...]) -> int:
    """Functions above ``COMPLEXITY_MAX``, which is one of the histogram's bounds."""
    return sum(complexities[BUCKETS.index(COMPLEXITY_MAX) + 1 :])


def reason(row: FileRow) -> str:
    """Why the file is among those to look at first."""
    listed = _listed(row.bugs, row.risks, row.upkeep)
    parts = [listed] if listed else []
    if row.complexity_max > COMPLEXITY_MAX:
        parts.append(f"{row.worst_function} has {row.complexity_max} paths")
    return ", ".join(parts) or "nothing in particular"


def _listed(bugs: int, risks: int, upkeep: int) -> str:
    """Kinds without findings are left out."""
    counted = (
        (bugs, "probable bug", "probable bugs"),
        (risks, "risk", "risks"),
        (upkeep, "matter of upkeep", "matters of upkeep"),
    )
    return ", ".join(plural(count, noun, many) for count, noun, many in counted if count)


def where(row: FileRow) -> str:
    """The file, with the line of its worst function where that is a reason to open it."""
    return f"{row.path}:{row.worst_line}" if row.complexity_max > COMPLEXITY_MAX else row.path
