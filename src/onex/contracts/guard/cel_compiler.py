"""CEL's compiler, loaded alone: the package that brings it also loads a terminal program, 300 modules that take half a second.

The extension is put where its package would look for it, because it can be started once in a process.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from typing import Protocol

PACKAGE = "cel"
EXTENSION = "cel.cel"


class CelProgram(Protocol):
    """A compiled condition, or another expression."""

    def execute(self, context: dict[str, object]) -> object: ...
    def variables(self) -> list[str]: ...
    def functions(self) -> list[str]: ...


def compile_cel(text: str) -> CelProgram:
    """Raises whatever the compiler has to say about ``text``."""
    program: CelProgram = _extension().compile(text)
    return program


def _extension() -> ModuleType:
    """The compiler as it was loaded first, by whom ever; by way of its package where that is laid out otherwise."""
    loaded = sys.modules.get(EXTENSION)
    if loaded is not None:
        return loaded
    package = PathFinder.find_spec(PACKAGE)
    spec = PathFinder.find_spec(EXTENSION, package.submodule_search_locations) if package else None
    if spec is None or spec.loader is None:
        import cel

        whole: ModuleType = cel
        return whole
    module = module_from_spec(spec)
    sys.modules[EXTENSION] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[EXTENSION]
        raise
    return module
