"""The report as one HTML file. No text of a source file can become markup, and only the page's own script may run."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import Final, NamedTuple

from .charts import Tile, bar, escape, ring, treemap
from .complexity import COMPLEXITY_MAX
from .prose import BARS, headline, number, percent, plural, reason, where
from .report import AnalysisReport, Cycle, DirectoryRow, Example, FileRow, KindRow, is_test
from .style import SCRIPT, STYLE
from .tally import BUCKETS, AnalysisTotals

_HEAT: Final = (0.5, 2.0, 5.0, 10.0)
"""Findings per 1,000 lines of code at which the colour of a directory changes."""

_CARDS: Final = 9
_TILES: Final = 150


class Column(NamedTuple):
    name: str
    numeric: bool = False


class Cell(NamedTuple):
    """``html`` is markup already; ``value`` is what a numeric column sorts by."""

    html: str
    value: float | None = None


def render_html(report: AnalysisReport) -> str:
    """One file that opens without a network; its content policy lets nothing else be loaded or run."""
    digest = base64.b64encode(sha256(SCRIPT.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    sections = list(_sections(report))
    links = "".join(f'<a href="#{name}">{title}</a>' for name, title, _ in sections)
    return "".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n',
            '<meta name="viewport" content="width=device-width,initial-scale=1">\n',
            f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
            f'<header><h1>{escape(report.title)}</h1>\n<div class="lead">',
            *(f"<p>{escape(sentence)}</p>\n" for sentence in headline(report)),
            f"</div>\n{_tiles(report)}</header>\n<nav><div>{links}<form>",
            '<label><input type="checkbox" id="calm"> hide tests</label>',
            '<input type="search" id="find" placeholder="Filter by path or name" aria-label="Filter by path or name">',
            "</form></div></nav>\n<main>\n",
            *(f'<section id="{name}"><h2>{title}</h2>\n{body}</section>\n' for name, title, body in sections),
            f"</main>\n{_footer()}<script>{SCRIPT}</script>\n</body>\n</html>\n",
        ]
    )


def _sections(report: AnalysisReport) -> Iterator[tuple[str, str, str]]:
    if report.first:
        yield "first", "Look here first", _first(report.first)
    if report.kinds:
        yield "findings", "Findings", _kinds(report.kinds)
    if report.totals.functions:
        yield "complexity", "Complexity", _complexity(report)
    if report.directories:
        yield "directories", "Directories", _directories(report.directories)
    if report.by_findings or report.by_undocumented:
        yield "files", "Files", _files(report)
    if report.modules:
        yield "imports", "Imports", _imports(report)
    if report.failures:
        yield "failures", "Not parsed", _failures(report)


def _tiles(report: AnalysisReport) -> str:
    totals, outside = report.totals, report.outside_tests
    tiles = (
        (number(totals.files), f"files, {plural(totals.failed, 'does', 'do')} not parse"),
        (number(totals.code), f"lines of code beside {number(totals.comment + totals.docstring)} of comment and docs"),
        (number(totals.functions), f"functions, {totals.complexity_mean:.1f} paths in the mean"),
        (percent(outside.documented, outside.public), "of public definitions outside tests documented"),
        (number(totals.finding_count), f"findings, {_density(totals):.1f} per 1,000 lines of code"),
        (number(report.cycle_count), f"import cycles at load among {number(report.modules)} modules"),
    )
    shown = "".join(f"<div><b>{escape(value)}</b><span>{escape(note)}</span></div>" for value, note in tiles)
    return f'<div class="tiles">{shown}</div>'


def _density(totals: AnalysisTotals) -> float:
    return 1000 * totals.finding_count / totals.code if totals.code else 0.0


def _table(columns: Sequence[Column], rows: Iterable[tuple[bool, Sequence[Cell]]]) -> str:
    """Rows as (is it a test, cells)."""
    head = "".join(
        f'<th scope="col"{" class=n" if column.numeric else ""}><span>{escape(column.name)}</span></th>'
        for column in columns
    )
    body = []
    for test, cells in rows:
        parts = []
        for column, cell in zip(columns, cells, strict=True):
            kind = " class=n" if column.numeric else ""
            value = "" if cell.value is None else f' data-v="{cell.value:g}"'
            parts.append(f"<td{kind}{value}>{cell.html}</td>")
        body.append(f"<tr{' class=test' if test else ''}>{''.join(parts)}</tr>")
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table>"
    return f'<div class="scroll" tabindex="0">{table}</div>\n'


def _code(text: str) -> Cell:
    return Cell(f"<code>{escape(text)}</code>")


def _count(value: int) -> Cell:
    return Cell(number(value), value)


def _first(rows: Sequence[FileRow]) -> str:
    note = (
        '<p class="soft">Tests come last. The score is 5 for a probable bug, 3 for a risk, 1 for a matter of '
        f"upkeep, and 1 for every 5 paths functions have above {COMPLEXITY_MAX}.</p>\n"
    )
    columns = (Column("File"), Column("Why"), Column("Lines", True), Column("Score", True))
    cells = [
        (row.tests, (_code(where(row)), Cell(escape(reason(row))), _count(row.lines), _count(row.score)))
        for row in rows
    ]
    return note + _table(columns, cells)


def _kinds(kinds: Sequence[KindRow]) -> str:
    most = max(kind.count for kind in kinds)
    note = '<p class="soft">How many of each kind; the pale part of a bar are those in tests.</p>\n'
    return note + "".join(_kind(kind, most) for kind in kinds)


def _kind(kind: KindRow, most: int) -> str:
    tests = f", {number(kind.in_tests)} of them in tests" if kind.in_tests else ""
    rest = kind.count - len(kind.examples)
    return (
        f'<details><summary><span class="tag {kind.severity}">{kind.severity}</span>'
        f"<span>{escape(kind.title)} <code class=soft>{escape(kind.code)}</code></span>"
        f"{bar(kind.count / most, kind.severity, (kind.count - kind.in_tests) / most)}"
        f'<span class="n">{number(kind.count)}</span></summary>\n'
        f"<p>{escape(kind.why)} In {plural(kind.files, 'file')}{tests}.</p>"
        f"{_places(kind.examples)}"
        f"{f'<p class=soft>and {number(rest)} more</p>' if rest else ''}</details>\n"
    )


def _places(examples: Iterable[Example]) -> str:
    items = "".join(
        f"<li{' class=test' if is_test(example.path) else ''}>"
        f"<code>{escape(f'{example.path}:{example.line}:{example.column}')}</code> {escape(example.message)}</li>"
        for example in examples
    )
    return f'<ul class="places">{items}</ul>'


def _complexity(report: AnalysisReport) -> str:
    """Bars on a logarithmic scale: there are thousands of simple functions for each complex one."""
    totals = report.totals
    top = math.log1p(max(totals.complexities))
    edge = BUCKETS.index(COMPLEXITY_MAX)
    bars = []
    for at, (name, count) in enumerate(zip(BARS, totals.complexities, strict=True)):
        kind = "over" if at > edge else "edge" if at == edge else ""
        bars.append(
            f'<span class="n">{name}</span>{bar(math.log1p(count) / top if top else 0.0, kind)}'
            f'<span class="n">{number(count)}</span><span class="n">{percent(count, totals.functions)}</span>'
        )
    note = (
        '<p class="soft">Independent paths through a function (McCabe 1976) and how many functions have that many; '
        f"bars on a logarithmic scale, red above {COMPLEXITY_MAX}.</p>\n"
    )
    columns = (Column("Function"), Column("Place"), Column("Paths", True))
    rows = [
        (row.tests, (_code(row.name), _code(f"{row.path}:{row.line}"), _count(row.complexity)))
        for row in report.by_complexity
    ]
    return f'{note}<div class="bars">{"".join(bars)}</div>\n<h3>The most complex</h3>\n{_table(columns, rows)}'


def _directories(rows: Sequence[DirectoryRow]) -> str:
    tiles = sorted((_tile(row) for row in rows), key=lambda tile: (-tile.weight, tile.name))
    legend = "".join(
        f'<span><i style="background:var(--h{heat})"></i>{text}</span>'
        for heat, text in enumerate(
            (
                f"under {_HEAT[0]:g} findings per 1,000 lines",
                *(f"{low:g} to {high:g}" for low, high in pairwise(_HEAT)),
                f"over {_HEAT[-1]:g}",
            )
        )
    )
    counted = ("Files", "Code", "Functions", "Mean paths", "Most", "Findings", "Per 1,000 lines", "Documented")
    columns = (Column("Directory"), *(Column(name, True) for name in counted))
    largest = sorted(rows, key=lambda row: (-row.totals.code, row.path))
    cells = [(row.tests, _directory(row)) for row in largest]
    return (
        '<p class="soft">Area is lines of code, colour is findings per line; a click filters the page.</p>\n'
        f"{treemap(tiles[:_TILES], 'Directories by lines of code and findings')}"
        f'<div class="legend">{legend}</div>\n{_table(columns, cells)}'
    )


def _tile(row: DirectoryRow) -> Tile:
    density = _density(row.totals)
    note = (
        f"{row.path}: {plural(row.totals.files, 'file')}, {plural(row.totals.code, 'line')} of code, "
        f"{plural(row.totals.finding_count, 'finding')}"
    )
    return Tile(row.path.partition("/")[0], row.path, row.totals.code, sum(density >= bound for bound in _HEAT), note)


def _directory(row: DirectoryRow) -> tuple[Cell, ...]:
    totals = row.totals
    documented = percent(totals.documented, totals.public) if totals.public else "-"
    return (
        _code(row.path),
        _count(totals.files),
        _count(totals.code),
        _count(totals.functions),
        Cell(f"{totals.complexity_mean:.1f}", round(totals.complexity_mean, 3)),
        _count(totals.complexity_max),
        _count(totals.finding_count),
        Cell(f"{_density(totals):.1f}", round(_density(totals), 3)),
        Cell(documented, round(totals.documentation, 3) if totals.public else -1),
    )


def _files(report: AnalysisReport) -> str:
    parts = []
    if report.by_findings:
        found = [
            (row.tests, (_code(row.path), _count(row.bugs), _count(row.risks), _count(row.upkeep)))
            for row in report.by_findings
        ]
        columns = (Column("File"), Column("Bugs", True), Column("Risks", True), Column("Upkeep", True))
        parts.append(f"<h3>Most findings</h3>\n{_table(columns, found)}")
    if report.by_undocumented:
        silent = [
            (row.tests, (_code(row.path), _count(row.public), _count(row.public - row.documented)))
            for row in report.by_undocumented
        ]
        head = (Column("File"), Column("Public", True), Column("Without docstring", True))
        parts.append(f"<h3>Least documented</h3>\n{_table(head, silent)}")
    return "".join(parts)


def _imports(report: AnalysisReport) -> str:
    parts = [
        f'<p class="soft">{plural(report.modules, "module")} and {plural(report.edges, "import")} between them; '
        "imports for type checkers only are left out. Red arrows are a shortest cycle.</p>\n"
    ]
    cards = [_card(cycle) for cycle in report.cycles]
    total = report.cycle_count + report.lazy_cycle_count
    if cards:
        parts.append(f'<div class="cards">{"".join(cards[:_CARDS])}</div>\n')
    if len(cards) > _CARDS:
        more = f"{plural(len(cards) - _CARDS, 'more cycle')}"
        if total > len(cards):
            more += f" of {number(total - _CARDS)}"
        parts.append(f'<details><summary class="plain">{more}</summary><div class="cards">')
        parts.append(f"{''.join(cards[_CARDS:])}</div></details>\n")
    if report.hubs:
        columns = (Column("Module"), Column("Imported by", True), Column("Imports", True))
        rows = [(False, (_code(row.module), _count(row.fan_in), _count(row.fan_out))) for row in report.hubs]
        parts.append(f"<h3>Hubs</h3>\n{_table(columns, rows)}")
    return "".join(parts)


def _card(cycle: Cycle) -> str:
    """A small cycle is drawn with all edges, a large one by its shortest cycle, with a list of all modules."""
    whole = bool(cycle.edges)
    names = cycle.modules if whole else tuple(link.importer for link in cycle.way)
    at = {name: position for position, name in enumerate(names)}
    bold = [(at[link.importer], at[link.imported]) for link in cycle.way]
    title = plural(len(cycle.modules), "module") + (", by lazy imports" if cycle.lazy else "")
    steps = "".join(
        f"<li><code>{escape(f'{link.path}:{link.line}')}</code> imports <code>{escape(link.imported)}</code></li>"
        for link in cycle.way
    )
    listed = "" if whole else f"<details><summary class=plain>all of them</summary><p>{_names(cycle)}</p></details>"
    test = " test" if all(is_test(link.path) for link in cycle.way) else ""
    label = f"Import cycle of {', '.join(names)}"
    drawn = ring(names, cycle.edges, bold, label)
    return f'<div class="card{test}"><h3>{title}</h3>{drawn}<ol>{steps}</ol>{listed}</div>'


def _names(cycle: Cycle) -> str:
    return ", ".join(f"<code>{escape(name)}</code>" for name in cycle.modules)


def _failures(report: AnalysisReport) -> str:
    rest = report.totals.failed - len(report.failures)
    note = '<p class="soft">Nothing in these files was checked; their lines are counted.</p>\n'
    return f"{note}{_places(report.failures)}{f'<p class=soft>and {number(rest)} more</p>' if rest > 0 else ''}"


def _footer() -> str:
    return (
        "<footer>Complexity counts if, elif, conditional expressions, loops, except clauses, further operands of "
        "and/or, the loops and conditions of comprehensions, and cases that can fail, plus one. Public is what "
        "<code>__all__</code> names where it is a plain list, else what has no leading underscore. A finding is "
        "silenced by <code># noqa</code>.</footer>\n"
    )
