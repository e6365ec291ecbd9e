"""Tree: a folder of Python sources as the actions that start its analysis. Gatherers begin before what they gather."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import JsonValue


class Submission(NamedTuple):
    """One action to submit: key as text, trigger, payload as JSON."""

    key: str
    trigger: str
    payload: dict[str, JsonValue]


def module_of(path: str) -> str:
    """The dotted name of a source file by its path in the tree: ``json/__init__.py`` is ``json``."""
    name = path.removesuffix(".py").replace("/", ".")
    return name.removesuffix(".__init__") if name != "__init__" else "__init__"


def directory_of(path: str) -> str:
    return path.rpartition("/")[0] or "."


def begin(job: str, root: str, paths: list[str], out: str, title: str) -> Iterator[Submission]:
    """The actions to submit, in this order: each instance begins before its parts report to it. ``paths`` are relative, with
    ``/``.
    """
    directories: dict[str, int] = {}
    for path in paths:
        name = directory_of(path)
        directories[name] = directories.get(name, 0) + 1
    yield Submission(f"code_total:{job}", "begin", {"title": title, "out": out, "directories": len(directories)})
    for name, files in directories.items():
        yield Submission(f"code_directory:{job}/{name}", "begin", {"total": job, "files": files})
    for path in paths:
        yield Submission(
            f"code_file:{job}/{path}",
            "discover",
            {
                "root": root,
                "path": path,
                "module": module_of(path),
                "directory": f"{job}/{directory_of(path)}",
                "out": out,
            },
        )
