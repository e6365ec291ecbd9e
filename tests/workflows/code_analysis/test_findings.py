"""Each check: a small source it must speak about, with the place, and sources beside it that are fine."""

from __future__ import annotations

import pytest

from onex.workflows.code_analysis.analysis import analyse
from onex.workflows.code_analysis.finding import CHECKS

FAULTY = [
    ("syntax", "def f(:\n    pass\n", 1, 7),
    ("assert-tuple", "assert (1, 'one is one')\n", 1, 1),
    ("discarded-comparison", "def f(a):\n    a.x == 1\n", 2, 5),
    ("duplicate-key", "d = {'a': 1, 'b': 2,\n     'a': 3}\n", 2, 6),
    ("duplicate-key", "d = {1: 'one', True: 'yes'}\n", 1, 16),
    ("finally-escape", "def f():\n    try:\n        g()\n    finally:\n        return 1\n", 5, 9),
    ("finally-escape", "while x():\n    try:\n        g()\n    finally:\n        break\n", 5, 9),
    ("literal-identity", "if name is 'main':\n    pass\n", 1, 4),
    ("literal-identity", "same = x is not ()\n", 1, 8),
    ("raise-notimplemented", "def f():\n    raise NotImplemented\n", 2, 5),
    ("raise-notimplemented", "def f():\n    raise NotImplemented('later')\n", 2, 5),
    ("redefined", "class T:\n    def test_a(self): ...\n    def test_a(self): ...\n", 3, 5),
    ("shadowed-handler", "try:\n    f()\nexcept Exception as e:\n    raise\nexcept ValueError:\n    g()\n", 5, 1),
    ("shadowed-handler", "try:\n    f()\nexcept KeyError:\n    h()\nexcept (OSError, KeyError):\n    g()\n", 5, 1),
    ("unreachable", "def f():\n    return 1\n    g()\n    h()\n", 3, 5),
    ("unreachable", "for x in y:\n    if x:\n        continue\n        g()\n", 4, 9),
    ("bare-except", "try:\n    f()\nexcept:\n    g()\n", 3, 1),
    ("mutable-default", "def f(a, b=[]):\n    pass\n", 1, 12),
    ("mutable-default", "f = lambda a, *, b=dict(): b\n", 1, 20),
    ("swallowed-exception", "try:\n    f()\nexcept Exception:\n    pass\n", 3, 1),
    ("swallowed-exception", "for x in y:\n    try:\n        f()\n    except:\n        continue\n", 4, 5),
    ("invalid-escape", "import re\nx = re.compile('\\d+')\n", 2, 17),
    ("unclosed-file", "text = open('a').read()\n", 1, 8),
    ("unclosed-file", "for line in open('a'):\n    f(line)\n", 1, 1),
    ("star-import", "from os import *\n", 1, 1),
    ("too-many-arguments", "def f(a, b, c, d, e, *, g, h, i, j):\n    pass\n", 1, 1),
    ("singleton-comparison", "if None != x:\n    f()\n", 1, 4),
    ("singleton-comparison", "y = a < b == True\n", 1, 5),
    ("unused-import", "import os\nprint(1)\n", 1, 8),
    ("unused-import", "from os import path, sep\nprint(sep)\n", 1, 16),
    ("unused-import", "def f():\n    import os\ndef g(os):\n    return os\n", 2, 12),
    ("empty-fstring", "x = f'{y}' + f'none'\n", 1, 14),
    ("too-complex", "def f(a):\n" + "    if a: g()\n" * 15, 1, 1),
]

FINE = {
    "assert-tuple": ["assert ()\n", "assert a, 'message'\n"],
    "discarded-comparison": ["with raises(TypeError):\n    a < b\n", "try:\n    a < b\nexcept TypeError:\n    f()\n"],
    "duplicate-key": ["d = {'a': 1, b'a': 2}\n", "d = {'a': 1, 'a': 1}\n", "d = {**a, **b}\n", "d = {x: 1, x: 2}\n"],
    "finally-escape": [
        "try:\n    f()\nfinally:\n    for x in y:\n        break\n",
        "try:\n    f()\nfinally:\n    def g():\n        return 1\n",
    ],
    "literal-identity": ["a = x is None or x is True or x is ...\n"],
    "raise-notimplemented": ["def f():\n    raise NotImplementedError\n", "def f():\n    return NotImplemented\n"],
    "redefined": [
        "def f(): ...\ng = f\ndef f(): ...\n",
        "if a:\n    def f(): ...\nelse:\n    def f(): ...\n",
        "@overload\ndef f(): ...\ndef f(): ...\n",
        "class A:\n    @property\n    def x(self): ...\n    @x.setter\n    def x(self, v): ...\n",
        "@app.route('/')\ndef page(): ...\n@app.route('/b')\ndef page(): ...\n",
        "def _(): ...\ndef _(): ...\n",
    ],
    "shadowed-handler": [
        "try:\n    f()\nexcept ValueError:\n    g()\nexcept Exception:\n    h()\n",
        "try:\n    f()\nexcept mine.Error:\n    g()\nexcept mine.Other:\n    h()\n",
    ],
    "unreachable": ["def f():\n    return\n    yield\n", "def f():\n    if a:\n        return 1\n    return 2\n"],
    "bare-except": ["try:\n    f()\nexcept:\n    g()\n    raise\n", "try:\n    f()\nexcept Exception:\n    g()\n"],
    "mutable-default": ["def f(a=(), b=None, c=frozenset()):\n    pass\n"],
    "swallowed-exception": ["try:\n    f()\nexcept KeyError:\n    pass\n"],
    "invalid-escape": ["x = r'\\d' + '\\n'\n"],
    "unclosed-file": ["with open('a') as file:\n    text = file.read()\n", "text = os.open('a').read()\n"],
    "star-import": ["from os import path\n"],
    "too-many-arguments": [
        "def f(a, b, c, d, e, f, g, h, *args, **more):\n    pass\n",
        "class A:\n    def f(self, a, b, c, d, e, f, g, h): ...\n",
    ],
    "singleton-comparison": ["a = x is None\n", "a = None == None\n", "a = x == 1\n"],
    "unused-import": [
        "import a.b\nimport a.c\na.b.f()\n",
        "import a as b\nimport a.c\nb.c.f()\n",
        "import os\n__all__ = ['os']\nprint(1)\n",
        "import os\n__all__ = []\n__all__.append('os')\nprint(1)\n",
        "from __future__ import annotations\nprint(1)\n",
        "import os as _os\nprint(1)\n",
        "from os import path as path\nprint(1)\n",
        "import os\ndel os\nprint(1)\n",
        "from typing import List\ndef f(x: 'List[int]'): ...\n",
        "from a import T\nfrom typing import cast\nx = cast('T', 1)\n",
        "from typing import List\nx = []  # type: List[int]\n",
        "try:\n    import a\nexcept ImportError:\n    print(1)\n",
        "import a\nfrom b import c\n",
        "def f():\n    global os\n    import os\nprint(1)\n",
        "class A:\n    from os import path\n",
        "import os\nx = f'{os.sep:>{os.width}}'\n",
        "import os\nos += 1\n",
    ],
    "empty-fstring": ["x = f'{y}'\n", "x = f'{y:>10}'\n", "x = f'a' f'{y}'\n"],
    "too-complex": ["def f(a):\n" + "    if a: g()\n" * 14],
}


@pytest.mark.parametrize(("code", "source", "line", "column"), FAULTY)
def test_finding_names_the_fault_and_its_place(code: str, source: str, line: int, column: int) -> None:
    found = [finding for finding in analyse(source.encode(), "a.py", "a").findings if finding.code == code]
    assert [(finding.line, finding.column) for finding in found] == [(line, column)]
    assert found[0].message


@pytest.mark.parametrize(("code", "source"), [(code, source) for code, sources in FINE.items() for source in sources])
def test_what_looks_alike_but_is_fine_is_left_alone(code: str, source: str) -> None:
    analysis = analyse(source.encode(), "a.py", "a")
    assert analysis.ok
    assert [finding for finding in analysis.findings if finding.code == code] == []


def test_every_check_is_shown_both_ways() -> None:
    assert {code for code, *_ in FAULTY} == set(CHECKS)
    assert set(FINE) == set(CHECKS) - {"syntax"}


def test_a_package_reexports_what_it_imports() -> None:
    source = b"from os import path\nfrom os import *\nprint(1)\n"
    assert analyse(source, "a/__init__.py", "a").findings == ()


def test_a_computed_list_of_exports_may_name_any_import() -> None:
    source = b"import os\n__all__ = [name for name in dir()]\nprint(1)\n"
    assert analyse(source, "a.py", "a").findings == ()


@pytest.mark.parametrize(
    ("comment", "silenced"),
    [("# noqa", True), ("# noqa: F401", True), ("#NOQA:E501,F401", True), ("# noqa: E501", False), ("# no qa", False)],
)
def test_noqa_silences_what_it_names_and_is_counted(comment: str, silenced: bool) -> None:
    analysis = analyse(f"import os  {comment}\nprint(1)\n".encode(), "a.py", "a")
    assert [finding.code for finding in analysis.findings] == ([] if silenced else ["unused-import"])
    assert analysis.suppressed == int(silenced)


def test_noqa_at_the_end_of_a_statement_counts_for_all_of_it() -> None:
    analysis = analyse(b"from os import (\n    path,\n    sep,\n)  # noqa: F401\nprint(1)\n", "a.py", "a")
    assert (analysis.findings, analysis.suppressed) == ((), 2)


def test_columns_count_characters_not_bytes() -> None:
    (finding,) = analyse("x = ('ä🐍', y == None)\n".encode(), "a.py", "a").findings
    assert (finding.line, finding.column) == (1, 12)


def test_findings_come_in_source_order() -> None:
    source = "import os\nx = f''\ny = a == None or f''\n"
    assert [(f.line, f.column) for f in analyse(source.encode(), "a.py", "a").findings] == [
        (1, 8),
        (2, 5),
        (3, 5),
        (3, 18),
    ]
