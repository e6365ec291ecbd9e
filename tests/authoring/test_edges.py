"""An edge is text. Any text is either read as it is meant, or named as a mistake; none is an error of ours."""

from __future__ import annotations

from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from onex import State, workflow


class Thing(State):
    status: Literal["new", "done"] = "new"


names = st.from_regex(r"[a-z][a-z0-9_-]{0,10}", fullmatch=True).filter(
    lambda name: "->" not in name and name[-1] != "-"
)
spaces = st.sampled_from(["", " ", "  "])


@given(st.lists(names, min_size=1, max_size=4), names, spaces, spaces)
def test_an_edge_is_read_as_it_is_written(sources: list[str], target: str, around: str, before: str) -> None:
    things = workflow("things", Thing)
    things.move("go", f"{before}{f'{around}|{around}'.join(sources)}{around}->{around}{target}{before}")
    assert things.problems == []
    assert [(one.trigger, one.sources, one.target) for one in things.transitions] == [("go", tuple(sources), target)]


@given(st.text(alphabet="ab|-> *", max_size=12))
def test_any_text_is_an_edge_a_name_or_a_named_mistake(text: str) -> None:
    things = workflow("things", Thing)
    things.move("go", text)
    for one in things.transitions:
        assert one.target.strip()
        assert all(source.strip() for source in one.sources)
        assert "|" not in one.target
    assert bool(things.transitions) or bool(things.problems)
