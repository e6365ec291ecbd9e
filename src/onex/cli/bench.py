"""``onex bench``: whatever ``onex.bench`` has a module for; each has ``run(options) -> result``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from keyword import iskeyword
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Final

import typer

from .console import fields, say, say_json, styled
from .exit_codes import Misused
from .store_options import Json

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
    store: Annotated[
        str | None, typer.Option(metavar="KIND", help="The kind of store to measure; sqlite unless set.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only show that it runs; the figure means nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Measure.

    \b
    Examples:
      onex bench
      onex bench durable --store sqlite --json
      onex bench all -o seconds=2
    """
    there = _names()
    if name is None:
        _list(there, as_json=as_json)
        return
    if name != "all" and name not in there:
        raise Misused(f"there is no bench {name!r}; there is {', '.join(there) or 'none'}")
    given = dict(_options(options or []))
    if store is not None:
        given["store"] = store
    if quick:
        given["quick"] = "1"
    for one in there if name == "all" else [name]:
        result = _module(one).run(given)
        if as_json:
            say_json({"bench": one, **result})
        else:
            say(styled(one, "bold"))
            _show(result)


def _names() -> list[str]:
    """Modules of the room that can run; the room may hold others that they share."""
    found = [module.name for module in iter_modules(import_module(ROOM).__path__) if not module.name.startswith("_")]
    return [name.removesuffix("_") for name in sorted(found) if hasattr(import_module(f"{ROOM}.{name}"), "run")]


def _module(name: str) -> ModuleType:
    """The file of a bench whose name is a word of Python's ends in an underscore."""
    return import_module(f"{ROOM}.{name}_" if iskeyword(name) else f"{ROOM}.{name}")


def _list(names: list[str], *, as_json: bool) -> None:
    about = {name: (_module(name).__doc__ or "").strip().partition("\n")[0] for name in names}
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


def _show(result: Mapping[str, object], indent: str = "  ") -> None:
    """Values under one another, what is inside another value behind it; targets last, and whether they are met."""
    targets = result.get("targets")
    inner = {name: value for name, value in result.items() if isinstance(value, Mapping)}
    plain = [(n.replace("_", " "), _number(v)) for n, v in result.items() if n not in inner and n != "targets"]
    fields(plain, indent)
    for name, value in inner.items():
        say(f"{indent}{styled(name.replace('_', ' '), 'dim')}")
        _show(value, indent + "  ")
    if isinstance(targets, list):
        for target in targets:
            missed = "" if target["met"] else styled("missed: ", "red")
            bound = next(name for name in ("at least", "at most") if name in target)
            told = f"{missed}{_number(target['value'])}, wanted {bound} {_number(target[bound])}, aim {_number(target['aim'])}"
            fields([(target["what"], told)], indent)


def _number(value: object) -> str:
    if isinstance(value, float):
        if value == int(value) and abs(value) < 1e15:
            return f"{value:,.0f}"
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
