"""What is wrong with tasks is found when the contract is loaded, at its line, with a fix."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.kernel.errors import ContractError
from onex.kernel.finding import Finding
from tests.orchestration.orchestra import HEAD, TARGETS, loaded

PAY = "- {id: pay, effect: bank, payload: Cents, result: Made, with: {cents: input.cents}}\n"
WRONG = {
    "cycle": ("- {id: a, wait_ms: 1, depends_on: [b]}\n- {id: b, wait_ms: 1, depends_on: [a]}\n", "cycle", 1),
    "cycle by a path": (
        "- {id: a, effect: bank, payload: Made, result: Made, with: b}\n- {id: b, effect: bank, payload: Thing, result: Made}\n",
        "cycle", 1,
    ),
    "unknown task": ("- {id: a, wait_ms: 1, depends_on: [bb]}\n", "unknown_task", 1),
    "approval without a deadline": (PAY + "- {id: ask, approval: May we?}\n", "no_deadline", 2),
    "unbounded map": (
        "- {id: all, map: {count: input.cents}, effect: bank, payload: Cents, with: {cents: index}}\n", "unbounded", 1,
    ),
    "two things": ("- {id: a, wait_ms: 1, signal: go}\n", "task_kind", 1),
    "nothing": ("- {id: a}\n", "task_kind", 1),
    "key without effect": ("- {id: a, wait_ms: 1, retry: {max_attempts: 2}}\n", "unused_key", 1),
    "unknown key": ("- {id: a, efect: bank}\n", "unknown_key", 1),
    "twice": ("- {id: a, wait_ms: 1}\n- {id: a, wait_ms: 1}\n", "duplicate", 1),
    "a name of ours": ("- {id: plan, wait_ms: 1}\n", "reserved_name", 1),
    "a path that leads nowhere": (PAY.replace("input.cents", "input.cent"), "given", 1),
    "a path to no task": (PAY.replace("input.cents", "paid.cents"), "given", 1),
    "a path of another type": (PAY.replace("input.cents", "input.id"), "given", 1),
    "a field that is missing": (PAY.replace("{cents: input.cents}", "{}"), "given", 1),
    "a field too many": (PAY.replace("input.cents}", "input.cents, more: 1}"), "given", 1),
    "a condition over no field": (PAY.replace("result", "when: input.cent > 1, result"), "guard_field", 1),
    "unknown model": (PAY.replace("Made", "Maid"), "unknown_class", 1),
    "target that nobody serves": (PAY.replace("bank", "banc"), "no_executor", 1),
    "a wait for no time": ("- {id: a, wait_until: input.cents}\n", "given", 1),
}  # fmt: skip


def found(folder: Path, tasks: str, head: str = "") -> list[Finding]:
    with pytest.raises(ContractError) as refused:
        loaded(folder, tasks, head)
    return [one for one in refused.value.findings if isinstance(one, Finding)]


@pytest.mark.parametrize("case", WRONG)
def test_each_mistake_is_found_at_its_line(case: str, tmp_path: Path) -> None:
    tasks, code, line = WRONG[case]
    (first, *_) = findings = found(tmp_path, tasks)
    assert first.code == code, findings
    assert first.line == line + len(HEAD.splitlines()) + 1, findings
    assert first.fix


@pytest.mark.parametrize(
    ("models", "words"),
    [
        ("models: {A: {b: B}, B: {a: A}}", "without end"),
        ("models: {A: {b: strr}}", "no type"),
        ("models: {A: {model_x: str}, B: {json: str}}", "no field can be called"),
        ("models: {A: {b: list of C}}", "no type"),
    ],
)
def test_a_model_that_is_wrong_is_found(tmp_path: Path, models: str, words: str) -> None:
    text = "\n".join(
        line if not line.startswith("models") else models for line in HEAD.splitlines() if "input" not in line
    )
    (tmp_path / "contract.yaml").write_text(f"{text}\ntasks:\n  - {{id: a, wait_ms: 1}}\n")
    with pytest.raises(ContractError, match=words):
        from onex import load_app

        load_app(tmp_path, TARGETS)


def test_tasks_belong_to_an_orchestrator_and_an_orchestrator_has_tasks(tmp_path: Path) -> None:
    (one,) = found(tmp_path, PAY, "state_model: Thing\n")
    assert one.code == "unused_key"
    contract = (tmp_path / "contract.yaml").read_text()
    (tmp_path / "contract.yaml").write_text(
        contract.replace("state_model: Thing\n", "").replace("ORCHESTRATOR_GENERIC", "REDUCER_GENERIC")
    )
    with pytest.raises(ContractError, match="has no tasks"):
        from onex import load_app

        load_app(tmp_path, TARGETS)


def test_a_mistake_in_the_items_of_a_map_is_one_finding(tmp_path: Path) -> None:
    tasks = "- {id: all, effect: bank, payload: Sents, with: item, map: {over: input.notes}}\n"
    (only,) = found(tmp_path, tasks)
    assert (only.code, only.message) == ("unknown_class", "there is no model 'Sents'")
