"""``after: true`` on a condition, from the text of a contract to the check, the picture, the difference and the reducer."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.app import load_app
from onex.contracts.diff.contract_diff import file_difference
from onex.contracts.draw.machine_diagram import mermaid, state_graph
from onex.contracts.foreign.foreign_reader import read_contract
from onex.contracts.load import load_contract
from onex.contracts.model.contract import drawn
from onex.kernel.action import Action
from onex.kernel.errors import GuardFailed
from onex.kernel.machine import Handlers, reducer
from onex.kernel.step import Step
from tests.app.apps import edit, job
from tests.contracts.test_compile import CONTRACT, Cart, Place, act, build

PLAIN = "conditions: [{expression: amount > 0}]"
AFTER = "conditions: [{expression: amount > 0}, {expression: state.total == 5, after: true}]"
LATE = CONTRACT.replace(PLAIN, AFTER)


def totals() -> Handlers[Cart]:
    carts = reducer(Cart)

    @carts.on("place")
    def place(cart: Cart, action: Action[Place]) -> Step[Cart]:
        return Step(cart.evolve(total=action.payload.amount))

    return carts


def test_the_condition_is_judged_on_what_the_handler_returned() -> None:
    made = build(totals(), LATE).reducer
    assert made is not None
    assert made.delta(made.initial(), act("place", Place(amount=5))).state == Cart(status="paying", total=5)
    with pytest.raises(GuardFailed, match=r"'state.total == 5' is false after its handler"):
        made.delta(made.initial(), act("place", Place(amount=6)))
    with pytest.raises(GuardFailed, match=r"'amount > 0' is false$"):
        made.delta(made.initial(), act("place", Place(amount=0)))


def test_its_fields_are_judged_when_the_app_loads() -> None:
    compiled = build(totals(), CONTRACT.replace(PLAIN, "conditions: [{expression: state.totl == 5, after: true}]"))
    assert [(one.code, one.fix) for one in compiled.findings] == [("guard_field", "did you mean 'total'?")]


def test_a_condition_before_and_one_after_are_not_the_same_condition() -> None:
    """The second of two transitions is shadowed only by what is judged at the same moment."""
    line = (
        "    - {{from_state: open, to_state: {}, trigger: place, payload: Place,\n"
        "       conditions: [{{expression: state.total == 0{}}}]}}\n"
    )

    def codes(first: str, second: str) -> list[str]:
        twice = CONTRACT.replace(
            "  transitions:\n", "  transitions:\n" + line.format("sent", first) + line.format("cancelled", second)
        )
        return [one.code for one in load_contract(twice, "shop.yaml").findings]

    assert codes("", ", after: true") == []
    assert codes(", after: true", ", after: true") == ["shadowed_transition"]


def test_it_is_drawn_and_marked() -> None:
    loaded = load_contract(LATE, "shop.yaml").contract
    assert loaded is not None
    machine = drawn(loaded.state_machine)
    assert "    open --> paying : place [amount #gt; 0 and after#58; state.total == 5]" in mermaid(machine).splitlines()
    assert "place\n[amount > 0 and after: state.total == 5]" in [edge.label for edge in state_graph(machine).edges]


def test_to_judge_at_another_moment_breaks() -> None:
    before = LATE.replace(", after: true", "")
    made = file_difference(read_contract(before, "old.yaml"), read_contract(LATE, "new.yaml"))
    assert [(str(one.bump), one.path.rpartition(".")[2], one.reason) for one in made.changes] == [
        ("major", "after", "it judges the state on the other side of the handler")
    ]


@pytest.mark.parametrize("word", ["1", "null", "soon"])
def test_anything_but_true_and_false_is_refused(word: str) -> None:
    found = load_contract(LATE.replace("after: true", f"after: {word}"), "shop.yaml").findings
    assert [one.code for one in found] == ["wrong_type"]


def test_a_contract_that_says_false_has_the_digest_of_one_that_says_nothing(tmp_path: Path) -> None:
    def digest(name: str, condition: str) -> bytes:
        folder = job(tmp_path / name / "job")
        edit(folder / "contract.yaml", "payload: Begin}", f"payload: Begin, conditions: [{{{condition}}}]}}")
        return load_app(folder).workflows["job"].code.digest

    said = digest("said", "expression: payload.what min_length 1, after: false")
    assert said == digest("silent", "expression: payload.what min_length 1")
    assert said != digest("late", "expression: payload.what min_length 1, after: true")
