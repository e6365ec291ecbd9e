"""`onex shadow`: other code beside an engine that writes, on one store (promise 46)."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import onex
from onex.engine.pattern_engine import ReducerPatternEngine
from onex.whatif.forward_result import ForwardResult
from onex.whatif.shadow import Shadow
from onex.whatif.shadow_counts import ShadowCounts
from onex.wiring import open_reader
from onex.wiring.folding import InertApp
from tests.cli.conftest import STORE, Commands, Process
from tests.cli.test_forward import RIDES, TRAP, Change, changed

Story = Callable[[ReducerPatternEngine], Awaitable[None]]


async def before(engine: ReducerPatternEngine) -> None:
    """Two rides under way, one of them at its end."""
    for n in (1, 2):
        await engine.submit(f"rides:{n}", "begin", {"cents": 900})
        await engine.wait(f"rides:{n}", until="riding")


async def after(engine: ReducerPatternEngine) -> None:
    await engine.submit("rides:1", "remind")
    await engine.submit("rides:3", "begin", {"cents": 500})
    await engine.wait("rides:3", until="riding")
    await engine.submit("rides:3", "remind")
    await engine.submit("rides:2", "stop")
    await engine.idle()


def shadowed(new: Path, story: Story = after, *, instances: int = 100) -> ShadowCounts:
    """What a shadow with other code says of ``story``, beside the engine that runs it."""

    async def go() -> ShadowCounts:
        app = InertApp(new)
        async with await onex.open(STORE, RIDES) as engine:
            await before(engine)
            reader = await open_reader(STORE)
            shadow = Shadow(reader, app.registry, instances=instances)
            await shadow.begin()
            await story(engine)
            while await shadow.read():
                pass
            counts = await shadow.end()
            await reader.close()
        app.close()
        return counts.model_copy(update={"fired": app.boundary.fired})

    return asyncio.run(go())


def test_the_same_code_decides_the_same(place: Path) -> None:
    counts = shadowed(RIDES)
    assert (counts.actions, counts.compared, counts.passed_over, counts.unknown) == (5, 5, 0, 0)
    assert (counts.instances, counts.same, counts.differs, counts.open, counts.unseen) == (3, 3, 0, 0, 0)
    assert counts.ok and not counts.fired and not counts.findings


def test_a_field_with_a_default_is_no_difference_although_every_byte_is_another(place: Path) -> None:
    counts = shadowed(changed(place, ("    cents: int = 0\n", "    cents: int = 0\n    note: str = \"\"\n")))  # fmt: skip
    assert (counts.compared, counts.same, counts.differs, counts.unseen) == (5, 3, 0, 0)


def test_what_would_be_called_twice_is_seen_at_the_first_reminder(place: Path) -> None:
    """The one ride that was under way at the start, and the ride that begins under both, whose field differs."""
    counts = shadowed(changed(place, *TRAP))
    assert (counts.differs, counts.added, counts.fired) == (2, 1, 0)
    assert {(one.status, one.trigger, one.what) for one in counts.findings} == {
        ("riding", "remind", "added charge"), ("new", "begin", "state: charged"),
    }  # fmt: skip
    assert not counts.ok


def test_where_the_other_code_asks_otherwise_the_answer_is_not_used_and_the_rest_is_only_counted(place: Path) -> None:
    counts = shadowed(changed(place, ("Charge(cents=action.payload.cents)", "Charge(cents=action.payload.cents + 1)")))
    assert (counts.differs, counts.changed, counts.behind_open) == (1, 1, 2)
    assert (counts.actions, counts.compared) == (5, 3)
    (one,) = counts.findings
    assert one.what == "changed charge (cents)" and one.examples == ("rides:3",)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (('"thank you"', '"goodbye"'), "changed farewell (text)"),
        ((', Farewell(text="thank you"))', ")"), "lost farewell"),
        (('@rides.on("riding -> riding")', '@rides.on("charging -> riding")'), "refused (illegal_transition)"),
        (("return Step(ride, look.at(action.issued_at + timedelta(hours=1)))\n\n\n@rides.on(charge.failed",
          "return Step(ride.evolve(cents=1), look.at(action.issued_at + timedelta(hours=1)))\n\n\n@rides.on(charge.failed"),
         "state: cents"),
    ],
    ids=["payload", "lost", "refused", "state"],
)  # fmt: skip
def test_each_kind_of_difference_is_named(place: Path, change: Change, what: str) -> None:
    counts = shadowed(changed(place, change))
    assert what in {one.what for one in counts.findings}
    assert counts.differs and counts.fired == 0


def test_an_instance_whose_state_the_other_code_cannot_read_is_open_and_not_the_same(place: Path) -> None:
    """Two rides from before the shadow are of a class that the other code does not accept; the third begins under both."""
    counts = shadowed(changed(place, ("    cents: int = 0\n", "    cents: Literal[0, 500] = 0\n")))
    assert (counts.instances, counts.same, counts.open, counts.differs) == (3, 1, 2, 0)
    assert (counts.behind_open, counts.compared, counts.actions) == (2, 3, 5)
    assert {one.what for one in counts.findings} == {"open: what came in is not known"}
    assert all("its state cannot be read" in one.why for one in counts.findings)


def test_memory_is_bounded_and_an_instance_that_was_let_go_is_taken_up_again(place: Path) -> None:
    async def many(engine: ReducerPatternEngine) -> None:
        for _ in range(2):
            for n in range(10, 20):
                key, trigger = f"rides:{n}", "remind"
                if not await engine.stored(key):
                    await engine.submit(key, "begin", {"cents": n})
                    await engine.wait(key, until="riding")
                else:
                    await engine.submit(key, trigger)

    counts = shadowed(RIDES, many, instances=3)
    assert counts.let_go >= 7 and counts.differs == 0
    assert counts.compared + counts.passed_over == counts.actions == 30


def test_the_command_follows_an_engine_until_it_has_seen_enough(commands: Commands, place: Path) -> None:
    """A process of its own; its judge is given what it prints."""

    async def go() -> int:
        async with await onex.open(STORE, RIDES) as engine:
            await before(engine)
            running = asyncio.create_task(
                asyncio.to_thread(commands, "shadow", changed(place, *TRAP), "--actions", "5", "--json")
            )
            while not running.done():
                await after_again(engine)
            told = await running
            *_, last = told.rows
            assert told.code == 1 and last["ok"] is False
            assert isinstance(last["differs"], int) and last["differs"] > 0 and last["fired"] == 0
            assert ShadowCounts.model_validate({name: last[name] for name in ShadowCounts.model_fields}).differs > 0
            return told.code

    async def after_again(engine: ReducerPatternEngine) -> None:
        await engine.submit("rides:1", "remind")
        await engine.submit("rides:2", "remind")

    assert asyncio.run(go()) == 1


@pytest.mark.long
def test_ctrl_c_ends_it_with_the_result(place: Path, processes: type[Process]) -> None:
    async def go() -> None:
        async with await onex.open(STORE, RIDES) as engine:
            await before(engine)
            running = processes("shadow", RIDES)
            await asyncio.to_thread(running.until, "shadowing with")
            await after(engine)
            told = await asyncio.to_thread(running.end, signal.SIGINT)
        assert told.code == 0
        assert "5 actions, 3 instances: 3 same, 0 differ, 0 open" in told.out
        assert told.out.endswith("effects fired: 0\n")

    asyncio.run(go())


JUDGE = """
from __future__ import annotations

from typing import Literal

from onex import Action, State, Step, workflow
from onex.whatif.forward_result import ForwardResult
from onex.whatif.shadow_counts import ShadowCounts


class Verdict(State):
    status: Literal["new", "watching", "stopped"] = "new"
    why: str = ""


judges = workflow("judges", Verdict)


@judges.on("new -> watching")
def checked(verdict: Verdict, action: Action[ForwardResult]) -> Step[Verdict]:
    return Step(verdict.evolve(why=f"{action.payload.again} would be emitted again"))


@judges.on("watching -> stopped", when_after="state.why == 'differs'")
@judges.on("watching -> watching")
def seen(verdict: Verdict, action: Action[ShadowCounts]) -> Step[Verdict]:
    return Step(verdict if action.payload.ok else verdict.evolve(why="differs"))
"""


def test_a_workflow_judges_by_the_counts_as_they_are_printed(place: Path) -> None:
    """Both results are payloads: an action carries them, the log keeps them, and a replay reads them again."""
    app = place / "judge" / "judges.py"
    app.parent.mkdir()
    app.write_text(JUDGE)
    same, other = shadowed(RIDES), ShadowCounts(actions=3, compared=3, instances=1, differs=1)

    async def go() -> list[str]:
        async with await onex.open("sqlite:///judges.db", app) as engine:
            found = [(await engine.submit("judges:1", "checked", ForwardResult(instances=4, again=4))).status]
            for counts in (same, other):
                told = json.loads(counts.model_dump_json())
                found.append((await engine.submit("judges:1", "seen", told)).status)
            return found

    assert asyncio.run(go()) == ["watching", "watching", "stopped"]
