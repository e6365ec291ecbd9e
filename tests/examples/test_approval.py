"""The approval: who is told when, what a yes and a no lead to, and that a kill in the middle loses and repeats nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from onex.kernel.errors import GuardFailed, InstanceFinished
from onex.testing.virtual_time import virtual
from tests.examples.killed import EXAMPLES, ActionToSend, over_kills

FOLDER = EXAMPLES / "approval"
ASKS: dict[str, Any] = {"who": "bo", "cents": 1900}
YES: dict[str, Any] = {"by": "ann", "cents": 1900}
DAYS_MS = {"172800000": "1", "86400000": "2", "259200000": "3"}
"""The spans of the contract, and what a test in real time waits instead."""


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ONEX_APPROVAL_DIR", str(tmp_path / "world"))
    return tmp_path / "world"


def kept(world: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(one.read_text()) for one in (world / kind).glob("*.json")]


def test_a_yes_within_two_days_is_paid_and_nobody_is_reminded(world: Path) -> None:
    with virtual(FOLDER) as run:
        run.submit("approval:1", "hand_in", ASKS)
        run.skip(days=1)
        with pytest.raises(GuardFailed):
            run.submit("approval:1", "approve", {"by": "ann", "cents": 1})
        run.submit("approval:1", "approve", YES)
        run.skip(days=9)
        assert run.state("approval:1").status == "paid"
    assert [one["to"] for one in kept(world, "letters")] == ["manager"]
    assert kept(world, "payments") == [{"to": "bo", "cents": 1900}]


def test_the_manager_is_reminded_the_boss_is_told_and_then_it_is_over(world: Path) -> None:
    with virtual(FOLDER) as run:
        run.submit("approval:1", "hand_in", ASKS)
        for days, status, letters in ((2, "reminded", 2), (1, "escalated", 3), (3, "expired", 3)):
            run.skip(days=days)
            assert (run.state("approval:1").status, len(kept(world, "letters"))) == (status, letters)
        with pytest.raises(InstanceFinished):
            run.submit("approval:1", "approve", YES)
    assert sorted(one["to"] for one in kept(world, "letters")) == ["boss", "manager", "manager"]
    assert kept(world, "payments") == []


def test_the_boss_may_still_refuse(world: Path) -> None:
    with virtual(FOLDER) as run:
        run.submit("approval:1", "hand_in", ASKS)
        run.skip(days=4)
        run.submit("approval:1", "refuse", {"by": "eve"})
        assert run.wait("approval:1").status == "refused"
    assert sorted(one["to"] for one in kept(world, "letters")) == ["bo", "boss", "manager", "manager"]
    assert kept(world, "payments") == []


def test_a_yes_is_paid_once_over_kills(world: Path, tmp_path: Path) -> None:
    actions = [ActionToSend("approval:1", "hand_in", ASKS), ActionToSend("approval:1", "approve", YES)]
    seen = over_kills(FOLDER, tmp_path, actions, {"approval:1": "paid"}, ["bank:1"])
    assert {target: len(keys) for target, keys in seen.keys.items()} == {"letters": 1, "bank": 1}
    assert seen.again == {"bank": 1}
    assert kept(world, "payments") == [{"to": "bo", "cents": 1900}]


def test_deadlines_pass_over_kills_and_each_letter_is_written_once(world: Path, tmp_path: Path) -> None:
    """The days of the contract are milliseconds here, and more of them pass while the process is dead."""
    app = shutil.copytree(FOLDER, tmp_path / "approval", ignore=shutil.ignore_patterns("__pycache__"))
    contract = (app / "contract.yaml").read_text()
    for days, milliseconds in DAYS_MS.items():
        assert f"timeout_ms: {days}," in contract
        contract = contract.replace(f"timeout_ms: {days},", f"timeout_ms: {milliseconds},")
    (app / "contract.yaml").write_text(contract)
    asked = ActionToSend("approval:1", "hand_in", ASKS)
    seen = over_kills(app, tmp_path, [asked], {asked.key: "expired"}, ["letters:1", "letters:2"])
    assert [seen.payloads[key]["to"] for key in seen.keys["letters"]] == ["manager", "manager", "boss"]
    assert list(seen.keys) == ["letters"]
    assert len(kept(world, "letters")) == 3
