"""Tallies merge in any order and grouping to the same bytes, and stay small however much is merged."""

from __future__ import annotations

import json
from functools import reduce

from hypothesis import given
from hypothesis import strategies as st

from onex.workflows.code_analysis.analysis import analyse
from onex.workflows.code_analysis.complexity import histogram
from onex.workflows.code_analysis.finding import CHECKS, EnumCheckSeverity
from onex.workflows.code_analysis.summary import fingerprint, mark, severity_count, tally_of, totals_of
from onex.workflows.code_analysis.tally import BUCKETS, WORST, AnalysisTotals, FileTally, Worst

COUNT = st.integers(0, 10_000)
TOTALS = st.builds(
    AnalysisTotals,
    files=COUNT,
    lines=COUNT,
    functions=COUNT,
    complexity_sum=COUNT,
    complexity_max=COUNT,
    complexities=st.tuples(*[COUNT] * (len(BUCKETS) + 1)),
    findings=st.dictionaries(st.sampled_from(sorted(CHECKS)), st.integers(1, 50)).map(
        lambda findings: dict(sorted(findings.items()))
    ),
)
WORSTS = st.lists(st.tuples(st.integers(1, 9), st.text("abc", min_size=1, max_size=3)), max_size=30, unique=True).map(
    lambda entries: Worst().merge(Worst(entries=tuple(entries)))
)
TALLIES = st.builds(
    FileTally,
    totals=TOTALS,
    complex_files=WORSTS,
    finding_files=WORSTS,
    undocumented_files=WORSTS,
    fingerprint=st.integers(0, 2**53 - 1),
)


def same(one: FileTally, other: FileTally) -> bool:
    return one.model_dump_json() == other.model_dump_json()


@given(TALLIES, TALLIES)
def test_merging_is_commutative_to_the_byte(one: FileTally, other: FileTally) -> None:
    assert same(one.merge(other), other.merge(one))


@given(TALLIES, TALLIES, TALLIES)
def test_merging_is_associative_to_the_byte(one: FileTally, two: FileTally, three: FileTally) -> None:
    assert same(one.merge(two).merge(three), one.merge(two.merge(three)))


@given(TALLIES)
def test_merging_nothing_changes_nothing(one: FileTally) -> None:
    assert same(one.merge(FileTally()), one)
    assert same(FileTally().merge(one), one)


@given(st.lists(TALLIES, max_size=8))
def test_the_worst_of_all_are_the_worst_of_the_parts(tallies: list[FileTally]) -> None:
    merged = reduce(FileTally.merge, tallies, FileTally()).complex_files.entries
    everything = {entry for tally in tallies for entry in tally.complex_files.entries}
    assert list(merged) == sorted(everything, key=lambda entry: (-entry[0], entry[1]))[:WORST]


def test_a_file_sends_what_its_analysis_counts() -> None:
    source = b'"""M."""\nimport os\ndef f(a):\n    if a == None: return 1\n    return 2\n'
    totals = totals_of(analyse(source, "a.py", "a"))
    assert (totals.files, totals.failed, totals.lines, totals.functions, totals.imports) == (1, 0, 5, 1, 1)
    assert (totals.public, totals.documented, totals.documentation) == (2, 1, 0.5)
    assert (totals.complexity_sum, totals.complexity_max, totals.complexity_mean) == (2, 2, 2.0)
    assert totals.findings == {"singleton-comparison": 1, "unused-import": 1}
    assert severity_count(totals, EnumCheckSeverity.UPKEEP) == totals.finding_count == 2


def test_a_file_that_does_not_parse_is_counted_as_failed() -> None:
    totals = totals_of(analyse(b"x = = 1\n", "a.py", "a"))
    assert (totals.files, totals.failed, totals.findings) == (1, 1, {"syntax": 1})


def test_the_histogram_has_a_bar_for_every_value() -> None:
    assert histogram([1, 1, 2, 4, 50, 51, 10_000]) == (2, 1, 0, 1, 0, 0, 0, 1, 2)
    assert histogram([]) == (0,) * (len(BUCKETS) + 1)


def test_a_code_of_another_version_counts_as_upkeep() -> None:
    assert severity_count(AnalysisTotals(findings={"of-tomorrow": 3}), EnumCheckSeverity.UPKEEP) == 3


def test_the_fingerprint_shows_a_lost_and_a_doubled_file() -> None:
    tallies = [tally_of(analyse(b"", f"{name}.py", name)) for name in "abc"]
    whole = reduce(FileTally.merge, tallies, FileTally()).fingerprint
    assert whole == sum(fingerprint(f"{name}.py") for name in "cab") % 2**53
    assert reduce(FileTally.merge, tallies[:2]).fingerprint != whole
    assert reduce(FileTally.merge, [tallies[0], tallies[1], tallies[1]]).fingerprint != whole


def test_a_mark_is_eleven_characters_whatever_the_path() -> None:
    assert {len(mark(path)) for path in ("", "a.py", "ä" * 5_000)} == {11}


def test_a_tally_of_ten_thousand_files_is_no_larger_than_one_of_a_hundred() -> None:
    def state(files: int) -> int:
        worst = Worst(entries=tuple((99_999 - n, mark(str(n))) for n in range(WORST)))
        totals = AnalysisTotals(files=files, lines=10**9, findings=dict.fromkeys(sorted(CHECKS), 10**6))
        tally = FileTally(totals=totals, complex_files=worst, finding_files=worst, undocumented_files=worst)
        return len(json.dumps(tally.model_dump(), separators=(",", ":")))

    assert state(10_000) - state(100) == 2  # the two digits
    assert state(10_000) < 4_096
