"""No file can make an analysis raise, hang, warn or give a value without canonical bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.workflows.code_analysis.analysis import FileAnalysis, analyse

UNREADABLE = {
    "parentheses 5,000 deep": b"(" * 5_000 + b")" * 5_000,
    "brackets without an end": b"[" * 5_000,
    "blocks 2,000 deep": b"".join(b" " * depth + b"if 1:\n" for depth in range(2_000)),
    "a NUL": b"x = 1\nassert x\0\n",
    "nothing but NUL": b"\0" * 10_000,
    "not UTF-8": b"x = 1\ny = '\xff'\n",
    "UTF-16": "x = 1\n".encode("utf-16"),
    "an unknown encoding": b"# coding: klingon\nx = 1\n",
    "an encoding that is none for text": b"# coding: zlib\nx = 1\n",
    "an encoding that refuses": b"# coding: undefined\nx = 1\n",
    "a mark and another encoding": b"\xef\xbb\xbf# coding: latin-1\nx = 1\n",
    "a lone surrogate by its encoding": b"# coding: unicode_escape\nx = '\\ud800'\n",
    "an integer beyond the digit limit": b"x = " + b"9" * 10_000,
}

READABLE = {
    "nothing": b"",
    "only a mark": b"\xef\xbb\xbf",
    "a line of a megabyte": b"x = [" + b"1," * 400_000 + b"]",
    "a string of megabytes": b"x = '" + b"a" * 3_000_000 + b"'",
    "100,000 lines": b"x = 1\n" * 100_000,
    "attributes as deep as the parser allows": b"x = a" + b".a" * 900,
    "1,000 elif": b"if a: b\n" + b"elif a: b\n" * 400,
    "keys of 40,000 bits": b"x = {0x" + b"f" * 10_000 + b": 1, 0x" + b"f" * 10_000 + b": 2}",
    "keys that are no text": b"x = {'\\ud800': 1, '\\ud800': 2, '\\0': 3, '\\0': 4}",
    "a comment of noqa": b"x = 1  # noqa" + b": A1," * 50_000,
    "5,000 handlers": b"try:\n  f()\n" + b"".join(b"except E%d: g()\n" % n for n in range(5_000)),
    "the same names twice": b"".join(b"def f%d(): ...\n" % n for n in range(2_000)) * 2,
}


def canonical(analysis: FileAnalysis) -> bool:
    """True when the value encodes without lone surrogates and NUL, and every place lies in the file."""
    text = analysis.model_dump_json()
    last = max(analysis.counts.lines, 1)
    placed = all(1 <= finding.line <= last and finding.column >= 1 for finding in analysis.findings)
    return placed and "\\u0000" not in text and bool(text.encode())


@pytest.mark.parametrize("source", UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_one_finding(source: bytes) -> None:
    analysis = analyse(source, "a.py", "a")
    assert not analysis.ok
    assert [finding.code for finding in analysis.findings] == ["syntax"]
    assert canonical(analysis)


@pytest.mark.parametrize("source", READABLE.values(), ids=READABLE)
def test_what_is_only_large_or_strange_is_analysed(source: bytes) -> None:
    analysis = analyse(source, "a.py", "a")
    assert analysis.ok
    assert canonical(analysis)


@pytest.mark.parametrize("operator", [b"-", b"not ", b"lambda: ", b"a.", b"a+"])
def test_depth_ends_in_a_finding_or_an_analysis_never_in_an_error(operator: bytes) -> None:
    for depth in (1_000, 2_900, 20_000):
        assert canonical(analyse(b"x = " + operator * depth + b"a", "a.py", "a"))


def test_how_deep_a_tree_may_be_does_not_depend_on_the_callers_stack() -> None:
    def called_from(depth: int, source: bytes) -> bool:
        return called_from(depth - 1, source) if depth else analyse(source, "a.py", "a").ok

    for levels, expected in ((980, True), (1_100, False), (2_500, False)):
        source = b"x = a" + b" + a" * levels
        assert {called_from(depth, source) for depth in (0, 100, 400)} == {expected}


def test_a_syntax_error_says_where_and_what() -> None:
    (finding,) = analyse(b"x = 1\ny = = 2\n", "a.py", "a").findings
    assert (finding.line, finding.column, finding.message) == (2, 5, "invalid syntax")


def test_a_byte_outside_the_encoding_says_where() -> None:
    (finding,) = analyse(b"x = 1\ny = '\xff'\n", "a.py", "a").findings
    assert (finding.line, finding.column) == (2, 6)


def test_lines_of_an_unreadable_file_are_counted() -> None:
    counts = analyse(b"# why\n\nx = = 1\n", "a.py", "a").counts
    assert (counts.lines, counts.comment, counts.blank, counts.code) == (3, 1, 1, 1)


def test_names_that_are_no_text_are_spelled_out() -> None:
    analysis = analyse(b"", "bad\udcff\0\u202egnp.py", "bad\udcff")
    assert (analysis.path, analysis.module) == ("bad\\udcff\\x00\\u202egnp.py", "bad\\udcff")


def test_the_parsers_own_warnings_stay_inside() -> None:
    source = b"assert (1, 2)\nx = '\\d' is 'a'\n1if 1else 2\n"
    assert analyse(source, "a.py", "a").ok  # a warning would be an error here


@given(st.binary(max_size=200))
def test_any_bytes_give_an_analysis(source: bytes) -> None:
    assert canonical(analyse(source, "a.py", "a"))


@given(st.lists(st.sampled_from(["if", "x", ":", "\n", " ", "'", '"""', "#", "f'{", "}", "(", ")", "=", "\\", "é"])))
def test_any_words_give_an_analysis(words: list[str]) -> None:
    analysis = analyse("".join(words).encode(), "a.py", "a")
    counts = analysis.counts
    assert canonical(analysis)
    assert counts.lines == counts.code + counts.comment + counts.blank + counts.docstring
