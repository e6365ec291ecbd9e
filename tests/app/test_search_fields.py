"""``search`` of a contract: what cannot be searched is found when the app loads, and an owner fills in what was there before."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import onex
from onex.app import load_app
from onex.engine.search_text import QUERY_MAX, condition_of
from onex.kernel.errors import ContractError
from onex.kernel.finding import Finding
from onex.kernel.search import EnumSearchKind
from onex.kernel.search_query import InvalidQuery, SearchNotReady, SearchTypeMismatch, UnknownSearchField, query_of
from onex.ports import SearchTables
from onex.wiring.engine import WiredEngine

APP = """
from __future__ import annotations

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime

from onex import Action, Payload, Secret, State, Step, workflow


class Address(State):
    town: str = "Ulm"
    since: AwareDatetime | None = None


class Parcel(State):
    status: Literal["new", "sent"] = "new"
    weight: int = 0
    rate: float | None = None
    fragile: bool = False
    day: date = date(2026, 11, 30)
    rank: Literal[1, 2] = 1
    of: UUID | None = None
    size: Literal["s", "m"] = "s"
    to: Address = Address()
    back: Address | None = None
    tags: list[str] = []
    code: Annotated[str, Secret] = ""
    api_key: str = ""


class Weigh(Payload):
    weight: int


parcels = workflow("parcel", Parcel, search={search})


@parcels.on("new -> new")
def weigh(parcel: Parcel, action: Action[Weigh]) -> Step[Parcel]:
    return Step(parcel.evolve(weight=action.payload.weight, fragile=action.payload.weight < 3))


parcels.move("ship", "new -> sent")
"""
GOOD = ("weight", "rate", "fragile", "day", "rank", "of", "size", "to.town", "back.since")


def app_at(folder: Path, search: tuple[str, ...]) -> Path:
    path = folder / "parcels.py"
    path.write_text(APP.replace("{search}", repr(search)))
    return path


def test_each_scalar_has_its_kind(tmp_path: Path) -> None:
    plan = load_app(app_at(tmp_path, GOOD)).workflows["parcel"].search
    assert plan is not None
    kind = EnumSearchKind
    assert [(one.name, one.kind) for one in plan.fields] == [
        ("weight", kind.INTEGER), ("rate", kind.NUMBER), ("fragile", kind.BOOLEAN), ("day", kind.TIME),
        ("rank", kind.INTEGER), ("of", kind.TEXT), ("size", kind.TEXT), ("to.town", kind.TEXT), ("back.since", kind.TIME),
    ]  # fmt: skip
    assert {one.name: one.choices for one in plan.fields if one.choices} == {
        "size": ("s", "m"),
    }


@pytest.mark.parametrize(
    ("search", "code", "what"),
    [
        (("wieght",), "search_unknown", "has no field 'wieght'"),
        (("to.city",), "search_unknown", "Address has no field 'city'"),
        (("tags",), "search_unsupported", "which is list"),
        (("to",), "search_unsupported", "which is Address"),
        (("weight.x",), "search_unsupported", "'weight' of 'weight.x' is no nested model"),
        (("code",), "search_secret", "marked Secret"),
        (("api_key",), "search_secret", "secret by its name"),
        (("status",), "search_built_in", "searched for every workflow"),
        (("weight", "weight"), "duplicate", "lists 'weight' twice"),
    ],
)
def test_what_cannot_be_searched_is_a_finding(tmp_path: Path, search: tuple[str, ...], code: str, what: str) -> None:
    with pytest.raises(ContractError) as error:
        load_app(app_at(tmp_path, search))
    findings = [one for one in error.value.findings if isinstance(one, Finding)]
    assert [(one.code, what in one.message, bool(one.fix)) for one in findings] == [(code, True, True)]


def test_search_decides_no_state(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    contracts = [load_app(app_at(tmp_path / name, search)).workflows["parcel"].contract for name, search in
                 (("a", ("weight",)), ("b", ()))]  # fmt: skip
    assert contracts[0].decided == contracts[1].decided


def search_of(engine: WiredEngine) -> SearchTables:
    assert engine.service.search is not None
    return engine.service.search.tables


def ids(engine: WiredEngine, where: str) -> asyncio.Future[list[str]]:
    async def ask() -> list[str]:
        query = query_of(condition_of(where), await search_of(engine).search_specs())
        return [stored.key.instance_id for stored, _ in await search_of(engine).find(query, None, 100)]

    return asyncio.ensure_future(ask())


async def filled(engine: WiredEngine, where: str) -> list[str]:
    """What is found once the fields are filled in: until then the query says that they are not."""
    while True:
        try:
            return await ids(engine, where)
        except SearchNotReady:
            await asyncio.sleep(0.01)


def test_an_owner_fills_in_what_was_there_and_what_goes_is_removed(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/store.db"

    async def run() -> None:
        async with await onex.open(store, app_at(tmp_path, ())) as engine:
            for n in range(250):
                await engine.submit(f"parcel:{n:03}", "weigh", {"weight": n})
        async with await onex.open(store, app_at(tmp_path, ("weight", "fragile"))) as engine:
            assert await filled(engine, "fragile = true") == ["000", "001", "002"]
            await engine.submit("parcel:000", "weigh", {"weight": 249})
            await engine.submit("parcel:new", "weigh", {"weight": 249})
            assert await ids(engine, "weight = 249") == ["000", "249", "new"]
        async with await onex.open(store, app_at(tmp_path, ("weight", "to.town"))) as engine:
            assert await filled(engine, "to.town = 'Ulm' and weight < 2") == ["001"]
            with pytest.raises(UnknownSearchField, match="did you mean"):
                await ids(engine, "wieght > 2")
        async with await onex.open(store, app_at(tmp_path, ())) as engine:
            assert await search_of(engine).search_specs() == {}
        with closing(sqlite3.connect(tmp_path / "store.db")) as database:
            assert database.execute("select count(*) from search").fetchone() == (0,)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ("weight in (1,", "ends too early"),
        ('weight = "x"', "single quotes"),
        ("weight == 1", "character 9"),
        ("1 = weight", "character 1"),
        ("weight = 1; drop table log", "character 11"),
        ("weight in (select 1)", "character 12"),
        ("weight = \x00", "control character"),
        ("x" * (QUERY_MAX + 1), "the limit is"),
        ("weight in (" + ",".join("1" * 501) + ")", "lists 501 values"),
        ("weight prefix 'a%'", "prefix takes text"),
        ("weight = null", "character 10"),
    ],
)
def test_text_that_is_no_condition_is_refused_at_its_place(text: str, told: str) -> None:
    with pytest.raises(InvalidQuery, match=told):
        condition_of(text)


@pytest.mark.parametrize(
    "text", ["(" * 300 + "a = 1" + ")" * 300, "not " * 900 + "a = 1", " or ".join(["a = 1"] * 400)]
)
def test_a_condition_may_be_as_deep_as_its_text_allows(text: str) -> None:
    assert condition_of(text) is not None


@pytest.mark.parametrize(
    "where",
    ["weight = 'x'", "weight = 1.5", "weight like '1%'", "fragile > false", "fragile = 1", "to.town = 3", "size = 'xl'",
     "updated > 5", "updated > 'soon'", "weight = 99999999999999999999"],
)  # fmt: skip
def test_types_are_compared_strictly(tmp_path: Path, where: str) -> None:
    async def run() -> None:
        async with await onex.open("memory:", app_at(tmp_path, GOOD)) as engine:
            with pytest.raises(SearchTypeMismatch):
                await ids(engine, where)

    asyncio.run(run())
