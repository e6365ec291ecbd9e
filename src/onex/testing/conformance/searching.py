"""Search: values move with the state, conditions find the same instances in every store, pages follow one another."""

from __future__ import annotations

from datetime import UTC, date, datetime

from ...engine.search_text import condition_of
from ...kernel.action import WorkflowKey
from ...kernel.search import (
    EnumSearchKind,
    Scalar,
    SearchField,
    SearchFill,
    SearchMove,
    SearchSpec,
    encoded,
    with_slots,
)
from ...kernel.search_query import BUILTIN, SearchNotReady, SearchPlace, SearchQuery, UnknownSearchField, query_of
from .owner import A, AnyStore, B, C, Owner, row
from .suite import Place, Suite, behaviour

FIELDS = with_slots(
    [
        ("cents", EnumSearchKind.INTEGER, ()),
        ("name", EnumSearchKind.TEXT, ()),
        ("rate", EnumSearchKind.NUMBER, ()),
        ("until", EnumSearchKind.TIME, ()),
        ("open", EnumSearchKind.BOOLEAN, ()),
        ("buyer.kind", EnumSearchKind.TEXT, ("person", "firm")),
    ]
)
ROWS: dict[str, tuple[Scalar, ...]] = {
    "a": (500, "ada", 0.5, date(2026, 11, 30), True, "person"),
    "b": (501, "Ada%", -1.5, datetime(2026, 11, 30, 12, tzinfo=UTC), False, "firm"),
    "c": (-7, "bob_1", 2e300, date(2030, 1, 1), None, None),
    "d": (None, None, -0.0, date(1970, 1, 1), True, "person"),
    "e": (500, "Zoë*?[x]", 0.25, None, False, "firm"),
    "f": (1 << 53, "\\b", -2.5, datetime(2026, 11, 29, 23, 59, 59, 999999, tzinfo=UTC), None, "person"),
    "g": (0, "z" * 1500, 1e-300, datetime(1969, 1, 1, tzinfo=UTC), True, None),
}
FOUND = {
    "cents > 500": "b f",
    "cents = 500": "a e",
    "cents != 500": "b c f g",
    "not cents = 500": "b c f g",
    "cents is null": "d",
    "cents is not null and open = true": "a g",
    "cents between -7 and 0": "c g",
    "cents not between -7 and 0": "a b e f",
    "cents in (500, 0)": "a e g",
    "cents not in (500, 0)": "b c f",
    "name = 'ada'": "a",
    "name > 'b'": "c g",
    "name like 'A%'": "b",
    "name like '_da%'": "a b",
    "name prefix 'Zo'": "e",
    "name like '%*?[%'": "e",
    "name like '%\\%'": "f",
    "name not like '%a%'": "c e f g",
    "rate < 0": "b f",
    "rate >= 0 and rate <= 0.5": "a d e g",
    "until > '2026-11-30'": "b c",
    "until <= '2026-11-30T00:00:00+00:00'": "a d f g",
    "until < '1970-01-01'": "g",
    "until between '2026-11-29T23:59:59.999999Z' and '2026-11-30'": "a f",
    "until = '1970-01-01T01:00:00+01:00'": "d",
    "open = false or buyer.kind = 'person'": "a b d e f",
    "not (open = false or buyer.kind = 'person')": "",
    "buyer.kind in ('firm', 'person') and not held = true": "a b d e f",
    "type = 'orders' and cents > 0": "a b e f",
    "id >= 'c' and cents = 500": "e",
    "status = 'open' and version = 1 and ended = false and cents = 0": "g",
    "began < '2026-01-01' and updated = '1970-01-01T00:00:00.001Z' and cents = -7": "c",
}


def values(row: tuple[Scalar, ...], spec: SearchSpec) -> SearchMove:
    codes = tuple(encoded(field.kind, value) for field, value in zip(FIELDS, row, strict=True))
    return SearchMove(spec.id, tuple(field.slot for field in FIELDS), codes)


def asked(spec: SearchSpec, where: str, order: str | None = None, *, descending: bool = False) -> SearchQuery:
    condition = condition_of(where) if where else None
    return query_of(condition, {spec.workflow_type: spec}, order=order, descending=descending)


async def found(store: AnyStore, query: SearchQuery, page: int = 100) -> str:
    """The ids that a query finds, page by page."""
    ids: list[str] = []
    after: SearchPlace | None = None
    while True:
        rows = await store.find(query, after, page)
        ids += [stored.key.instance_id for stored, _ in rows]
        if len(rows) < page:
            return " ".join(ids)
        after = SearchPlace(rows[-1][0].key, rows[-1][1])


async def with_rows(owner: Owner) -> SearchSpec:
    spec = (await owner.store.declare_search({"orders": FIELDS}))["orders"]
    for name, one in ROWS.items():
        await owner.apply(WorkflowKey("orders", name), row(name), search=values(one, spec))
    await owner.apply(C, row("c1"))
    return spec


class Searching(Suite):
    @behaviour
    async def test_conditions_find_what_they_say(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        spec = await with_rows(owner)
        assert spec.filled
        for where, ids in FOUND.items():
            assert (where, await found(reader, asked(spec, where))) == (where, ids)
            ((_, count),) = await reader.tally(asked(spec, where), None)
            assert (where, count) == (where, len(ids.split()))

    @behaviour
    async def test_pages_follow_one_another_in_either_order(self, place: Place) -> None:
        owner = await place.owner()
        spec = await with_rows(owner)
        for page in (1, 2, 3, 100):
            assert await found(owner.store, asked(spec, ""), page) == "a b c d e f g c"
            assert await found(owner.store, asked(spec, "", "cents"), page) == "c g a e b f d"
            assert await found(owner.store, asked(spec, "", "cents", descending=True), page) == "f b a e g c d"
            assert await found(owner.store, asked(spec, "", "until"), page) == "g d f a b c e"
            assert await found(owner.store, asked(spec, "open = true", "rate", descending=True), page) == "a g d"

    @behaviour
    async def test_instances_are_counted_by_a_column(self, place: Place) -> None:
        owner = await place.owner()
        spec = await with_rows(owner)
        whole = asked(spec, "cents is null or cents is not null")
        assert await owner.store.tally(whole, spec.fields[4]) == [(None, 2), (0, 2), (1, 3)]
        assert await owner.store.tally(whole, spec.fields[5]) == [(None, 2), ("firm", 2), ("person", 3)]
        assert await owner.store.tally(asked(spec, ""), BUILTIN["type"]) == [("orders", 7), ("parcels", 1)]

    @behaviour
    async def test_values_move_with_the_state_and_stay_with_a_conflict(self, place: Place) -> None:
        owner, reader = await place.owner(), await place.open()
        spec = await with_rows(owner)
        a = WorkflowKey("orders", "a")
        await owner.apply(a, row("a2"), search=SearchMove(spec.id, (0,), (900,)))
        late = owner.change(a, row("a3"), search=SearchMove(spec.id, (0,), (1,)))._replace(based_on=1)
        await owner.commit(late)
        assert await found(reader, asked(spec, "cents = 900 and name = 'ada' and version = 2")) == "a"

    @behaviour
    async def test_fields_of_instances_that_were_there_are_filled_in(self, place: Place) -> None:
        owner = await place.owner()
        for key in (A, B):
            await owner.apply(key, row(f"{key.instance_id}1"))
        store = owner.store
        spec = (await store.declare_search({"orders": FIELDS}))["orders"]
        assert not spec.filled
        assert not await store.search_filled(spec)
        try:
            asked(spec, "cents > 1")
        except SearchNotReady as error:
            assert error.retryable
        else:
            raise AssertionError("a query before the end of the fill must say so")
        instances = [one.instance for one in await store.unfilled(spec, "", 10)]
        assert [one.key for one in await store.unfilled(spec, "a", 10)] == [B]
        await owner.apply(A, row("a2"), search=SearchMove(spec.id, (0,), (2,)))  # it has no row yet: the fill writes it
        fills = [SearchFill(instance, 1, values(ROWS["a"], spec)) for instance in instances]
        await store.fill_search(fills)
        assert [one.key for one in await store.unfilled(spec, "", 10)] == [A]
        await store.fill_search([fills[0]._replace(version=2)])
        assert await store.search_filled(spec)
        ready = (await store.search_specs())["orders"]
        assert ready == spec._replace(filled=True)
        assert await found(store, asked(ready, "cents = 500")) == "a b"

    @behaviour
    async def test_other_fields_are_another_spec_and_none_remove_the_values(self, place: Place) -> None:
        owner = await place.owner()
        store = owner.store
        spec = await with_rows(owner)
        assert (await store.declare_search({"orders": FIELDS}))["orders"] == spec
        fewer: tuple[SearchField, ...] = with_slots([("name", EnumSearchKind.TEXT, ())])
        less = (await store.declare_search({"orders": fewer}))["orders"]
        assert less.id != spec.id
        assert not less.filled
        assert len(await store.unfilled(less, "", 100)) == 7
        assert await store.declare_search({"orders": (), "parcels": ()}) == {}
        assert await store.search_specs() == {}
        again = (await store.declare_search({"orders": FIELDS}))["orders"]
        assert len(await store.unfilled(again, "", 100)) == 7

    @behaviour
    async def test_a_field_that_no_contract_lists_is_named(self, place: Place) -> None:
        owner = await place.owner()
        spec = await with_rows(owner)
        try:
            asked(spec, "cent > 1")
        except UnknownSearchField as error:
            assert "'cent' is no search field; did you mean cents?" in error.message
        else:
            raise AssertionError("an unknown field must be refused")
