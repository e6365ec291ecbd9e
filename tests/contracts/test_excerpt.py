"""A finding as a compiler shows it."""

from __future__ import annotations

import pytest

from onex.kernel.finding import EnumSeverity, Finding
from onex.views.finding import excerpt


def finding(line: int, column: int, fix: str = "did you mean 'payload'?") -> Finding:
    return Finding("unknown_key", EnumSeverity.ERROR, "a.yaml", line, column, "no key 'paylod'", fix)


def test_the_line_stands_below_the_sentence_with_a_caret_under_the_word() -> None:
    assert excerpt(finding(2, 4), "name: x\n  {paylod: Place}\n").split("\n") == [
        "a.yaml:2:4: error [unknown_key] no key 'paylod'",
        " 2 |   {paylod: Place}",
        "   |    ^^^^^^",
        "    fix: did you mean 'payload'?",
    ]


def test_a_finding_about_the_whole_file_has_no_line() -> None:
    assert excerpt(finding(0, 0, ""), "x") == "a.yaml: error [unknown_key] no key 'paylod'"
    assert excerpt(finding(9, 1, ""), "x") == "a.yaml:9:1: error [unknown_key] no key 'paylod'"


def test_a_long_line_is_cut_around_the_place() -> None:
    text = "x" * 150 + " paylod " + "y" * 150
    shown, caret = excerpt(finding(1, 152, ""), text).split("\n")[1:]
    assert shown[caret.index("^") :].startswith("paylod ")
    assert caret.count("^") == 6
    assert len(shown) < 140


def test_a_long_word_is_cut_where_the_line_is() -> None:
    shown, caret = excerpt(finding(1, 3, ""), "a: " + "x" * 400).split("\n")[1:]
    assert shown == " 1 | a: " + "x" * 117
    assert caret == "   |   ^"
    shown, caret = excerpt(finding(1, 4, ""), "a: " + "x" * 400).split("\n")[1:]
    assert (len(caret), caret.count("^")) == (len(shown), 117)


@pytest.mark.parametrize(
    ("line", "column", "meant"),
    [
        ('to: "two words"', 5, '"two words"'),
        ("to: 'two words', x", 5, "'two words'"),
        ("[!!python/object:os.system [x]]", 2, "!!python/object:os.system"),
        ("<<: *b", 1, "<<"),
        ("a: &b {x: 1}", 4, "&b"),
        ('to: "no end', 5, '"'),
    ],
)
def test_the_caret_is_as_long_as_what_it_points_at(line: str, column: int, meant: str) -> None:
    caret = excerpt(finding(1, column, ""), line).split("\n")[2]
    assert caret == "   | " + " " * (column - 1) + "^" * len(meant)


def test_windows_lines_and_tabs_keep_the_caret_in_place() -> None:
    shown, caret = excerpt(finding(2, 2, ""), "a\r\n\tpaylod\r\n").split("\n")[1:]
    assert shown == " 2 |  paylod"
    assert caret == "   |  ^^^^^^"


def test_a_column_behind_the_end_of_the_line_points_behind_it() -> None:
    assert excerpt(finding(1, 99, ""), "ab").split("\n")[2] == "   |   ^"


def test_what_others_wrote_does_not_steer_a_terminal() -> None:
    hostile = Finding("x", EnumSeverity.ERROR, "a\x1b[2J.yaml", 1, 8, "no key '\x1b]0;x\x07\u202e'", "write\nthis")
    shown = excerpt(hostile, "a: \x1b[2J\u202exyz").split("\n")
    assert all(line.isprintable() for line in shown)
    assert shown[0] == "a\\x1b[2J.yaml:1:8: error [x] no key '\\x1b]0;x\\x07\\u202e'"
    assert shown[1:3] == [" 1 | a: ?[2J?xyz", "   |        ^"]
    assert shown[3] == "    fix: write\\nthis"
