"""`onex forward`: what is in flight, continued under the code that runs and under the code that is to run."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest
from pydantic import JsonValue

import onex
from onex.engine.payload_reading import PayloadInput
from onex.kernel.action import WorkflowKey
from onex.processes.forward_check import ForwardTask, _outbox_of, check_forward, workflow_words
from onex.processes.shadow_run import ShadowProcess, ShadowTask
from onex.simulation.app_sim.values import simplest
from onex.whatif.forward_known import Known, shape_of
from onex.whatif.forward_result import EnumForward, ForwardResult
from onex.whatif.forward_side import ForwardSide
from onex.whatif.forward_walk import ForwardWalk, WalkResult
from onex.whatif.shadow_counts import ShadowCounts
from onex.wiring import open_reader
from onex.wiring.folding import InertApp
from tests.cli.conftest import ORDERS, STORE, Commands, fill
from tests.servers.postgres_server import PostgresServer

RIDES = Path(__file__).with_name("rides") / "rides.py"
AGAIN, STRANDED = EnumForward.AGAIN, EnumForward.STRANDED

Change = tuple[str, str]
TRAP: tuple[Change, ...] = (
    ("    cents: int = 0\n", "    cents: int = 0\n    charged: bool = False\n"),
    (
        "ride.evolve(cents=action.payload.cents), Charge",
        "ride.evolve(cents=action.payload.cents, charged=True), Charge",
    ),
    (
        "def remind(ride: Ride, action: Action[Nothing]) -> Step[Ride]:\n    return Step(ride)",
        "def remind(ride: Ride, action: Action[Nothing]) -> Step[Ride]:\n"
        "    again = () if ride.charged else (Charge(cents=ride.cents),)\n"
        "    return Step(ride.evolve(charged=True), *again)",
    ),
    ('"charging -> riding")', '"charging -> riding", "riding -> riding")'),
)
"""A new field with a default, and a reminder that charges who was not charged yet: for a ride under way that reads as not yet."""


def changed(place: Path, *changes: Change) -> Path:
    text = RIDES.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    app = place / "changed" / "rides.py"
    app.parent.mkdir(exist_ok=True)
    app.write_text(text)
    return app


async def _begin(*keys: str, until: str) -> None:
    async with await onex.open(STORE, RIDES) as engine:
        begun: list[tuple[str, str, PayloadInput]] = [(key, "begin", {"cents": 900}) for key in keys]
        await engine.submit_many(begun)
        for key in keys:
            await engine.wait(key, until=until)


def begin(count: int) -> None:
    """So many rides that are charged and go on."""
    asyncio.run(_begin(*(f"rides:{n}" for n in range(count)), until="riding"))


@pytest.fixture(scope="module")
def one_ride(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one ride that is charged and goes on: made once, and only read."""
    place = tmp_path_factory.mktemp("one_ride")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        begin(1)
    return place / "store.db"


def begin_while_the_bank_is_closed(place: Path, key: str = "rides:0") -> None:
    """One ride whose charge was tried, and waits to be tried again."""
    closed = place / "bank.closed"
    closed.touch()
    asyncio.run(_begin(key, until="charging"))
    closed.unlink()


def walked(new: Path, key: str = "rides:0") -> WalkResult:
    """One ride under both codes, in this process."""
    codes = [InertApp(app) for app in (RIDES, new)]
    old_side, new_side = (ForwardSide(one.registry, simplest) for one in codes)
    known = Known(workflow_words(codes[0].app, codes[0].registry))

    async def go() -> WalkResult:
        reader = await open_reader(STORE)
        own = WorkflowKey.parse(key)
        stored, rows = (await reader.load([own]))[own], await reader.history(own, 0, 1000)
        known.learn(rows)
        result = ForwardWalk(old_side, new_side, known).instance(stored, rows, await _outbox_of(reader, own), 0)
        await reader.close()
        return result

    try:
        return asyncio.run(go())
    finally:
        assert sum(one.boundary.fired for one in codes) == 0
        for one in codes:
            one.close()


def told(result: WalkResult) -> list[tuple[str, str, str]]:
    return [(one.what.value, one.name, ", ".join(one.after)) for one in result.found]


# --- the case -----------------------------------------------------------------------------------------------------------


def test_a_field_with_a_default_that_makes_forty_charges_be_made_twice_is_named(
    commands: Commands, place: Path
) -> None:
    """The case that this check is for: whatif over the past and every migration check are content with this change."""
    begin(40)
    new = changed(place, *TRAP)
    assert commands("whatif", RIDES, "--against", new, "--budget", "stranded=0,refused=0,open=0").code == 0
    assert commands("migrate", "--check", new).code == 0
    said = commands("forward", RIDES, "--against", new, "--json")
    row = said.row
    assert said.code == 1
    assert (row["instances"], row["looked_at"], row["alike"], row["not_looked_at"]) == (40, 2, 38, 0)
    assert (row["again"], row["lost"], row["stranded"], row["fired"]) == (40, 0, 0, 0)
    # a judge can be given it as it is printed
    result = ForwardResult.model_validate({name: row[name] for name in row if name in ForwardResult.model_fields})
    (finding,) = result.findings
    assert (finding.what, finding.name, finding.status) == (AGAIN, "charge", "riding")
    assert (finding.instances, finding.after) == (40, ("remind",))


def test_an_engine_with_that_code_does_what_the_check_says(place: Path) -> None:
    begin(1)
    new = changed(place, *TRAP)
    assert told(walked(new)) == [("again", "charge", "remind")]

    async def upgraded() -> None:
        async with await onex.open(STORE, new) as engine:
            await engine.submit("rides:0", "remind")
            await engine.idle()

    asyncio.run(upgraded())
    booked = [line.split() for line in (place / "bank.txt").read_text().splitlines()]
    assert [cents for cents, _ in booked] == ["900", "900"] and len({key for _, key in booked}) == 2


def test_the_same_trap_is_named_where_the_intent_has_another_name_now(place: Path, one_ride: Path) -> None:
    shutil.copy(one_ride, place)
    renamed = (
        ("def charge(", "def bill("), ("charge.", "bill."),
        ('workflow("rides", Ride)', 'workflow("rides", Ride, state_schema=2)'),
        ("Step, workflow\n", "Step, renames, workflow\n"),
        ("BANK = ", "renames(1, intents={\"charge\": \"bill\"}, triggers={\"charge.succeeded\": \"bill.succeeded\", "
         "\"charge.failed\": \"bill.failed\", \"charge.unknown\": \"bill.unknown\"})\nBANK = "),
    )  # fmt: skip
    assert told(walked(changed(place, *renamed))) == []
    assert told(walked(changed(place, *TRAP, *renamed))) == [("again", "bill", "remind")]


# --- what is no reason to stop ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ((), []),
        ((("    cents: int = 0\n", "    cents: int = 0\n    note: str = \"\"\n"),), []),
        ((('"thank you"', '"goodbye"'),), [("changed", "farewell", "stop")]),
        (
            (("return Step(ride)\n\n\n@rides.on(\"riding -> ended",
              "return Step(ride, Farewell(text=\"soon\"))\n\n\n@rides.on(\"riding -> ended"),),
            [("added", "farewell", "remind")],
        ),
        (  # the farewell comes one effect later
            (
                ('"charging", "riding", "ended"', '"charging", "riding", "closing", "ended"'),
                ("riding -> ended", "riding -> closing"),
                ("Step(ride, Farewell(text=\"thank you\"))", "Step(ride, Close(text=\"\"))"),
                ("class Farewell(", "class Close(Payload):\n    text: str\n\n\nclass Farewell("),
                ("@rides.timer", "@rides.effect(kind=\"api_call\", delivery=\"at_least_once\")\n"
                 "def close(intent: ModelIntent[Close]) -> None:\n    return None\n\n\n"
                 "@rides.on(close.failed, close.unknown, \"closing -> ended\")\n"
                 "def left_open(ride: Ride, action: Action[Failure]) -> Step[Ride]:\n"
                 "    return Step(ride, Farewell(text=\"thank you\"))\n\n\n"
                 "@rides.on(close.succeeded, \"closing -> ended\")\n"
                 "def closed(ride: Ride, action: Action[Nothing]) -> Step[Ride]:\n"
                 "    return Step(ride, Farewell(text=\"thank you\"))\n\n\n@rides.timer"),
            ),
            [("added", "close", "stop")],
        ),
    ],
    ids=["the same code", "a field", "another payload", "one more", "later"],
)  # fmt: skip
def test_what_a_change_may_well_be_for_is_told_and_stops_nothing(
    place: Path, one_ride: Path, changes: tuple[Change, ...], found: list[tuple[str, str, str]]
) -> None:
    shutil.copy(one_ride, place)
    result = walked(changed(place, *changes))
    assert told(result) == found
    assert not result.unreadable and result.steps > 0


# --- what is lost, and who is stranded ----------------------------------------------------------------------------------


def test_an_intent_that_is_no_longer_emitted_is_lost(place: Path, one_ride: Path) -> None:
    shutil.copy(one_ride, place)
    result = walked(changed(place, (', Farewell(text="thank you"))', ")")))
    assert told(result) == [("lost", "farewell", "stop")]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            (("    return Step(ride, look.at(action.issued_at + timedelta(hours=1)))\n\n\n@rides.on(charge.failed",
              "    raise ValueError(\"not in this version\")\n\n\n@rides.on(charge.failed"),),
            ("charge succeeded", "charge succeeded", "the new code refuses it: rides.charge.succeeded failed"),
        ),
        (
            (("def charge(", "def bill("), ("charge.", "bill.")),
            ("charge", "", "intent 'charge' is in the log but no longer in the contract"),
        ),
        (
            (("    cents: int = 0\n", "    cents: Literal[0, 1] = 0\n"),),
            ("charging", "", "its state cannot be read"),
        ),
        (
            (('"charging", "riding"', '"charging", "settling", "riding"'),
             ('charge.succeeded, "charging -> riding"', 'charge.succeeded, "charging -> settling"'),
             ("@rides.timer(", "@rides.timer(\"settling -> riding\")\n"
              "def settle(ride: Ride, action: Action[Nothing]) -> Step[Ride]:\n    return Step(ride)\n\n\n@rides.timer(")),
            ("settling", "charge succeeded", "in 'settling' only settle would move it, and nothing is under way"),
        ),
    ],
    ids=["an outcome on which it raises", "an intent that is gone", "a state that cannot be read", "a timer that nobody set"],
)  # fmt: skip
def test_who_waits_for_something_that_does_not_come_is_stranded(
    place: Path, changes: tuple[Change, ...], found: tuple[str, str, str]
) -> None:
    begin_while_the_bank_is_closed(place)
    result = walked(changed(place, *changes))
    name, after, why = found
    stranded = {(one.name, ", ".join(one.after)): one.why for one in result.found if one.what is STRANDED}
    assert stranded[name, after].startswith(why)


# --- what was not looked at, and what is alike --------------------------------------------------------------------------


def test_what_was_not_looked_at_is_counted_and_is_no_success(commands: Commands, place: Path) -> None:
    """Two classes and room for one: the larger one is continued, and the other is not called fine."""
    begin(3)
    fill(RIDES, [("rides:0", "remind", None)])
    said = commands("forward", RIDES, "--against", changed(place, *TRAP), "--instances", "1")
    assert said.code == 1
    assert "3 instances in flight" in said.out and "1 looked at, 1 alike" in said.out
    assert "emitted again          2" in said.out and "not looked at          1" in said.out
    assert "rides in riding" in said.out and "effects fired: 0" in said.out


@pytest.mark.long
def test_an_old_code_that_is_none_of_this_store_continues_nothing(commands: Commands, place: Path) -> None:
    begin(1)
    told = commands("forward", ORDERS, "--against", ORDERS, "--json")
    assert told.code == 1
    assert (told.row["unreadable"], told.row["looked_at"]) == (1, 0)
    assert told.row["reasons"] == ["there is no workflow 'rides' any more (1)"]
    assert told.row["other_code"] == 1


@pytest.mark.long
def test_without_time_nothing_is_looked_at_and_all_of_it_is_counted(place: Path) -> None:
    begin(3)
    result = check_forward(ForwardTask(STORE, str(RIDES), str(RIDES), budget_s=0.0))
    assert (result.instances, result.looked_at, result.not_looked_at, result.ok) == (3, 0, 3, False)


def test_a_shape_counts_what_a_decision_may_hang_on_and_no_values() -> None:
    def shape(state: JsonValue) -> object:
        return shape_of(state, frozenset({"status"}), frozenset({"by_sku"}))

    assert shape({"status": "new", "cents": 4, "name": "ada"}) == shape({"status": "new", "cents": 9, "name": "eve"})
    assert shape({"by_sku": {"tea": 1}}) == shape({"by_sku": {"milk": 3, "bread": 2}})
    unlike: list[tuple[JsonValue, JsonValue]] = [
        ({"status": "new"}, {"status": "ended"}),
        ({"paid": False}, {"paid": True}),
        ({"cents": 0}, {"cents": 5}),
        ({"note": None}, {"note": "x"}),
        ({"items": []}, {"items": [1]}),
        ({"by_sku": {}}, {"by_sku": {"tea": 1}}),
    ]
    for one, other in unlike:
        assert shape(one) != shape(other)


# --- on a server --------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_all_three_say_the_same_of_a_store_on_a_server(
    commands: Commands, place: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several shards; a shadow, the forward check, and which code holds the rides."""
    url = postgres.url("forward") + "&shards=4"
    monkeypatch.setenv("ONEX_STORE", url)
    new = changed(place, *TRAP)

    async def go() -> ShadowCounts:
        async with await onex.open(url, RIDES) as engine:
            for n in range(8):
                await engine.submit(f"rides:{n}", "begin", {"cents": 900})
                await engine.wait(f"rides:{n}", until="riding")
            shadow = ShadowProcess(ShadowTask(url, str(new)))
            while not await asyncio.to_thread(shadow.heard, 1.0):
                pass
            for n in range(8):
                await engine.submit(f"rides:{n}", "remind")
            return await asyncio.to_thread(shadow.stop)

    counts = asyncio.run(go())
    assert (counts.actions, counts.differs, counts.added, counts.fired) == (8, 8, 8, 0)
    said = commands("forward", RIDES, "--against", new, "--json").row
    assert (said["again"], said["instances"], said["fired"]) == (8, 8, 0)
    (only,) = commands("versions", "--json").rows
    assert (only["in_flight"], only["current"]) == (8, True)


def test_of_those_that_stand_alike_a_second_one_proves_it_and_tells_where_a_number_decides(place: Path) -> None:
    """Two rides of one class. The new code says no farewell to the dear one, which is the second."""
    fill(RIDES, [("rides:1", "begin", {"cents": 900}), ("rides:2", "begin", {"cents": 999})])
    new = changed(
        place,
        (
            'Step(ride, Farewell(text="thank you"))',
            'Step(ride, *([Farewell(text="thank you")] if ride.cents < 950 else []))',
        ),
    )
    result = check_forward(ForwardTask(STORE, str(RIDES), str(new)))
    assert (result.instances, result.looked_at, result.alike, result.uneven) == (2, 2, 0, 1)
    (one,) = result.findings
    assert (one.what, one.name, one.instances, one.examples) == (EnumForward.LOST, "farewell", 1, ("rides:2",))
    assert not result.ok
