"""Imports the modules of apps from the bytes that were hashed, under package names of their own.

Theory of operation. ``mount`` gives an app the package ``_onex_<digest>.<app>`` and puts one finder behind all others in
``sys.meta_path``. Python asks it for each name that nobody else knows, and it answers only for names below a mounted package.

- Two versions of one app have two digests, so their modules live side by side in ``sys.modules``. What-if and replay need that.
- ``sys.path`` is not changed, so a file of the app never hides a module of the standard library, and a user's folder gets no
  bytecode files: a loader without ``path_stats`` writes none.
- A module's bytes come from ``AppFolder``, which read them once. A file that changes on disk after that changes nothing here.
- ``submodule_search_locations`` is an empty list. With a real path, Python's own path finder would look into the folder and import
  bytes that nobody hashed.
- The package above the app is empty. A relative import cannot climb over it into other apps.
- The same digest mounted from another folder: the first one's modules are forgotten, since ``__file__`` and all places in findings
  would name the wrong folder.

What may go wrong: a link out of the folder, or a file that cannot be read, becomes ImportError with that reason. What a module
raises while it runs goes to the caller of ``import_module`` unchanged, and Python itself removes that module from
``sys.modules``. The caller forgets the whole app then, since its other modules may hold objects of the failed one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

from .folder import AppFolder, AppModule, OutsideApp

PREFIX = "_onex_"


class _Loader(SourceLoader):
    def __init__(self, module: AppModule) -> None:
        self.module = module

    def get_filename(self, fullname: str) -> str:
        return str(self.module.path)

    def get_data(self, path: bytes | str) -> bytes:
        # without path_stats Python never asks for bytecode: this is always the source
        return self.module.text

    def is_package(self, fullname: str) -> bool:
        return self.module.is_package


class AppFinder(MetaPathFinder):
    """Knows the folder of each ``_onex_<digest>``. One instance per process: ``FINDER``."""

    def __init__(self) -> None:
        self._folders: dict[str, AppFolder] = {}

    def mount(self, folder: AppFolder, digest: str) -> str:
        """Makes the folder importable and returns the name of its package. The same code from the same folder is loaded once."""
        top = f"{PREFIX}{digest[:16]}"
        before = self._folders.get(top)
        if before is not None and before.root != folder.root:
            self.forget(top)
        self._folders.setdefault(top, folder)
        if self not in sys.meta_path:
            sys.meta_path.append(self)
        return f"{top}.{folder.name}"

    def forget(self, package: str) -> None:
        """Removes an app's modules from the interpreter, so that the next import runs them again."""
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
            # the empty package above an app: a relative import cannot climb over it
            return _spec(fullname, AppModule("", Path(f"<{fullname}>"), b"", True))
        app, _, inner = rest.partition(".")
        if app != folder.name:
            return None
        try:
            module = folder.module(inner)
        except OutsideApp as error:
            raise ImportError(f"{error.finding.path} {error.finding.message}", name=fullname) from error
        return None if module is None else _spec(fullname, module)


def _spec(fullname: str, module: AppModule) -> ModuleSpec | None:
    spec = spec_from_loader(fullname, _Loader(module), is_package=module.is_package)
    if spec is not None:
        spec.cached = None
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations = []
    return spec


FINDER = AppFinder()


def import_module(package: str, name: str) -> ModuleType:
    """A module of a mounted app. Raises whatever the module raises."""
    return importlib.import_module(f"{package}.{name}" if name else package)
