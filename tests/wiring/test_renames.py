"""A release calls everything otherwise while timers wait, effects are under way and outcomes are held. All of it goes on."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from uuid import UUID, uuid4

import pytest

import onex
from onex.app import load_app
from onex.engine.refold import state_at
from onex.engine.registry import ReducerRegistry
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import ContractError, InvalidStateTransitionError
from onex.kernel.finding import Finding
from onex.kernel.intent import intent_id
from onex.ports import EnumOutboxState, OutboxRow
from onex.replay.replay import Replay
from onex.replay.verdict import EnumReplayVerdict
from onex.whatif.what_if import WhatIf
from tests.wiring.leaves import CONTRACT, REDUCER, RENAMED, changed, first, heard, history, second, slow

ANN = WorkflowKey("leave", "ann")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    made = f"sqlite:///{tmp_path / 'store.db'}"
    monkeypatch.setenv("ONEX_STORE", made)
    return made


async def asked(url: str, app: Path, days: int = 3) -> None:
    async with await onex.open(url, app, check_all=True) as engine:
        await engine.submit("leave:ann", "ask", {"days": days})


def the_office_opens(folder: Path) -> None:
    (folder / "office" / "open").touch()


async def lived(folder: Path, url: str) -> None:
    """Asked under the first code, told, reminded and forgotten under the second."""
    await asked(url, first(folder))
    the_office_opens(folder)
    async with await onex.open(url, second(folder), check_all=True) as engine:
        await engine.wait("leave:ann", timeout_s=20)
        await engine.idle()


def test_what_is_in_flight_goes_on_under_its_new_names(tmp_path: Path, url: str) -> None:
    async def life() -> None:
        await lived(tmp_path, url)
        async with await onex.open(url, tmp_path / "two" / "leave") as engine:
            stored = await engine.stored(ANN)
            assert stored is not None
            assert json.loads(stored.state) == {"status": "forgotten", "days": 3, "reminded": 1, "notified": 2}
            kinds = [entry.row.kind for entry in await history(engine.reader)]
            assert kinds[0] == "ask"
            assert sorted(kinds[1:]) == ["heard", "heard", "nobody_answered", "prod"]
            assert await engine.reader.outbox(tuple(EnumOutboxState), None, None, 10) == []

    asyncio.run(life())


def test_a_renamed_intent_keeps_its_id_its_key_and_its_number(tmp_path: Path, url: str) -> None:
    async def life() -> UUID:
        await lived(tmp_path, url)
        async with await onex.open(url, tmp_path / "two" / "leave") as engine:
            return UUID(bytes=(await history(engine.reader))[0].row.action_id)

    action = asyncio.run(life())
    ids = [str(intent_id(action, ANN, "tell", n)) for n in (0, 1)]
    assert sorted(heard(tmp_path)) == sorted([ids[n], ids[n], "notify", n, days] for n, days in ((0, 3), (1, 6)))


def test_history_folds_equal_under_both_codes_and_what_if_finds_no_difference(tmp_path: Path, url: str) -> None:
    async def life() -> None:
        await lived(tmp_path, url)
        old, new = (load_app(tmp_path / name / "leave").workflows["leave"].recorded for name in ("one", "two"))
        async with await onex.open(url, tmp_path / "two" / "leave") as engine:
            verdicts: list[EnumReplayVerdict] = []
            for older in ((), (old,)):
                proof = Replay(engine.reader, ReducerRegistry((new,)), older)
                verdicts += [segment.verdict async for segment in proof.all()]
            assert verdicts == [EnumReplayVerdict.OTHER_CODE_EQUAL, *[EnumReplayVerdict.EQUAL] * 3]
            early = await state_at(engine.reader, new, ANN, 1)
            assert json.loads(early.model_dump_json()) == {"status": "waiting", "days": 3, "reminded": 0, "notified": 0}
            stored = await engine.stored(ANN)
            assert stored is not None
            told = await WhatIf(engine.reader, ReducerRegistry((new,))).instance(stored)
            assert (told.opened, told.first, told.counts, told.folded) == (None, None, {}, stored.version)
            assert told.state is not None
            assert told.state.total == 0

    asyncio.run(life())


def test_what_if_tells_a_change_behind_a_rename_and_nothing_of_the_rename(tmp_path: Path, url: str) -> None:
    async def life() -> None:
        await lived(tmp_path, url)
        other = second(tmp_path, name="three", reducer=changed(REDUCER, ("reminded + 1", "reminded + 2")))
        async with await onex.open(url, tmp_path / "two" / "leave") as engine:
            stored = await engine.stored(ANN)
            assert stored is not None
            registry = ReducerRegistry((load_app(other).workflows["leave"].recorded,))
            told = await WhatIf(engine.reader, registry).instance(stored)
            assert (told.opened, told.counts) == (None, {})
            assert told.state is not None
            assert [change.path for change in told.state.first] == ["reminded"]

    asyncio.run(life())


def test_going_back_to_a_version_before_the_rename_brings_its_state_under_the_new_names(
    tmp_path: Path, url: str
) -> None:
    async def life() -> None:
        await asked(url, first(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER)))
        two = second(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER))
        async with await onex.open(url, two, check_all=True) as engine:
            await engine.submit("leave:ann", "prod")
            assert (await engine.rollback("leave:ann", 1)).status == "waiting"
            state = await engine.state("leave:ann")
            assert state is not None
            assert json.loads(state.model_dump_json())["reminded"] == 0

    asyncio.run(life())


# --- timers ---------------------------------------------------------------------------------------------------------------


def test_a_later_step_replaces_and_cancels_timers_that_wait_under_their_old_names(tmp_path: Path, url: str) -> None:
    away = (
        "    - {from_state: asked, to_state: draft, trigger: withdraw}\n"
        "    - {from_state: draft, to_state: draft, trigger: remind}\n"
    )
    contract = changed(slow(CONTRACT), ("intents:\n", away + "intents:\n"))

    async def life() -> None:
        await asked(url, first(tmp_path, contract=contract, reducer=slow(REDUCER)))
        two = second(tmp_path, contract=contract, reducer=slow(REDUCER))
        async with await onex.open(url, two, check_all=True) as engine:
            before = await engine.stored(ANN)
            assert before is not None
            assert set(before.timers) == {"reminder", "@asked"}
            await engine.submit("leave:ann", "later")
            replaced = await engine.stored(ANN)
            assert replaced is not None
            assert set(replaced.timers) == {"nudge", "@asked"}
            await engine.submit("leave:ann", "withdraw")
            left = await engine.stored(ANN)
            assert left is not None
            assert set(left.timers) == {"nudge"}

    asyncio.run(life())


def test_a_timeout_that_was_stranded_rings_for_no_status_its_instance_has_left(tmp_path: Path, url: str) -> None:
    """The rename is told a release too late. ``expired`` is accepted where the instance is by then, and was never due there."""
    away = (
        "    - {from_state: asked, to_state: draft, trigger: withdraw}\n"
        "    - {from_state: draft, to_state: forgotten, trigger: expired}\n"
    )
    contract = changed(CONTRACT, ("intents:\n", away + "intents:\n"))
    untold = RENAMED.replace('    statuses={"asked": "waiting"},\n', "").replace(
        "import renames", "import migrate, renames"
    ) + ('\n\n@migrate(1)\ndef moved(leave: dict) -> dict:\n    return {**leave, "status": "waiting"}\n')

    async def life() -> None:
        await asked(url, first(tmp_path, contract=contract))
        the_office_opens(tmp_path)
        async with await onex.open(url, second(tmp_path, untold, contract=contract), check_all=True) as engine:
            assert [one.name for one in engine.stranded] == ["@asked"]
            await engine.submit("leave:ann", "withdraw")
        async with await onex.open(url, second(tmp_path, name="three", contract=contract), check_all=True) as engine:
            async with asyncio.timeout(20):
                while [row for row in await opened(engine) if row.timer == "@asked"]:
                    await asyncio.sleep(0.02)
            stored = await engine.stored("leave:ann")
            assert stored is not None
            assert stored.status == "draft"
            assert "nobody_answered" not in [entry.row.kind for entry in await history(engine.reader)]

    asyncio.run(life())


def test_a_name_may_change_again_before_the_first_change_was_ever_read(tmp_path: Path, url: str) -> None:
    """Over three schemas, one of which no engine of this store ever ran."""
    again = RENAMED + 'renames(2, statuses={"waiting": "open"}, intents={"nudge": "poke"}, triggers={"prod": "ping"})\n'

    async def life() -> None:
        await asked(url, first(tmp_path))
        three = second(tmp_path, again, "three")
        contract = three / "contract.yaml"
        contract.write_text(
            changed(
                contract.read_text(),
                ("waiting", "open"),
                ("nudge", "poke"),
                ("prod", "ping"),
                ("schema: 2", "schema: 3"),
            )
        )
        reducer = three / "reducer.py"
        reducer.write_text(changed(reducer.read_text(), ('"nudge"', '"poke"'), ('"prod"', '"ping"')))
        async with await onex.open(url, three, check_all=True) as engine:
            stored = await engine.wait("leave:ann", timeout_s=20)
            assert stored.status == "forgotten"
            assert "ping" in [entry.row.kind for entry in await history(engine.reader)]

    asyncio.run(life())


# --- siblings -------------------------------------------------------------------------------------------------------------


def test_an_intent_that_is_gone_strands_itself_and_none_of_its_step(tmp_path: Path, url: str) -> None:
    contract = changed(
        CONTRACT, ("  - {name: reminder, type: timer, trigger: remind}\n", ""), ("public: [remind]\n", ""),
        ("    - {from_state: asked, to_state: asked, trigger: remind}\n", ""),
    )  # fmt: skip
    start, end = REDUCER.index('@leave.on("remind")'), REDUCER.index('@leave.on("told")')
    reducer = (REDUCER[:start] + REDUCER[end:]).replace(
        'timer("reminder", action.issued_at + timedelta(seconds=1)), ', ""
    )

    async def life() -> None:
        await asked(url, first(tmp_path))
        the_office_opens(tmp_path)
        async with await onex.open(url, first(tmp_path, "two", contract=contract, reducer=reducer)) as engine:
            async with asyncio.timeout(20):
                while (
                    not (rows := [row for row in await opened(engine) if row.timer == "reminder"]) or not rows[0].error
                ):
                    await asyncio.sleep(0.02)
            assert "intent 'reminder' is in the log but no longer in the contract" in rows[0].error
            assert 'renames(1, intents={"reminder": "NEW"})' in rows[0].error
            stored = await engine.wait("leave:ann", timeout_s=20)
            assert stored.status == "forgotten"

    asyncio.run(life())
    assert [(name, n, days) for _, _, name, n, days in sorted(heard(tmp_path), key=lambda one: one[3])] == [
        ("tell", 0, 3),
        ("tell", 1, 6),
    ]


async def opened(engine: onex.ReducerPatternEngine) -> list[OutboxRow]:
    return list(await engine.reader.outbox(tuple(EnumOutboxState), None, None, 100))


def test_an_outcome_held_under_its_old_trigger_arrives_under_the_new_one(tmp_path: Path, url: str) -> None:
    broken = changed(slow(REDUCER), ("one.evolve(told=one.told + 1)", "one.evolve(told=1 // 0)"))

    async def life() -> None:
        one = first(tmp_path, contract=slow(CONTRACT), reducer=broken)
        the_office_opens(tmp_path)
        async with await onex.open(url, one, check_all=True) as engine:
            await engine.submit("leave:ann", "ask", {"days": 3})
            await engine.idle()
            assert [row.state for row in await opened(engine) if not row.timer] == [EnumOutboxState.HELD] * 2
        two = second(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER))
        async with await onex.open(url, two, check_all=True) as engine:
            async with asyncio.timeout(20):
                while [row for row in await opened(engine) if not row.timer]:
                    await asyncio.sleep(0.02)
            state = await engine.state("leave:ann")
            assert state is not None
            assert json.loads(state.model_dump_json())["notified"] == 2

    asyncio.run(life())
    assert len(heard(tmp_path)) == 2


def test_a_timer_held_under_its_old_name_rings_under_the_new_one(tmp_path: Path, url: str) -> None:
    broken = changed(REDUCER, ("reminded=one.reminded + 1", "reminded=1 // 0"))
    contract = CONTRACT.replace("timeout_ms: 1500", "timeout_ms: 86400000")

    async def life() -> None:
        one = first(tmp_path, contract=contract, reducer=broken)
        the_office_opens(tmp_path)
        async with await onex.open(url, one, check_all=True) as engine:
            await engine.submit("leave:ann", "ask", {"days": 3})
            async with asyncio.timeout(20):
                while not [row for row in await opened(engine) if row.state == EnumOutboxState.HELD]:
                    await asyncio.sleep(0.02)
        async with await onex.open(url, second(tmp_path, contract=contract), check_all=True) as engine:
            async with asyncio.timeout(20):
                while [row for row in await opened(engine) if row.timer != "@asked"]:
                    await asyncio.sleep(0.02)
            state = await engine.state("leave:ann")
            assert state is not None
            assert json.loads(state.model_dump_json())["reminded"] == 1

    asyncio.run(life())


def test_who_waits_for_a_status_by_its_new_name_finds_it_under_the_old_one(tmp_path: Path, url: str) -> None:
    async def life() -> None:
        await asked(url, first(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER)))
        two = second(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER))
        async with await onex.open(url, two) as engine:
            assert (await engine.wait("leave:ann", until="waiting", timeout_s=5)).version >= 1

    asyncio.run(life())


# --- clients of before ------------------------------------------------------------------------------------------------------


def test_what_a_client_of_before_left_in_the_inbox_is_taken_under_the_new_name(tmp_path: Path, url: str) -> None:
    async def life() -> None:
        await asked(url, first(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER)))
        sender = await onex.open_sender(url)
        body = {"workflow_key": ["leave", "ann"], "kind": "remind", "command_payload": {}}
        ticket = await sender.send(json.dumps(body).encode(), 1)
        two = second(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER))
        async with await onex.open(url, two, check_all=True) as engine:
            await engine.idle()
            assert json.loads(await sender.answer(ticket) or b"{}")["version"] == 2
            assert (await history(engine.reader))[1].row.kind == "prod"
        await sender.close()

    asyncio.run(life())


def test_the_same_action_sent_again_under_its_old_name_is_applied_once(tmp_path: Path, url: str) -> None:
    async def life() -> None:
        begun, later = uuid4(), uuid4()
        async with await onex.open(url, first(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER))) as engine:
            await engine.submit("leave:ann", "ask", {"days": 3}, action_id=begun)
        two = second(tmp_path, contract=slow(CONTRACT), reducer=slow(REDUCER))
        async with await onex.open(url, two, check_all=True) as engine:
            again = await engine.submit("leave:ann", "ask", {"days": 3}, action_id=begun)
            assert (again.duplicate, again.version) == (True, 1)
            assert not (await engine.submit("leave:ann", "remind", action_id=later)).duplicate
            assert (await engine.submit("leave:ann", "remind", action_id=later)).duplicate
            with pytest.raises(InvalidStateTransitionError):
                await engine.submit("leave:ann", "never_heard_of")

    asyncio.run(life())


def test_what_a_client_of_before_sends_is_migrated_from_the_last_schema_that_called_it_so(
    tmp_path: Path, url: str
) -> None:
    migrations = (
        RENAMED
        + '\n\n@migrate(1, payload="ask")\ndef in_days(ask: dict) -> dict:\n    return {"days": 7 * ask["weeks"]}\n'
    )

    async def life() -> None:
        two = second(tmp_path, migrations.replace("import renames", "import migrate, renames"))
        async with await onex.open(url, two, check_all=True) as engine:
            await engine.submit("leave:ann", "ask", {"weeks": 2})
            state = await engine.state("leave:ann")
            assert state is not None
            assert json.loads(state.model_dump_json())["days"] == 14

    asyncio.run(life())


# --- loading ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "codes", "told"),
    [
        ('renames(1, statuses={"asked": "wating"})', ["unknown_status"], "'wating', which the contract does not have"),
        ('renames(1, triggers={"ask": "reqest"})', ["unknown_trigger"], "'reqest', which the contract does not have"),
        ('renames(1, intents={"reminder": "nuge"})', ["unknown_intent"], "'nuge', which the contract does not have"),
        ('renames(1, fields={"told": "notifed"})', ["unknown_field"], "'notifed', which the state does not have"),
        ('renames(1, intents={"a": "nudge", "b": "nudge"})', ["two_to_one"], "two names become the intent 'nudge'"),
        ('renames(1, fields={"a": "days", "b": "days"})', ["two_to_one"], "two names become the field"),
        ('renames(2, statuses={"asked": "waiting"})', ["migration_schema"], "state_schema: 2"),
        ('renames(1, intent="tel", fields={"a": "days"})', ["unknown_intent"], "'tel', which is gone"),
        ('renames(1, payload="request", fields={"a": "days"})\nrenames(1, triggers={"ask": "request"})',
         ["unknown_trigger"], "schema 1 does not call the trigger 'request' yet"),
        ('renames(1, statuses={"asked": "waiting"})\nrenames(1, statuses={"asked": "draft"})',
         ["duplicate"], "is renamed on line 3 already"),
        ("renames(1)", ["import_failed"], "names nothing"),
        ('renames(0, statuses={"asked": "waiting"})', ["import_failed"], "a step from schema n, 1 or more"),
        ('renames(1, intents={"@asked": "@waiting"})', ["import_failed"], "the timer of a status goes with its status"),
        ('renames(1, fields={"status": "where"})', ["import_failed"], "is the engine's and keeps its name"),
        ('renames(1, statuses={"asked": "asked"})', ["import_failed"], "the same name"),
        ('renames(1, statuses={"asked": 3})', ["import_failed"], "names are text"),
        ('renames(1, payload="ask", statuses={"asked": "waiting"})', ["import_failed"], "in a call of its own"),
    ],
)  # fmt: skip
def test_a_rename_that_does_not_fit_the_contract_is_told_at_its_line(
    tmp_path: Path, line: str, codes: list[str], told: str
) -> None:
    with pytest.raises(ContractError) as caught:
        load_app(second(tmp_path, f"from onex import renames\n\n{line}\n"))
    found = [one for one in caught.value.findings if isinstance(one, Finding)]
    assert [one.code for one in found] == codes, found
    assert told in found[0].message, found
    assert all(one.path.endswith("migrations.py") and one.line >= 3 and one.fix for one in found)


def test_a_stored_timer_that_could_be_two_of_today_is_refused_when_the_app_loads(tmp_path: Path) -> None:
    swapped = 'from onex import renames\n\nrenames(1, statuses={"asked": "waiting", "waiting": "asked"})\n'
    contract = changed(
        CONTRACT, ("    - {name: booked}", "    - {name: waiting, timeout_ms: 9, on_timeout: expired}\n    - {name: booked}"),
        ("intents:\n", "    - {from_state: asked, to_state: waiting, trigger: more}\n"
         "    - {from_state: waiting, to_state: forgotten, trigger: expired}\nintents:\n"),
        ("state_schema: 1", "state_schema: 2"),
    )  # fmt: skip
    with pytest.raises(ContractError) as caught:
        load_app(first(tmp_path, contract=contract, migrations=swapped))
    assert {one.code for one in caught.value.findings if isinstance(one, Finding)} == {"ambiguous_timer"}


def test_several_statuses_and_triggers_may_become_one(tmp_path: Path, url: str) -> None:
    merged = RENAMED.replace('"asked": "waiting"', '"asked": "waiting", "pending": "waiting"').replace(
        '"remind": "prod"', '"remind": "prod", "press": "prod"'
    )
    workflow = load_app(second(tmp_path, merged)).workflows["leave"].recorded
    assert {workflow.migrations.status(name, 1, 2) for name in ("asked", "pending", "waiting")} == {"waiting"}
    assert workflow.migrations.names.timers == {
        "reminder": "nudge", "tell": "notify", "@asked": "@waiting", "@pending": "@waiting",
    }  # fmt: skip


def test_a_rename_counts_as_code(tmp_path: Path) -> None:
    one, two = second(tmp_path, name="one"), second(tmp_path, RENAMED.replace('"expired": "nobody_answered"', ""))
    assert load_app(one).workflows["leave"].code.digest != load_app(two).workflows["leave"].code.digest
