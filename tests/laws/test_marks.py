"""What is delivered is finished: the source carries no promise for later, and silences no check without a reason."""

from __future__ import annotations

import ast
import re
import tokenize
from collections.abc import Iterator
from io import StringIO

import pytest

from tests.laws.tree import ROOT, sources

PROMISE = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
SILENCED = re.compile(r"#\s*(type:\s*ignore|noqa|pragma:\s*no cover)")
REASONED = re.compile(
    r"#\s*(type:\s*ignore\[[\w, -]+\]|noqa:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|pragma:\s*no cover)[\s#(:-]+\S.{7,}"
)


def promises(source: str) -> Iterator[tuple[int, str]]:
    """`(line, what stands there)`: in comments only, since code that reads code speaks of marks in its strings."""
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.COMMENT and PROMISE.search(token.string):
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and node.id == "NotImplementedError":
            yield node.lineno, node.id


def silences(source: str) -> Iterator[tuple[int, str]]:
    for token in tokenize.generate_tokens(StringIO(source).readline):
        if token.type == tokenize.COMMENT and SILENCED.match(token.string) and not REASONED.match(token.string):
            yield token.start[0], token.string


def test_no_promise_is_left_in_the_source() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{n}: {text}" for path in sources() for n, text in promises(path.read_text())
    ] == []


def test_no_check_is_silenced_without_a_reason() -> None:
    assert [
        f"{path.relative_to(ROOT)}:{n}: {text}" for path in sources() for n, text in silences(path.read_text())
    ] == []


@pytest.mark.parametrize("source", ["x = 1  # TODO later", "# FIXME", "def f():\n    raise NotImplementedError"])
def test_the_law_sees_a_promise(source: str) -> None:
    assert list(promises(source)) != []


def test_the_law_asks_for_a_reason() -> None:
    assert list(silences("x = 1  # type: ignore\ny = 2  # noqa: S608")) != []
    assert list(silences("y = 2  # noqa: S608 - the table's name is a literal of this file")) == []
    assert list(silences("y = 2  # type: ignore[assignment]  # pydantic hides the type")) == []
