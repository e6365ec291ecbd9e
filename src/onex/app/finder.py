"""Imports an app's modules under a name of their own, from the bytes that were hashed.

``_onex_<hash>.<app>...`` is found here and nowhere else: ``sys.path`` is not touched, no bytecode is written into a
user's folder, and two revisions of one app can be loaded side by side.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

from .folder import AppFolder, AppModule, OutsideApp

PREFIX = "_onex_"


class _Loader(SourceLoader):
    def __init__(self, module: AppModule) -> None:
        self.module = module

    def get_filename(self, fullname: str) -> str:
        return str(self.module.path)

    def get_data(self, path: bytes | str) -> bytes:
        # without path_stats there is no bytecode to ask for: this is only ever the source
        return self.module.text

    def is_package(self, fullname: str) -> bool:
        return self.module.is_package


class _Top(SourceLoader):
    """The empty package above an app: what a relative import cannot climb over."""

    def get_filename(self, fullname: str) -> str:
        return f"<{fullname}>"

    def get_data(self, path: bytes | str) -> bytes:
        return b""

    def is_package(self, fullname: str) -> bool:
        return True


class AppFinder(MetaPathFinder):
    """Which folder each ``_onex_<hash>`` stands for."""

    def __init__(self) -> None:
        self._folders: dict[str, AppFolder] = {}

    def mount(self, folder: AppFolder, digest: str) -> str:
        """Make the folder importable; returns its package's name. The same code from the same folder is loaded once."""
        top = f"{PREFIX}{digest[:16]}"
        before = self._folders.get(top)
        if before is not None and before.root != folder.root:
            self.forget(top)
        self._folders.setdefault(top, folder)
        if self not in sys.meta_path:
            sys.meta_path.append(self)
        return f"{top}.{folder.name}"

    def forget(self, package: str) -> None:
        """Take an app's modules out of the interpreter, so that the next import starts anew."""
        top = package.partition(".")[0]
        self._folders.pop(top, None)
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            del sys.modules[name]

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        top, _, rest = fullname.partition(".")
        folder = self._folders.get(top)
        if folder is None:
            return None
        if not rest:
            return _spec(fullname, _Top())
        app, _, inner = rest.partition(".")
        if app != folder.name:
            return None
        try:
            module = folder.module(inner)
        except OutsideApp as error:
            raise ImportError(f"{error.finding.path} {error.finding.message}", name=fullname) from error
        return None if module is None else _spec(fullname, _Loader(module))


def _spec(fullname: str, loader: SourceLoader) -> ModuleSpec | None:
    spec = spec_from_loader(fullname, loader, is_package=loader.is_package(fullname))
    if spec is not None:
        spec.cached = None
        if spec.submodule_search_locations is not None:
            # empty: no other finder may look into the folder
            spec.submodule_search_locations = []
    return spec


FINDER = AppFinder()


def import_module(package: str, name: str) -> ModuleType:
    """A module of a mounted app. Raises whatever the module raises."""
    return importlib.import_module(f"{package}.{name}" if name else package)
