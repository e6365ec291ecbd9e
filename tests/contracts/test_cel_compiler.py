"""CEL's compiler comes alone, and once, whoever asks for it first."""

from __future__ import annotations

import subprocess
import sys

import pytest

ALONE = "from onex.contracts.guard.cel_expression import compile_cel"
USE = "assert compile_cel('payload.a > 1').execute({'payload': {'a': 2}}) is True"
WHOLE = "import cel; assert cel.compile('1 + 1').execute({}) == 2"


@pytest.mark.parametrize(
    "words",
    [
        f"{ALONE}; {USE}; import sys; assert not {{'prompt_toolkit', 'cel'}} & set(sys.modules)",
        f"{ALONE}; {USE}; {WHOLE}; {USE}",
        f"{WHOLE}; {ALONE}; {USE}; {WHOLE}",
    ],
    ids=["alone", "before the package", "behind the package"],
)
def test_the_compiler_works(words: str) -> None:
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_where_the_package_is_laid_out_otherwise_it_is_loaded_whole() -> None:
    words = (
        "from importlib.machinery import PathFinder; find = PathFinder.find_spec\n"
        "PathFinder.find_spec = lambda name, *more: None if name == 'cel.cel' and 'cel' not in __import__('sys').modules "
        "else find(name, *more)\n"
        f"{ALONE}; {USE}; import sys; assert 'cel' in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
