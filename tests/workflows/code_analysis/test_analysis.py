"""What is counted, and how: lines, complexity, documentation, imports; the same bytes always give the same value."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

import onex
from onex.workflows.code_analysis.analysis import FileAnalysis, FunctionComplexity, analyse
from onex.workflows.code_analysis.imports import EnumImportTime, ImportStatement

LINES = '''\
"""A module.

With a blank line in its docstring.
"""
# a comment

import os  # code with a comment


def f():
    """One line."""
    text = """
# not a comment

"""
    other = ("a"
             # a comment between two parts

             "b")
    return text + other + f"""
{os}"""


def g(): """beside code"""
'''


def analysed(source: str, module: str = "pkg.mod", path: str = "pkg/mod.py") -> FileAnalysis:
    return analyse(source.encode(), path, module)


def test_each_line_is_one_thing() -> None:
    counts = analysed(LINES).counts
    assert (counts.lines, counts.docstring, counts.comment, counts.blank, counts.code) == (24, 5, 2, 6, 11)


@pytest.mark.parametrize(("source", "lines"), [(b"", 0), (b"\n", 1), (b"x = 1", 1), (b"x = 1\r\ny = 2\r", 2)])
def test_a_line_ends_where_python_ends_it(source: bytes, lines: int) -> None:
    assert analyse(source, "a.py", "a").counts.lines == lines


def test_a_form_feed_ends_no_line() -> None:
    assert analyse("x = 1\n\x0c\ny = '\x85\u2028'\n".encode(), "a.py", "a").counts.lines == 3


@pytest.mark.parametrize(
    ("body", "complexity"),
    [
        ("pass", 1),
        ("if a: b()", 2),
        ("if a: b()\n    elif c: d()\n    else: e()", 3),
        ("return a if b else c", 2),
        ("for x in y: f(x)\n    else: g()", 2),
        ("while a: b()", 2),
        ("return a and b and c or d", 4),
        ("try: a()\n    except B: c()\n    except D: e()\n    else: f()\n    finally: g()", 3),
        ("return [x for x in y if x if z]", 4),
        ("with a: b()", 1),
        ("assert a", 1),
        ("match a:\n        case 1: b()\n        case x if x > 2: c()\n        case _: d()", 3),
        ("return lambda x: 1 if x else 2", 2),
        ("def g():\n        if a: b()\n    return g", 1),
        ("class C:\n        x = 1 if a else 2", 1),
    ],
)
def test_complexity_is_predicates_plus_one(body: str, complexity: int) -> None:
    analysis = analysed(f"def f(a):\n    {body}\n")
    assert next(found.complexity for found in analysis.functions if found.name == "f") == complexity


def test_functions_have_their_qualified_names() -> None:
    source = "class A:\n    async def m(self, a):\n        def inner(): ...\n    class B:\n        def n(self): ...\n"
    analysis = analysed(source)
    assert analysis.functions == (
        FunctionComplexity(name="A.m", line=2, complexity=1, arguments=1),
        FunctionComplexity(name="A.m.<locals>.inner", line=3, complexity=1, arguments=0),
        FunctionComplexity(name="A.B.n", line=5, complexity=1, arguments=0),
    )
    assert (analysis.classes, analysis.methods, analysis.complexity_mean) == (2, 2, 1.0)


def test_documentation_counts_what_a_user_sees() -> None:
    source = '"""M."""\nclass A:\n    def m(self): ...\n    def _p(self): ...\ndef _q(): ...\ndef r():\n    """R."""\n'
    analysis = analysed(source)
    assert (analysis.public, analysis.documented) == (4, 2)
    assert [(missing.name, missing.line) for missing in analysis.undocumented] == [("A", 2), ("A.m", 3)]


def test_a_plain_list_of_exports_says_what_is_public() -> None:
    analysis = analysed('"""M."""\n__all__ = ("f",)\ndef f(): ...\ndef g(): ...\nclass A:\n    def m(self): ...\n')
    assert [missing.name for missing in analysis.undocumented] == ["f"]


def test_a_private_module_has_no_public_names() -> None:
    assert analysed("def f(): ...\n", "pkg._mod").public == 0
    assert analysed("def f(): ...\n", "pkg.__main__").public == 2


def test_a_setter_and_an_overload_need_no_second_docstring() -> None:
    source = "class A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v): ...\n"
    assert [missing.name for missing in analysed(source).undocumented] == ["", "A", "A.x"]


@pytest.mark.parametrize(
    ("statement", "module", "path", "expected"),
    [
        ("import a.b as c", "p.m", "p/m.py", "a.b"),
        ("from a import b", "p.m", "p/m.py", "a"),
        ("from . import b", "p.m", "p/m.py", "p"),
        ("from .a import b", "p.m", "p/m.py", "p.a"),
        ("from .a import b", "p.q", "p/q/__init__.py", "p.q.a"),
        ("from ..a import b", "p.q.m", "p/q/m.py", "p.a"),
        ("from .. import b", "p.q", "p/q/__init__.py", "p"),
        ("from ...a import b", "p.m", "p/m.py", "...a"),
        ("from . import b", "m", "m.py", "."),
    ],
)
def test_imports_are_absolute(statement: str, module: str, path: str, expected: str) -> None:
    assert analysed(f"{statement}\n", module, path).imports[0].name == expected


@pytest.mark.parametrize(
    ("source", "when"),
    [
        ("import a", EnumImportTime.LOAD),
        ("with b:\n    import a", EnumImportTime.LOAD),
        ("class B:\n    import a", EnumImportTime.LOAD),
        ("if b:\n    import a", EnumImportTime.CONDITIONAL),
        ("try:\n    import a\nexcept ImportError:\n    a = None", EnumImportTime.CONDITIONAL),
        ("try:\n    b()\nexcept KeyError:\n    import a", EnumImportTime.CONDITIONAL),
        ("def f():\n    if b:\n        import a", EnumImportTime.LAZY),
        ("if __name__ == '__main__':\n    import a", EnumImportTime.LAZY),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a", EnumImportTime.TYPING),
        ("import typing\nif typing.TYPE_CHECKING:\n    import a", EnumImportTime.TYPING),
        ("if TYPE_CHECKING:\n    b = 1\nelse:\n    import a", EnumImportTime.CONDITIONAL),
    ],
)
def test_an_import_is_classified_by_when_it_runs(source: str, when: EnumImportTime) -> None:
    assert [found.when for found in analysed(source).imports if found.name == "a"] == [when]


def test_an_import_keeps_its_members_and_line() -> None:
    source = "x = 1\nfrom a import b as c, d\n"
    assert analysed(source).imports == (ImportStatement(line=2, name="a", members=("b", "d")),)


@pytest.mark.parametrize(
    ("source", "encoding"),
    [
        ("x = 'ä'\n".encode(), "utf-8"),
        (b"\xef\xbb\xbfx = 1\n", "utf-8-sig"),
        ("# -*- coding: latin-1 -*-\nx = 'ä'\n".encode("latin-1"), "iso-8859-1"),
        ("#!/bin/python\n# vim: set fileencoding=cp1252 :\nx = '€'\n".encode("cp1252"), "cp1252"),
    ],
)
def test_the_declared_encoding_is_honoured(source: bytes, encoding: str) -> None:
    analysis = analyse(source, "a.py", "a")
    assert (analysis.ok, analysis.encoding) == (True, encoding)


def test_an_analysis_is_frozen_closed_and_survives_its_json() -> None:
    analysis = analysed(LINES)
    assert FileAnalysis.model_validate_json(analysis.model_dump_json()) == analysis
    for field in FileAnalysis.model_fields:
        with pytest.raises(ValidationError):
            setattr(analysis, field, getattr(analysis, field))
    with pytest.raises(ValidationError):
        FileAnalysis.model_validate({**analysis.model_dump(), "more": 1})


PROGRAM = """
import pathlib, sys
from onex.workflows.code_analysis.analysis import analyse
from onex.workflows.code_analysis.markdown import render_markdown
from onex.workflows.code_analysis.page import render_html
from onex.workflows.code_analysis.report import build_report
folder = pathlib.Path(sys.argv[1])
found = [analyse(path.read_bytes(), path.name, f"a.{path.stem}") for path in sorted(folder.glob("*.py"))]
report = build_report(found)
print([one.model_dump_json() for one in found], report.model_dump_json(), render_markdown(report), render_html(report))
"""


def test_another_process_and_hash_seed_give_the_same_bytes() -> None:
    room = Path(onex.__file__).parent / "workflows" / "code_analysis"
    reported = set()
    for seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(onex.__file__).parents[1])}
        run = subprocess.run([sys.executable, "-c", PROGRAM, room], env=environment, capture_output=True, check=True)
        reported.add(run.stdout)
    assert len(reported) == 1
    assert b"module_scan.py" in reported.pop()
