"""What simulation.py may say, and what becomes of its mistakes: each is named, none is a traceback or an engine's fault."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from onex.kernel.errors import ContractError
from onex.kernel.finding import Finding
from onex.simulation.app_sim.app_under_test import AppUnderTest, load_app_under_test
from onex.simulation.app_sim.run import AppRun, Workspace, run_app
from onex.simulation.app_sim.runner import workspace
from onex.simulation.app_sim.schedule import Script
from tests.laws.tree import ROOT
from tests.simulation.app_sim.shops import CHARGES_TWICE, NEVER_TWICE, ORDERS, shop

HEAD = """
from __future__ import annotations

from onex import EffectFailed
from onex.simulation.app_sim import World, at_end

from .payloads import Charged, Item, Packed, Place
"""


@pytest.fixture
def where() -> Iterator[Workspace]:
    with workspace() as one:
        yield one


def runs(under_test: AppUnderTest, where: Workspace, count: int = 6) -> list[AppRun]:
    return [run_app(under_test, Script(seed, "memory"), where, drawn=True) for seed in range(count)]


def complaints(under_test: AppUnderTest, where: Workspace) -> set[str]:
    return {str(violation) for result in runs(under_test, where) for violation in result.violations}


def test_an_app_without_one_is_simulated_by_its_contracts() -> None:
    under_test = load_app_under_test(ORDERS)
    assert under_test.triggers == {"orders": ("place", "cancel")}, (
        "what outcomes and timers fire is not for clients to say"
    )
    assert under_test.invariants == {}


def test_effects_that_others_would_serve_need_nobody_here(tmp_path: Path, where: Workspace) -> None:
    app = shop(tmp_path, "")
    (app / "effects.py").unlink()
    found = runs(load_app_under_test(app), where)
    assert [result.violations for result in found if result.violations] == []
    assert sum(result.coverage.effects for result in found) > 10


def test_clients_do_what_it_says(tmp_path: Path, where: Workspace) -> None:
    says = """
def actions(rng, key, state):
    if state.status == "basket":
        return "place", Place(items=(Item(sku="tea", quantity=rng.randint(1, 2), cents=450),))
    return ("cancel", None) if rng.random() < 0.5 else None
"""
    under_test = load_app_under_test(shop(tmp_path, HEAD + says))
    placed = [act for result in runs(under_test, where) for act in result.script.acts if act.trigger == "place"]
    message = {str(act.payload) for act in placed}
    assert "{'items': [{'sku': 'tea', 'quantity': 1, 'cents': 450}]}" in message


def test_others_stand_in_as_it_says_and_may_refuse(tmp_path: Path, where: Workspace) -> None:
    says = """
def bank(intent, rng):
    if intent.payload.cents > 100:
        raise EffectFailed("too much", code="declined")
    return Charged(receipt=f"for {intent.payload.cents}")


effects = {"bank": bank}


def only_little_is_charged(world: World) -> str | None:
    for effect in world.effects:
        if effect.name == "charge" and effect.result != Charged(receipt=f"for {effect.payload.cents}"):
            return f"{effect}"
    return None if all(one.payload.cents <= 100 for one in world.effects if one.name == "charge") else "too much"
"""
    found = runs(load_app_under_test(shop(tmp_path, HEAD + says)), where)
    assert [result.violations for result in found if result.violations] == []
    assert sum(result.coverage.triggers["orders.declined"] for result in found) > 5
    assert sum(result.coverage.triggers["orders.charged"] for result in found) > 5


def test_a_stand_in_may_return_the_fields_of_what_it_answers(tmp_path: Path, where: Workspace) -> None:
    says = """
effects = {"bank": lambda intent, rng: {"receipt": f"for {intent.payload.cents}"}}


def each_has_its_receipt(world: World) -> bool:
    return all(one.result == Charged(receipt=f"for {one.payload.cents}") for one in world.effects if one.name == "charge")
"""
    found = runs(load_app_under_test(shop(tmp_path, HEAD + says)), where)
    assert [result.violations for result in found if result.violations] == []
    assert sum(result.coverage.triggers["orders.charged"] for result in found) > 5


def test_the_world_holds_states_actions_and_effects(tmp_path: Path, where: Workspace) -> None:
    says = """
def what_was_shipped_was_paid(world: World) -> None:
    for key, order in world.states.items():
        assert order.status == world.actions_of(key)[-1].status
        if order.status == "shipped":
            assert [one.version for one in world.actions_of(key, "packed")]
            (charge,) = world.effects_of(key, "charge")
            assert charge.times >= 1 and charge.key == key and charge.result.receipt == order.receipt
            assert world.actions_of(key, "place")[0].payload["items"]
            assert world.actions_of(key, "place")[0].intents == ("charge",)
            assert world.now.year >= 2026


@at_end
def in_the_end_nobody_is_charging(world: World) -> bool:
    return all(order.status not in ("charging", "paid") for order in world.states.values())
"""
    under_test = load_app_under_test(shop(tmp_path, HEAD + says))
    assert set(under_test.invariants) == {"what_was_shipped_was_paid", "in_the_end_nobody_is_charging"}
    assert complaints(under_test, where) == set()


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("def holds(world):\n    return world.nothing", "holds: it raised AttributeError: 'World' object has no"),
        ("def holds(world):\n    return not world.effects", "holds: it does not hold"),
        ("def holds(world):\n    assert not world.effects, 'one effect'", "holds: one effect"),
        ("def bank(intent, rng):\n    return Packed(parcel='')\n\n\neffects = {'bank': bank}", "returned Packed; its success"),
        ("effects = {'bank': lambda intent, rng: {'recipe': 'r'}}", "returned fields that do not fit; its success"),
        ("def bank(intent, rng):\n    return 1 // 0\n\n\neffects = {'bank': bank}", "bank for 'bank' raised ZeroDivisionError"),
        ("def actions(rng, key, state):\n    return state.nothing", "actions raised AttributeError"),
        ("def actions(rng, key, state):\n    return 'plaice', {}", "actions named the trigger 'plaice', which orders does not"),
        ("def actions(rng, key, state):\n    return 'place', 7", "actions raised TypeError: a payload is a model, a dict"),
    ],
)  # fmt: skip
def test_an_error_in_simulation_py_is_reported_as_its_own(
    says: str, message: str, tmp_path: Path, where: Workspace
) -> None:
    found = complaints(load_app_under_test(shop(tmp_path, f"{HEAD}\n\n{says}\n")), where)
    assert [one for one in found if message in one]


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("def broken(:", "SyntaxError"),
        ("effects = {'bnak': print}", "effects names 'bnak', which no intent has as its target"),
        ("effects = [print]", "effects is a list"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_place(says: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"simulation\.py") as refused:
        load_app_under_test(shop(tmp_path, f"{HEAD}\n{says}\n"))
    assert message in str(refused.value)
    assert refused.value.findings


def test_a_step_that_never_ends_is_ended_and_told(
    tmp_path: Path, where: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(where.watchdog, "budget_s", 0.05)
    endless = (
        "    items = action.payload.items\n",
        "    items = action.payload.items\n    while True:\n        pass\n",
    )
    under_test = load_app_under_test(shop(tmp_path, "", endless))
    result = next(
        result
        for seed in range(9)
        if (result := run_app(under_test, Script(seed, "memory"), where, drawn=True)).violations
    )
    assert [one.text for one in result.violations] == ["a step of the reducer did not end within 0.05 s of real time"]


def test_a_stand_in_must_be_written_where_none_can_be_drawn(tmp_path: Path) -> None:
    picky = (
        "    receipt: str\n\n\nclass Pack(",
        "    receipt: str\n\n"
        "    @field_validator('receipt')\n    @classmethod\n    def known(cls, receipt: str) -> str:\n"
        "        if not receipt.startswith('bank/'):\n            raise ValueError('not of our bank')\n"
        "        return receipt\n\n\nclass Pack(",
    )
    more = ("from pydantic import Field", "from pydantic import Field, field_validator")
    with pytest.raises(ContractError, match=r"no answer can be drawn for 'bank': .*not of our bank"):
        load_app_under_test(shop(tmp_path / "without", "", picky, more))
    says = "\n\neffects = {'bank': lambda intent, rng: Charged(receipt='bank/1')}\n"
    assert load_app_under_test(shop(tmp_path / "with", HEAD + says, picky, more)).stand_ins


def test_it_may_change_without_the_app(tmp_path: Path, where: Workspace) -> None:
    app = shop(tmp_path, "", CHARGES_TWICE)
    assert complaints(load_app_under_test(app), where) == set()
    (app / "simulation.py").write_text(NEVER_TWICE)
    assert complaints(load_app_under_test(app), where) != set()


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ("def never(w):\n    return 'it did'\n", "never is no invariant, and nothing calls it"),
        ("@at_end\ndef never(world, more):\n    return 'it did'\n", "never is no invariant, and nothing calls it"),
        ("async def never(world):\n    return 'it did'\n", "never is async or yields, so it returns no answer"),
        ("def never(world):\n    yield 'it did'\n", "never is async or yields, so it returns no answer"),
    ],
)
def test_an_invariant_that_nobody_could_ask_is_an_error_at_its_line(tmp_path: Path, says: str, message: str) -> None:
    """It would hold whatever happens."""
    with pytest.raises(ContractError) as caught:
        load_app_under_test(shop(tmp_path, f"{HEAD}\n\n{says}"))
    finding = caught.value.findings[0]
    assert isinstance(finding, Finding)
    assert message in finding.message
    assert finding.line == (HEAD + "\n\n").count("\n") + 1


def test_what_others_call_is_no_invariant(tmp_path: Path) -> None:
    says = """
def many(order):
    return len(order.items)


def _spare(order):
    return order


def bank(intent, rng):
    return Charged(receipt="r")


effects = {"bank": bank}


def few_items(world: World) -> bool:
    return all(many(order) < 1000 for order in world.states.values())
"""
    assert list(load_app_under_test(shop(tmp_path, HEAD + says)).invariants) == ["few_items"]


def test_an_invariant_says_text_or_a_truth_value(tmp_path: Path, where: Workspace) -> None:
    message = complaints(
        load_app_under_test(shop(tmp_path, "def counted(world):\n    return len(world.states)\n")), where
    )
    assert message == {"counted: it returned int; return text or False for a violation, None or True for none"}


def test_a_one_file_app_is_simulated_and_a_second_charge_is_found(tmp_path: Path, where: Workspace) -> None:
    """A key with the time in it is another key at the next try: after a lost answer the bank charges twice."""
    shutil.copytree(ROOT / "examples" / "billing", tmp_path / "billing")
    file = tmp_path / "billing" / "app.py"
    sound = load_app_under_test(tmp_path / "billing")
    assert not [one for one in runs(sound, where, 4) if one.violations]
    text = file.read_text()
    file.write_text(text.replace("{month}/{sub.refusals}", "{month}/{action.issued_us}"))
    assert file.read_text() != text
    changed = load_app_under_test(file)
    seeds = (run_app(changed, Script(seed, "memory"), where, drawn=True) for seed in range(60))
    broken = next(result for result in seeds if result.violations)
    assert "charged twice" in str(broken.violations[0])


def test_a_file_of_another_name_has_its_own_simulation_or_that_of_its_folder(tmp_path: Path) -> None:
    folder = shutil.copytree(ROOT / "examples" / "billing", tmp_path / "apps")
    (folder / "app.py").rename(folder / "money.py")
    text = (folder / "simulation.py").read_text().replace("from .app", "from .money")
    (folder / "simulation.py").write_text(text)
    both = {"a_month_is_charged_once", "what_is_paid_was_charged"}
    assert set(load_app_under_test(folder / "money.py").invariants) == both
    (folder / "money_simulation.py").write_text(text[: text.index("def what_is_paid")])
    assert set(load_app_under_test(folder / "money.py").invariants) == {"a_month_is_charged_once"}
