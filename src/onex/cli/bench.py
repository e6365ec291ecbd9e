"""``onex bench``: each module of ``onex.bench`` that has a function ``run(options) -> result`` is a bench."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from keyword import iskeyword
from pkgutil import iter_modules
from types import ModuleType
from typing import Annotated, Final

import typer

from .console import fields, note, say, say_json, styled, table
from .exit_codes import Misused
from .store_options import Json

ROOM: Final = "onex.bench"


def bench(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Which bench, or all. Without it the benches are listed.", show_default=False
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", "-o", metavar="NAME=VALUE", help="An option of the bench. May be repeated."),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="KIND", help="The store to measure: sqlite (default), postgres or memory.")
    ] = None,
    store_url: Annotated[
        str | None,
        typer.Option(
            "--store-url",
            metavar="URL",
            help="The server of --store postgres. Schemas are made there and dropped. [default: ONEX_STORE]",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Only show that it runs; the numbers mean nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Measure speed and memory on this machine.

    \b
    Examples:
      onex bench
      onex bench durable --store sqlite --json
      onex bench durable --store postgres --store-url postgres://localhost/bench
      onex bench all -o seconds=2
    """
    there = _names()
    if name is None:
        _list(there, as_json=as_json)
        return
    if name != "all" and name not in there:
        raise Misused(f"there is no bench {name!r}; there are {', '.join(there) or 'none'}")
    given = dict(_options(options or []))
    if store is not None:
        given["store"] = store
    if store_url is not None:
        given["store_url"] = store_url
    if quick:
        given["quick"] = "1"
    for one in there if name == "all" else [name]:
        if name == "all" and given.get("store") != "postgres" and getattr(_module(one), "NEEDS_SERVER", False):
            note(f"{one} is left out: it needs --store postgres")
            continue
        result = _module(one).run(given)
        if as_json:
            say_json({"bench": one, **result})
        else:
            say(styled(one, "bold"))
            _show(result, judged=not quick)


def _names() -> list[str]:
    """Modules of the package that have ``run``; the others are shared by them."""
    found = [module.name for module in iter_modules(import_module(ROOM).__path__) if not module.name.startswith("_")]
    return [name.removesuffix("_") for name in sorted(found) if hasattr(import_module(f"{ROOM}.{name}"), "run")]


def _module(name: str) -> ModuleType:
    """A bench named like a Python keyword has an underscore behind its module name: ``import_``."""
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
            raise Misused(f"--option {name!r} has no value; write NAME=VALUE, for example seconds=2")
    return {name: value for name, _, value in pairs}


def _show(result: Mapping[str, object], indent: str = "  ", *, judged: bool) -> None:
    """Plain values first, then nested ones, indented; where ``judged``, the targets last, with those that were missed marked.
    One of ``columns`` and ``rows`` is a table."""
    targets = result.get("targets") if judged else None
    inner = {name: value for name, value in result.items() if isinstance(value, Mapping)}
    plain = [(n.replace("_", " "), _number(v)) for n, v in result.items() if n not in inner and n != "targets"]
    fields(plain, indent)
    for name, value in inner.items():
        if value.keys() == {"columns", "rows"}:
            rows = [
                [f"{cell:,.1f}" if isinstance(cell, float) else f"{cell:,}" for cell in row] for row in value["rows"]
            ]
            table(value["columns"], rows, right=range(len(value["columns"])))
            continue
        say(f"{indent}{styled(name.replace('_', ' '), 'dim')}")
        _show(value, indent + "  ", judged=judged)
    if isinstance(targets, list):
        for target in targets:
            missed = "" if target["met"] else styled("missed: ", "red")
            bound = next(name for name in ("at least", "at most") if name in target)
            text = f"{missed}{_number(target['value'])}, wanted {bound} {_number(target[bound])}, aim {_number(target['aim'])}"
            fields([(target["what"], text)], indent)


def _number(value: object) -> str:
    if isinstance(value, float):
        if value == int(value) and abs(value) < 1e15:
            return f"{value:,.0f}"
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
