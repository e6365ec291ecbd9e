"""``onex bench``: whatever ``onex.bench`` has a module for; each has ``run(options) -> result``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Annotated, Final

import typer

from .console import fields, say, say_json, styled
from .exits import Misused
from .store import Json

ROOM: Final = "onex.bench"


def bench(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Which one, or all; without it they are listed.", show_default=False),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="For the bench (may be given often)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure.

    \b
    Examples:
      onex bench
      onex bench durable --json
      onex bench all -o seconds=2
    """
    there = _names()
    if name is None:
        _list(there, as_json=as_json)
        return
    if name != "all" and name not in there:
        raise Misused(f"there is no bench {name!r}; there is {', '.join(there) or 'none'}")
    given = _options(options or [])
    for one in there if name == "all" else [name]:
        result = import_module(f"{ROOM}.{one}").run(given)
        if as_json:
            say_json({"bench": one, **result})
        else:
            say(styled(one, "bold"))
            fields([(key.replace("_", " "), _told(value)) for key, value in result.items()])


def _names() -> list[str]:
    """Modules of the room that can run; the room may hold others that they share."""
    found = [module.name for module in iter_modules(import_module(ROOM).__path__) if not module.name.startswith("_")]
    return [name for name in sorted(found) if hasattr(import_module(f"{ROOM}.{name}"), "run")]


def _list(names: list[str], *, as_json: bool) -> None:
    about = {name: (import_module(f"{ROOM}.{name}").__doc__ or "").strip().partition("\n")[0] for name in names}
    if as_json:
        say_json({"benches": about})
    else:
        fields(list(about.items()), indent="")


def _options(texts: list[str]) -> Mapping[str, str]:
    pairs = [text.partition("=") for text in texts]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise Misused(f"--option {name!r} says no value; write NAME=VALUE, for example seconds=2")
    return {name: value for name, _, value in pairs}


def _told(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
