"""What a handler reaches, by reading: every way to a clock is followed, and nothing is said of what is never reached."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.doctor.examination import python_source, read_tree
from onex.proof.classes import ClassTable
from onex.proof.function_body import FunctionTraces
from onex.proof.impure_calls import EnumImpurity
from onex.proof.library import Library
from onex.proof.reachability import ReachResult, entry_units, reach
from tests.doctor.planted import written


def reached(root: Path, files: dict[str, str], handler: str = "Handler") -> ReachResult:
    """From ``handler`` in ``shop/handler.py``; the other files are given by name."""
    written(root, {"shop/__init__.py": "", **files})
    library = Library(read_tree(root).python, lambda path: python_source(root, path))
    bodies = FunctionTraces(ClassTable(library))
    module = library.module("shop.handler")
    assert module is not None
    found = library.name_in(module, handler)
    assert found is not None
    return reach(bodies, list(entry_units(bodies, found)))


def touched(found: ReachResult) -> list[str]:
    return [f"{one.touch.kind.value} {one.touch.name} {one.path}:{one.touch.line}" for one in found.encounters]


DIRECT = {
    "by its module": ("import time\ndef handle(x): return time.time()", "clock time.time()"),
    "by a name of ours": (
        "from datetime import datetime as dt\ndef handle(x): return dt.now()",
        "clock datetime.datetime.now()",
    ),
    "by a module of ours": (
        "import datetime as d\ndef handle(x): return d.datetime.now(d.UTC)",
        "clock datetime.datetime.now()",
    ),
    "inside the function": ("def handle(x):\n import uuid\n return uuid.uuid4()", "chance uuid.uuid4()"),
    "a library of many functions": ("import random\ndef handle(x): return random.choice(x)", "chance random.choice()"),
    "handed on": ("import random\ndef handle(x): return sorted(x, key=random.random)", "chance random.random"),
    "kept under another name": ("import time\nnow = time.time\ndef handle(x): return now()", "clock time.time()"),
    "an unseeded generator": (
        "import random\ndef handle(x): return random.Random().random()",
        "chance random.Random()",
    ),
    "a default": ("import os\ndef handle(x, home=os.getenv('HOME')): return home", "environment os.getenv()"),
    "a mapping": ("import os\ndef handle(x): return os.environ['HOME']", "environment os.environ"),
    "a file": ("def handle(x):\n with open(x) as file: return file.read()", "file open()"),
    "a path that was made": (
        "from pathlib import Path\ndef handle(x): return (Path(x) / 'a').read_text()",
        "file pathlib.Path.read_text()",
    ),
    "a path that is given": (
        "from pathlib import Path\ndef handle(x: Path | None): return x.parent.exists()",
        "file pathlib.Path.exists()",
    ),
    "a type in quotes": (
        "import sqlite3\ndef handle(x: 'sqlite3.Connection'): return x.execute('')",
        "database sqlite3.Connection.execute()",
    ),
    "awaited": (
        "import httpx\nasync def handle(x):\n async with httpx.AsyncClient() as c: return await c.get(x)",
        "network httpx.AsyncClient()",
    ),
    "in a comprehension": (
        "import time\ndef handle(x): return [time.monotonic() for _ in x]",
        "clock time.monotonic()",
    ),
    "in a function within": (
        "import time\ndef handle(x):\n def inner(): return time.time()\n return inner()",
        "clock time.time()",
    ),
    "in a lambda": ("import time\ndef handle(x): return (lambda: time.time())()", "clock time.time()"),
    "in one branch": (
        "import subprocess\ndef handle(x):\n if x:\n  try: pass\n  finally: subprocess.run(x)",
        "process subprocess.run()",
    ),
    "text's own hash": ("def handle(x): return hash(x)", "chance hash()"),
    "the zone of the machine": ("def handle(x): return x.at.astimezone()", "environment .astimezone() without a zone"),
    "a variable of the module": (
        "seen = {}\ndef handle(x): seen[x] = 1",
        "shared state a change of the module's variable seen",
    ),
    "a list of the module": (
        "seen = []\ndef handle(x): seen.append(x)",
        "shared state a change of the module's variable seen",
    ),
    "declared global": (
        "count = 0\ndef handle(x):\n global count\n count += 1",
        "shared state a change of the module's variable count",
    ),
    "a print": ("def handle(x): print(x)", "note print()"),
    "a log": (
        "import logging\nlog = logging.getLogger(__name__)\ndef handle(x): log.info(x)",
        "note logging.Logger.info()",
    ),
    "members of a set": ("def handle(x): return list(set(x))", "order the order of a set"),
    "an import by name": (
        "import importlib\ndef handle(x): return importlib.import_module(x)",
        "unproven importlib.import_module(), which may run anything",
    ),
    "a method by name": ("def handle(x): return getattr(x, x.name)()", "unproven a call of what getattr finds"),
    "a telling method": (
        "def handle(x): return x.read_text()",
        "unproven .read_text() of something whose class is not known",
    ),
}


@pytest.mark.parametrize(("source", "expected"), DIRECT.values(), ids=DIRECT)
def test_a_touch_of_the_world_is_seen(source: str, expected: str, tmp_path: Path) -> None:
    found = reached(tmp_path, {"shop/handler.py": source}, "handle")
    assert expected in [line.rpartition(" ")[0] for line in touched(found)]


HONEST = {
    "time as a value": "import datetime as d\ndef handle(x): return x.at + d.timedelta(seconds=1)",
    "a seeded generator": "import random\ndef handle(x): return random.Random(x.seed).choice(x.items)",
    "a type that is only named": "import socket\ndef handle(x: socket.socket) -> socket.socket: return x",
    "a type that is only asked for": "import redis\ndef handle(x): return isinstance(x, redis.Redis)",
    "an error that is only caught": "import redis\ndef handle(x):\n try: return x()\n except redis.RedisError: return 0",
    "an error that is only made": "import redis\ndef handle(x): return redis.ConnectionError(x)",
    "a type checker's import": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n import time\n START = time.time()\ndef handle(x): return x"
    ),
    "a script's end": "import time\ndef handle(x): return x\nif __name__ == '__main__':\n print(time.time())",
    "a neighbour nobody calls": "import time\ndef handle(x): return x\ndef other(): return time.time()",
    "a variable nobody reads": "import time\nSTART = time.time()\ndef handle(x): return x",
    "a name that hides another": "from time import time\ndef handle(x, time): return time()",
    "an id by hash": "import uuid\ndef handle(x): return uuid.uuid5(uuid.NAMESPACE_URL, x)",
    "a set that is sorted": "def handle(x): return sorted(set(x))",
    "its own lists": "def handle(x):\n found = []\n found.append(x)\n return found",
}


@pytest.mark.parametrize("source", HONEST.values(), ids=HONEST)
def test_what_is_only_named_is_no_touch(source: str, tmp_path: Path) -> None:
    assert touched(reached(tmp_path, {"shop/handler.py": source}, "handle")) == []


CLOCK = "import time\ndef now(): return time.time()\ndef later(): return now()"
WAYS = {
    "another module": (
        {"shop/clock.py": CLOCK},
        "from shop.clock import later\nclass Handler:\n def handle(self): return later()",
    ),
    "a relative import": (
        {"shop/clock.py": CLOCK},
        "from .clock import later\nclass Handler:\n def handle(self): return later()",
    ),
    "a module as a whole": (
        {"shop/clock.py": CLOCK},
        "from . import clock\nclass Handler:\n def handle(self): return clock.later()",
    ),
    "a package that passes it on": (
        {"shop/tools/__init__.py": "from .inner import later", "shop/tools/inner.py": CLOCK},
        "from shop.tools import later\nclass Handler:\n def handle(self): return later()",
    ),
    "a star": ({"shop/clock.py": CLOCK}, "from shop.clock import *\nclass Handler:\n def handle(self): return later()"),
    "a base class": (
        {"shop/clock.py": f"{CLOCK}\nclass Base:\n def handle(self): return self.inner()\n def inner(self): return 1"},
        "from shop.clock import Base, later\nclass Handler(Base):\n def inner(self): return later()",
    ),
    "super": (
        {"shop/clock.py": f"{CLOCK}\nclass Base:\n def handle(self): return later()"},
        "from shop.clock import Base\nclass Handler(Base):\n def handle(self): return super().handle()",
    ),
    "an attribute by its annotation": (
        {"shop/clock.py": f"{CLOCK}\nclass Clock:\n def ask(self): return later()"},
        "from shop.clock import Clock\nclass Handler:\n def __init__(self, clock: Clock): self.clock = clock\n"
        " def handle(self): return self.clock.ask()",
    ),
    "an attribute that is made": (
        {"shop/clock.py": f"{CLOCK}\nclass Clock:\n def ask(self): return later()"},
        "from shop.clock import Clock\nclass Handler:\n def __init__(self): self.clock = Clock()\n"
        " def handle(self): return self.clock.ask()",
    ),
    "a property": (
        {"shop/clock.py": CLOCK},
        "from shop.clock import later\nclass Handler:\n @property\n def at(self): return later()\n"
        " def handle(self): return self.at",
    ),
    "a decorator": (
        {"shop/clock.py": f"{CLOCK}\ndef timed(f):\n def inner(*a): return later(), f(*a)\n return inner"},
        "from shop.clock import timed\nclass Handler:\n @timed\n def handle(self): return 1",
    ),
    "what a function returns": (
        {
            "shop/clock.py": f"{CLOCK}\nclass Clock:\n def ask(self): return later()\ndef make() -> Clock: return Clock()"
        },
        "from shop.clock import make\nclass Handler:\n def handle(self): return make().ask()",
    ),
    "a field's default": (
        {"shop/clock.py": f"{CLOCK}\nclass Model:\n at: float = Field(default_factory=later)"},
        "from shop.clock import Model\nclass Handler:\n def handle(self): return Model()",
    ),
    "a validator": (
        {"shop/clock.py": f"{CLOCK}\nclass Model:\n @field_validator('at')\n def check(cls, v): return later()"},
        "from shop.clock import Model\nclass Handler:\n def handle(self): return Model()",
    ),
}


@pytest.mark.parametrize(("files", "handler"), WAYS.values(), ids=WAYS)
def test_the_way_there_is_followed_and_reported(files: dict[str, str], handler: str, tmp_path: Path) -> None:
    found = reached(tmp_path, {**files, "shop/handler.py": handler})
    (one,) = [one for one in found.encounters if one.touch.kind is EnumImpurity.CLOCK]
    names = [link.name for link in one.chain]
    assert names[-2:] == ["later", "now"]
    assert names[0].endswith(("handle", "__init__"))
    clock = next(name for name in files if files[name].startswith("import time"))
    assert (one.path, one.touch.line) == (clock, 2)


def test_a_default_that_is_not_taken_is_not_run(tmp_path: Path) -> None:
    model = "import time\nclass Model:\n at: float = Field(default_factory=time.time)\n name: str = ''"
    handler = "from .model import Model\nclass Handler:\n def handle(self, x): return Model(at=x.at)"
    assert touched(reached(tmp_path, {"shop/model.py": model, "shop/handler.py": handler})) == []


def test_a_class_is_entered_where_a_runtime_enters_it(tmp_path: Path) -> None:
    handler = (
        "import time\nclass Handler:\n def handle(self): return 1\n def stamp(self): return time.time()\n"
        " def _inner(self): return open('')"
    )
    assert touched(reached(tmp_path, {"shop/handler.py": handler})) == []
    without = handler.replace("def handle", "def sum_up")
    assert touched(reached(tmp_path, {"shop/handler.py": without})) == ["clock time.time() shop/handler.py:4"]


def test_functions_that_call_each_other_end(tmp_path: Path) -> None:
    source = "import time\ndef handle(x): return other(x)\ndef other(x): return handle(x) or time.time()"
    assert reached(tmp_path, {"shop/handler.py": source}, "handle").functions == 2


def test_packages_that_are_not_here_are_named(tmp_path: Path) -> None:
    source = (
        "import weird.thing\nimport json\nfrom pydantic import Field\n"
        "def handle(x): return weird.thing.do(json.loads(x), Field())"
    )
    assert reached(tmp_path, {"shop/handler.py": source}, "handle").outside == {"weird"}


def test_the_shortest_chain_is_reported(tmp_path: Path) -> None:
    source = (
        "import time\ndef handle(x): return far(x), near(x)\ndef far(x): return farther(x)\n"
        "def farther(x): return near(x)\ndef near(x): return time.time()"
    )
    (one,) = reached(tmp_path, {"shop/handler.py": source}, "handle").encounters
    assert [(link.name, link.line) for link in one.chain] == [("handle", 2), ("near", 2)]


def test_what_only_a_raise_reaches_is_marked_as_failing(tmp_path: Path) -> None:
    source = (
        "import time\nclass Wrong(Exception):\n def __init__(self): self.at = time.time()\n"
        "def handle(x):\n if x: raise Wrong()\n return other(x)\n"
        "def other(x): return time.monotonic()\n"
    )
    found = reached(tmp_path, {"shop/handler.py": source}, "handle")
    assert [(one.touch.name, one.failing) for one in found.encounters] == [
        ("time.monotonic()", False),
        ("time.time()", True),
    ]
    caught = source.replace("other(x)\ndef", "Wrong()\ndef")
    assert [one.failing for one in reached(tmp_path, {"shop/handler.py": caught}, "handle").encounters] == [False]


HOSTILE = {
    "nothing": b"",
    "no Python": b"def handle(:\n",
    "NUL": b"def handle(x): return 1\0",
    "no UTF-8": b"def handle(x): return '\xff\xfe'",
    "an unknown encoding": b"# -*- coding: klingon -*-\ndef handle(x): return 1",
    "deep": b"x = " + b"(" * 5000 + b")" * 5000,
    "long sums": b"def handle(x): return " + b" + ".join([b"x"] * 20_000),
    "deep calls": b"def handle(x): return " + b"x(" * 90 + b")" * 90,
    "latin": "# -*- coding: latin-1 -*-\ndef handle(x): return 'é'".encode("latin-1"),
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_no_file_of_python_makes_it_fall(source: bytes, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_bytes(source)
    library = Library(["one.py"], lambda path: python_source(tmp_path, path))
    bodies = FunctionTraces(ClassTable(library))
    module = library.at("one.py")
    for name in module.bindings:
        found = library.name_in(module, name)
        assert found is not None
        result = reach(bodies, list(entry_units(bodies, found)))
        assert all(one.touch.kind is EnumImpurity.UNPROVEN for one in result.encounters)


UNREADABLE = ("no Python", "NUL", "no UTF-8", "an unknown encoding", "deep")


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_says_why(name: str, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_bytes(HOSTILE[name])
    module = Library(["one.py"], lambda path: python_source(tmp_path, path)).at("one.py")
    assert module.problem.startswith("line ")
    assert not module.bindings


def test_imports_in_a_circle_end(tmp_path: Path) -> None:
    files = {"shop/a.py": "from shop.b import x", "shop/b.py": "from shop.a import x"}
    assert (
        touched(
            reached(tmp_path, {**files, "shop/handler.py": "from .a import x\ndef handle(y): return x(y)"}, "handle")
        )
        == []
    )


def test_stars_in_circles_end(tmp_path: Path) -> None:
    names = [f"m{n}" for n in range(12)]
    files = {
        f"shop/{name}.py": "\n".join(f"from shop.{other} import *" for other in names if other != name)
        for name in names
    }
    files["shop/m11.py"] += "\nimport time\ndef last(): return time.time()"
    found = reached(
        tmp_path, {**files, "shop/handler.py": "from .m0 import last\ndef handle(x): return last()"}, "handle"
    )
    assert touched(found) == ["clock time.time() shop/m11.py:13"]


def test_classes_in_a_circle_end(tmp_path: Path) -> None:
    source = "class A(B):\n pass\nclass B(A):\n pass\nclass Handler(A):\n def handle(self): return self.nothing.at()"
    assert touched(reached(tmp_path, {"shop/handler.py": source})) == []


UNREAD = (
    "from .rates import rate\ndef handle(x): return rate(x)",
    "from shop.rates import rate\ndef handle(x): return rate(x)",
    "import shop.rates as rates\ndef handle(x): return rates.rate(x)",
    "from . import rates\ndef handle(x): return rates.rate(x)",
)


@pytest.mark.parametrize("source", UNREAD)
def test_what_is_in_a_file_that_cannot_be_read_is_not_taken_to_be_pure(source: str, tmp_path: Path) -> None:
    found = reached(tmp_path, {"shop/handler.py": source, "shop/rates.py": "def rate(:"}, "handle")
    assert (touched(found), found.outside) == ([], {"shop"})


@pytest.mark.parametrize("source", UNREAD[:3])
def test_what_is_in_a_module_that_is_not_there_is_not_taken_to_be_pure(source: str, tmp_path: Path) -> None:
    assert reached(tmp_path, {"shop/handler.py": source}, "handle").outside == {"shop"}
