"""One name means one thing, and what the code cites is in the repository."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from tests.laws.tree import ROOT, SOURCE, files, sources

# Papers that the project was designed from; their rules stand in docs/concepts/promises.md, under the same numbers.
OUTSIDE = re.compile(r"\b(SEMANTICS|FACTS|DESIGN|RELIABILITY|COMPONENTS|SERVERS|PERFORMANCE|STYLE|SPEC) \d+(\.\d+)*\b")
ROOMS = (
    "src",
    "tests",
    "bench",
    "deploy",
    "docs",
    "examples",
    "README.md",
    "CHANGELOG.md",
    "Makefile",
    "make.py",
    "pyproject.toml",
)
AS_RECORDED = ("tests/golden/apps", "docs/decisions")  # kept as they were on the day they were written


def public_classes(source: str) -> list[str]:
    return [
        node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]


def test_a_public_class_name_means_one_thing() -> None:
    """Of one workflow's payloads only that workflow speaks, as an app of its own."""
    found = defaultdict(list)
    for path in sources():
        if path.parent.parent.parent.name == "workflows" and path.name == "payloads.py":
            continue
        for name in public_classes(path.read_text()):
            found[name].append(str(path.relative_to(SOURCE)))
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_no_document_outside_the_repository_is_cited() -> None:
    cited = []
    for path in files():
        name = str(path.relative_to(ROOT))
        if (
            not name.startswith(ROOMS)
            or name.startswith(AS_RECORDED)
            or path == ROOT / "tests" / "laws" / "test_words.py"
        ):
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        cited += [f"{name}: {one.group()}" for one in OUTSIDE.finditer(text)]
    assert cited == []
