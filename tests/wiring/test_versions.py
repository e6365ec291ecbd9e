"""Several versions of a workflow in one engine: which one an instance runs on, and what it finds there (promise 48)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import onex
from onex.app import load_app
from onex.engine.versions import SHARES, CodeNotAtHand, Rollout, Versions, bucket
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import InstanceHeld, InvalidPayload, ReducerFailed
from onex.ports import Code
from onex.wiring.engine import WiredEngine
from tests.app.apps import edit
from tests.wiring.version_apps import acts, parcel_app


def registry(*apps: Path) -> Versions:
    workflows = [load_app(one).workflows["parcel"].recorded for one in apps]
    made = Versions(workflows[:1], workflows[1:])
    for number, workflow in enumerate(made.every, 1):
        made.number(number, workflow)
    return made


def of(made: Versions, key: str, code_id: int) -> str:
    return made.chosen(WorkflowKey.parse(key), code_id).code.contract_version


def rollout(made: Versions, share: int, *, ended: bool = False) -> None:
    old, new = (one.code for one in made.every)
    made.roll({"parcel": Rollout(old.digest, new.digest, share, ended)})


# --- which version --------------------------------------------------------------------------------------------------------


def test_without_a_rollout_an_instance_follows_the_apps_own_code(tmp_path: Path) -> None:
    made = registry(parcel_app(tmp_path, "2.0.0"), parcel_app(tmp_path, "1.0.0"))
    assert [of(made, "parcel:1", stands) for stands in (0, 1, 2, 77)] == ["2.0.0"] * 4


def test_a_pinned_one_keeps_its_code_for_life_or_waits_for_it(tmp_path: Path) -> None:
    made = registry(parcel_app(tmp_path, "2.0.0", "pinned"), parcel_app(tmp_path, "1.0.0", "pinned"))
    assert [of(made, "parcel:1", stands) for stands in (0, 1, 2)] == ["2.0.0", "2.0.0", "1.0.0"]
    with pytest.raises(CodeNotAtHand, match="--also") as refused:
        of(made, "parcel:1", 77)
    assert refused.value.retryable


def test_a_share_of_those_that_begin_gets_the_new_version_and_keeps_it(tmp_path: Path) -> None:
    made = registry(parcel_app(tmp_path, "1.0.0"), parcel_app(tmp_path, "2.0.0"))
    rollout(made, 2_500)
    keys = [f"parcel:{n}" for n in range(4_000)]
    begun = {key: of(made, key, 0) for key in keys}
    assert 0.22 < Counter(begun.values())["2.0.0"] / len(keys) < 0.28
    # the version is recorded with it: what stands on one stays there, whatever its bucket says
    assert {of(made, key, 1) for key in keys} == {"1.0.0"}
    assert {of(made, key, 2) for key in keys} == {"2.0.0"}
    rollout(made, 5_000)
    assert all(of(made, key, 0) == "2.0.0" for key, version in begun.items() if version == "2.0.0")


def test_a_rollout_that_is_taken_back_takes_its_instances_back_where_the_old_code_reads_them(tmp_path: Path) -> None:
    same = registry(parcel_app(tmp_path, "1.0.0"), parcel_app(tmp_path, "2.0.0"))
    rollout(same, 2_500, ended=True)
    assert [of(same, "parcel:1", stands) for stands in (0, 1, 2)] == ["1.0.0"] * 3
    migrated = "from onex import migrate\n\n\n@migrate(1)\ndef up(state: dict) -> dict:\n    return state\n"
    higher = parcel_app(tmp_path, "3.0.0", schema=2, more=f"\n\n{migrated}")
    made = registry(parcel_app(tmp_path / "b", "1.0.0"), higher)
    rollout(made, 2_500, ended=True)
    assert [of(made, "parcel:1", stands) for stands in (0, 1, 2)] == ["1.0.0", "1.0.0", "3.0.0"]


def test_one_that_is_over_makes_its_version_the_base(tmp_path: Path) -> None:
    made = registry(parcel_app(tmp_path, "1.0.0"), parcel_app(tmp_path, "2.0.0"))
    new = made.every[1].code.digest
    made.roll({"parcel": Rollout(new, new, ended=True)})
    assert made["parcel"].code.digest == new
    assert [of(made, "parcel:1", stands) for stands in (0, 1, 2)] == ["2.0.0"] * 3
    made.roll({"parcel": Rollout(bytes(32), new)})  # code that is not here: nothing of its type changes
    assert made["parcel"].code.contract_version == "1.0.0"


def test_the_same_code_is_one_version_whichever_app_it_comes_with(tmp_path: Path) -> None:
    first = load_app(parcel_app(tmp_path, "1.0.0")).workflows["parcel"].recorded
    again = load_app(parcel_app(tmp_path / "again", "1.0.0")).workflows["parcel"].recorded
    made = Versions([first], [again])
    assert made.every == (first,) and not made.several
    strange = Versions([first])
    other = first.__class__(first.reducer, Code("letter", "1.0.0", bytes(32), 1))
    assert strange.bring(other) is None  # no workflow of this app


@given(st.text(min_size=1, max_size=40).filter(lambda text: "\0" not in text))
def test_a_bucket_is_the_same_in_every_process(instance: str) -> None:
    key = WorkflowKey("parcel", instance)
    assert 0 <= bucket(key) < SHARES and bucket(key) == bucket(WorkflowKey("parcel", instance))


def test_buckets_do_not_change_with_a_release() -> None:
    assert [bucket(WorkflowKey("parcel", str(n))) for n in range(4)] == BUCKETS


BUCKETS = [3259, 5270, 5012, 2302]


# --- in an engine ---------------------------------------------------------------------------------------------------------

Script = Callable[[WiredEngine], Coroutine[None, None, None]]


def play(
    url: str, app: Path, also: list[Path], script: Script, executors: dict[str, Callable[..., object]] | None = None
) -> None:
    async def go() -> None:
        opened = onex.open(url, app, also=also, check_all=True, executors=executors)
        async with asyncio.timeout(20), await opened as engine:
            await script(engine)

    asyncio.run(go())


async def by(engine: WiredEngine, key: str) -> str:
    return str(getattr(await engine.state(key), "by", ""))


def test_a_pinned_instance_goes_on_under_its_own_reducer_and_effects(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    old, new = (
        parcel_app(tmp_path, "1.0.0", "pinned"),
        parcel_app(tmp_path, "2.0.0", "pinned", send="fragile: bool = False"),
    )

    async def begin(engine: WiredEngine) -> None:
        await engine.submit("parcel:old", "sent", {"grams": 5})
        await engine.idle()

    async def go_on(engine: WiredEngine) -> None:
        await engine.submit("parcel:new", "sent", {"grams": 7, "fragile": True})
        await engine.wait("parcel:new", "weighed")
        await engine.submit_many(acts(("parcel:old", "parcel:new"), "pay"))
        assert await by(engine, "parcel:old") == "1.0.0, scale 1.0.0, paid 1.0.0"
        assert await by(engine, "parcel:new") == "2.0.0, scale 2.0.0, paid 2.0.0"

    play(url, old, [], begin)
    play(url, new, [old], go_on)


def test_without_its_code_it_waits_and_says_so_and_nothing_is_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    old, new = parcel_app(tmp_path, "1.0.0", "pinned"), parcel_app(tmp_path, "2.0.0", "pinned")

    async def begin(engine: WiredEngine) -> None:
        await engine.submit("parcel:1", "sent", {"grams": 5})
        await engine.submit("parcel:2", "sent", {"grams": 5})
        await engine.idle()
        await engine.submit("parcel:2", "pay")

    async def wait(engine: WiredEngine) -> None:
        with pytest.raises(CodeNotAtHand):
            await engine.submit("parcel:1", "pay")
        await engine.submit("parcel:3", "sent", {"grams": 1})  # its neighbours go on
        await engine.wait("parcel:3", "weighed")
        stored = await engine.stored("parcel:1")
        assert stored is not None and stored.status == "weighed"

    async def go_on(engine: WiredEngine) -> None:
        await engine.submit("parcel:1", "pay")
        assert await by(engine, "parcel:1") == "1.0.0, scale 1.0.0, paid 1.0.0"

    play(url, old, [], begin)
    play(url, new, [], wait)
    play(url, new, [old], go_on)


def test_an_effect_of_code_that_is_not_at_hand_does_not_run(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    old, new = parcel_app(tmp_path, "1.0.0", "pinned"), parcel_app(tmp_path, "2.0.0", "pinned")

    async def begin(engine: WiredEngine) -> None:
        await engine.submit("parcel:1", "sent", {"grams": 5})

    async def never(intent: object) -> None:
        await asyncio.Event().wait()

    async def wait(engine: WiredEngine) -> None:
        await engine.submit("parcel:2", "sent", {"grams": 1})
        await engine.wait("parcel:2", "weighed")
        await engine.idle()
        stored = await engine.stored("parcel:1")
        assert stored is not None and stored.status == "weighing"

    async def go_on(engine: WiredEngine) -> None:
        await engine.wait("parcel:1", "weighed")
        assert await by(engine, "parcel:1") == "1.0.0, scale 1.0.0"

    play(url, old, [], begin, {"weigh": never})
    play(url, new, [], wait)
    play(url, new, [old], go_on)


def test_new_code_ends_a_hold_also_where_the_old_code_is_at_hand(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    old, new = parcel_app(tmp_path, "1.0.0"), parcel_app(tmp_path, "2.0.0")
    head = "def note(parcel: Parcel, action: Action[Note]) -> Step[Parcel]:\n"
    edit(old / "app.py", head, f"{head}    raise KeyError('gone')\n")

    async def begin(engine: WiredEngine) -> None:
        await engine.submit("parcel:1", "sent", {"grams": 5})
        await engine.wait("parcel:1", "weighed")
        for _ in range(3):
            with pytest.raises(ReducerFailed):
                await engine.submit("parcel:1", "note")
        with pytest.raises(InstanceHeld):
            await engine.submit("parcel:1", "note")

    async def go_on(engine: WiredEngine) -> None:
        await engine.submit("parcel:1", "note")
        assert await by(engine, "parcel:1") == "1.0.0, scale 1.0.0, note 2.0.0"

    play(url, old, [], begin)
    play(url, new, [old], go_on)


def test_a_payload_of_the_class_of_another_version_is_not_lost(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    old, new = parcel_app(tmp_path, "1.0.0"), parcel_app(tmp_path, "2.0.0")
    one, two = (load_app(app).workflows["parcel"] for app in (old, new))

    async def script(engine: WiredEngine) -> None:
        registry = engine.registry
        assert isinstance(registry, Versions)
        registry.roll({"parcel": Rollout(one.code.digest, two.code.digest, 5_000)})
        sent = [
            model.model_validate({"grams": 5}) for model in (one.reducer.payloads["sent"], two.reducer.payloads["sent"])
        ]
        for n in range(40):
            await engine.submit(f"parcel:{n}", "sent", sent[n % 2])
            await engine.wait(f"parcel:{n}", "weighed")
            state = await engine.state(f"parcel:{n}")
            assert state is not None and state.model_dump()["grams"] == 5

    play(url, old, [new], script)


def test_a_client_of_either_version_is_understood(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    old = parcel_app(tmp_path, "1.0.0")
    new = parcel_app(tmp_path, "2.0.0", send="fragile: bool = False")

    async def script(engine: WiredEngine) -> None:
        registry = engine.registry
        assert isinstance(registry, Versions)
        one, two = (next(iter(found.workflows.values())).code.digest for found in map(load_app, (old, new)))
        registry.roll({"parcel": Rollout(one, two, 5_000)})
        keys = [f"parcel:{n}" for n in range(40)]
        chosen = {key: registry.chosen(WorkflowKey.parse(key), 0).code.contract_version for key in keys}
        assert set(chosen.values()) == {"1.0.0", "2.0.0"}
        for key in keys:  # the new field is sent to both: the old version does not know it, and says so
            if chosen[key] == "2.0.0":
                await engine.submit(key, "sent", {"grams": 3, "fragile": True})
            else:
                with pytest.raises(InvalidPayload, match="fragile"):
                    await engine.submit(key, "sent", {"grams": 3, "fragile": True})
                await engine.submit(key, "sent", {"grams": 3})
        await engine.idle()
        await engine.submit_many(acts(keys, "pay"))
        for key in keys:
            version = chosen[key]
            assert await by(engine, key) == f"{version}, scale {version}, paid {version}"

    play(url, old, [new], script)


def test_a_rollout_goes_on_and_back_while_instances_are_in_memory(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/store.db"
    old, new = parcel_app(tmp_path, "1.0.0"), parcel_app(tmp_path, "2.0.0")

    async def script(engine: WiredEngine) -> None:
        registry = engine.registry
        assert isinstance(registry, Versions)
        one, two = (next(iter(found.workflows.values())).code.digest for found in map(load_app, (old, new)))
        await engine.submit("parcel:1", "sent", {"grams": 3})
        await engine.idle()
        registry.roll({"parcel": Rollout(one, two, SHARES)})
        await engine.submit("parcel:2", "sent", {"grams": 3})
        await engine.idle()
        await engine.submit_many(acts(("parcel:1", "parcel:2"), "note"))
        registry.roll({"parcel": Rollout(two, two, 0, True)})  # all of it
        await engine.submit("parcel:1", "note")
        registry.roll({"parcel": Rollout(one, two, 0, True)})  # and back
        await engine.submit_many(acts(("parcel:1", "parcel:2"), "pay"))
        assert await by(engine, "parcel:1") == "1.0.0, scale 1.0.0, note 1.0.0, note 2.0.0, paid 1.0.0"
        assert await by(engine, "parcel:2") == "2.0.0, scale 2.0.0, note 2.0.0, paid 1.0.0"

    play(url, old, [new], script)
