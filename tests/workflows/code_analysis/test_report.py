"""A report depends on what was analysed, not on the order; nothing in a source becomes markup in it."""

from __future__ import annotations

import random
import re
from html.parser import HTMLParser

import pytest

from onex.workflows.code_analysis.analysis import FileAnalysis, analyse
from onex.workflows.code_analysis.charts import Rectangle, layout
from onex.workflows.code_analysis.markdown import render_markdown
from onex.workflows.code_analysis.page import render_html
from onex.workflows.code_analysis.prose import headline, percent, reason
from onex.workflows.code_analysis.report import EXAMPLES, ROWS, ImportLink, build_report, is_test

TANGLED = "def knot(a):\n" + "".join(f"    if a == {n}: a += 1\n" for n in range(30))
SOURCES = {
    "shop/__init__.py": '"""Shop."""\nfrom . import cart\n',
    "shop/cart.py": "from shop import order\nimport os\ndef f(a=[]):\n    pass\n",
    "shop/order.py": "from . import cart\n" + TANGLED,
    "shop/parcel.py": "def f():\n    from . import cart\n",
    "shop/broken.py": "def f(:\n",
    "tests/test_cart.py": "import shop.cart\nassert (1, 2)\nprint(shop)\n",
}
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'`|[a](javascript:b)"


def tree(sources: dict[str, str]) -> list[FileAnalysis]:
    return [
        analyse(text.encode(), path, path.removesuffix(".py").removesuffix("/__init__").replace("/", "."))
        for path, text in sources.items()
    ]


def many(files: int) -> list[FileAnalysis]:
    return tree({f"d{n % 7}/m{n}.py": f"import os\nx = f''\ndef f{n}(a=[]): pass\n" for n in range(files)})


def test_the_order_of_reading_changes_nothing() -> None:
    analyses = [*tree(SOURCES), *many(200)]
    reported = build_report(analyses)
    for seed in range(3):
        shuffled = random.Random(seed).sample(analyses, len(analyses))
        assert build_report(shuffled).model_dump_json() == reported.model_dump_json()


def test_the_report_reads_a_stream_once() -> None:
    assert build_report(iter(tree(SOURCES))) == build_report(tree(SOURCES))


def test_totals_are_those_of_the_files() -> None:
    report = build_report(tree(SOURCES))
    assert (report.totals.files, report.totals.failed, report.outside_tests.files) == (6, 1, 5)
    assert {row.path: row.totals.files for row in report.directories} == {"shop": 5, "tests": 1}
    assert sum(kind.count for kind in report.kinds) == report.totals.finding_count


def test_what_to_look_at_first_is_outside_tests() -> None:
    report = build_report(tree(SOURCES))
    assert [row.tests for row in report.first] == sorted(row.tests for row in report.first)
    assert report.first[-1].path == "tests/test_cart.py"
    assert report.by_complexity[0].name == "knot"


def test_a_cycle_is_reported_with_the_lines_that_close_it() -> None:
    report = build_report(tree(SOURCES))
    (cycle,) = report.cycles
    assert (cycle.modules, cycle.lazy) == (("shop.cart", "shop.order"), False)
    assert cycle.way == (
        ImportLink(importer="shop.cart", imported="shop.order", path="shop/cart.py", line=1),
        ImportLink(importer="shop.order", imported="shop.cart", path="shop/order.py", line=1),
    )


def test_a_file_that_does_not_parse_is_reported_with_its_place() -> None:
    (failure,) = build_report(tree(SOURCES)).failures
    assert (failure.path, failure.line, failure.column) == ("shop/broken.py", 1, 7)


def test_lists_are_bounded_and_counts_are_not() -> None:
    report = build_report(many(300))
    assert max(map(len, (report.first, report.by_findings, report.by_undocumented, report.by_complexity))) == ROWS
    assert {(kind.count, kind.files, len(kind.examples)) for kind in report.kinds} == {(300, 300, EXAMPLES)}
    assert report.files_with_findings == 300


def test_examples_come_from_all_over_the_tree() -> None:
    (kind, *_) = build_report(many(300)).kinds
    assert len({example.path.split("/")[0] for example in kind.examples}) >= 5


def test_the_report_does_not_grow_with_the_number_of_files() -> None:
    small, large = (len(build_report(many(files)).model_dump_json()) for files in (200, 1_000))
    assert large < small * 1.1


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("test/a.py", True),
        ("a/tests/b.py", True),
        ("a/idle_test/b.py", True),
        ("a/test_b.py", True),
        ("a/b_test.py", True),
        ("conftest.py", True),
        ("a/testing.py", False),
        ("contest/a.py", False),
        ("a/latest.py", False),
    ],
)
def test_tests_are_recognised_by_their_names(path: str, expected: bool) -> None:
    assert is_test(path) is expected


def test_the_headline_says_what_matters() -> None:
    said = " ".join(headline(build_report(tree(SOURCES))))
    assert "6 files in 2 directories" in said
    assert "The most complex is knot with 31 (shop/order.py:2)." in said
    assert "There is 1 import cycle at load, the largest of 2 modules." in said
    assert "1 file cannot be read" in said


def test_a_file_is_listed_with_the_reason() -> None:
    rows = {row.path: reason(row) for row in build_report(tree(SOURCES)).first}
    assert rows["shop/order.py"] == "2 matters of upkeep, knot has 31 paths"
    assert rows["shop/cart.py"] == "1 risk, 2 matters of upkeep"


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(0, 0, "0 %"), (0, 9, "0 %"), (1, 3, "33 %"), (1, 50, "2.0 %"), (1, 10_000, "under 0.1 %"), (3, 3, "100 %")],
)
def test_a_share_that_is_there_is_never_zero(part: int, whole: int, said: str) -> None:
    assert percent(part, whole) == said


def test_an_empty_tree_has_a_report() -> None:
    report = build_report([])
    assert "There was no file to read." in render_markdown(report)
    assert "There was no file to read." in render_html(report)


class Page(HTMLParser):
    """What a browser would make of it: tags in order, scripts, addresses, text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile() -> list[FileAnalysis]:
    key = HOSTILE.replace("'", "\\'")
    source = f"x = {{'{key}': 1, '{key}': f(2)}}\nimport nothing\n"
    return [
        *tree(SOURCES),
        analyse(source.encode(), f"{HOSTILE}/\u202e\n{HOSTILE}.py", HOSTILE),
        analyse(b"x = = 1", f"{HOSTILE}\udcff.py", "b"),
    ]


def test_no_name_or_message_becomes_markup_in_the_page() -> None:
    page = Page(render_html(build_report(hostile(), HOSTILE)))
    plain = Page(render_html(build_report([*tree(SOURCES), *tree({"a/b.py": "x = = 1", "c.py": "import a\nx = 1"})])))
    assert page.tags.count("script") == 1
    assert set(page.tags) <= set(plain.tags) | {"p"}
    assert page.handlers == []
    assert all(address.startswith("#") for address in page.addresses)
    assert HOSTILE in page.text
    assert "\u202e" not in page.text
    assert "\\u202e" in page.text


def test_the_page_loads_nothing_and_lets_only_its_own_script_run() -> None:
    text = render_html(build_report(tree(SOURCES)))
    assert "default-src 'none'" in text
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/=]{44}'", text)
    assert not re.search(r"https?:|url\(|@import|<link|<iframe", text)


def test_every_section_is_linked_and_there() -> None:
    text = render_html(build_report(tree(SOURCES)))
    linked = re.findall(r'<a href="#(\w+)">', text)
    assert linked == re.findall(r'<section id="(\w+)">', text)
    assert linked == ["first", "findings", "complexity", "directories", "files", "imports", "failures"]


def test_no_name_or_message_becomes_markup_in_markdown() -> None:
    text = render_markdown(build_report(hostile(), HOSTILE))
    outside_code = re.sub(r"(?<!\\)(`+)(?!`).+?(?<!`)\1(?!`)", "", text)
    assert not re.search(r"(?<!\\)<", outside_code)
    assert not re.search(r"(?<!\\)\[", outside_code)
    assert "\u202e" not in text


def test_a_markdown_table_keeps_its_columns_whatever_a_file_is_called() -> None:
    text = render_markdown(build_report(hostile()))
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    for table in tables:
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(bars) == 1
    assert len(tables) >= 5


@pytest.mark.parametrize("weights", [[1], [5, 5, 5], [100, 1, 1, 1], list(range(200, 0, -1)), [10**9, 1]])
def test_a_treemap_fills_its_frame_by_weight(weights: list[int]) -> None:
    boxes = layout(weights, Rectangle(0, 0, 1000, 400))
    unit = 400_000 / sum(weights)
    for weight, box in zip(weights, boxes, strict=True):
        assert box.width * box.height == pytest.approx(weight * unit, rel=1e-6, abs=1e-6)
        assert box.x >= 0
        assert box.x + box.width <= 1000.001
        assert box.y + box.height <= 400.001
