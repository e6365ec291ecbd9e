"""What the outside saw is counted from what was written down, in promise 26's words."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.cli.demo.ledger import EffectLedger, count_effects
from onex.cli.demo.wire import EffectReport
from onex.replay.audit import SeenEffect

A, B = "a" * 64, "b" * 64


def report(instance: str = "orders:1", key: str = "k", body: str = A, n: int = 0) -> EffectReport:
    return EffectReport(number=1, idempotency_key=key, instance=instance, version=1, name="charge", n=n, body=body)


def test_one_run_of_each_intent_is_neither_retried_nor_repeated() -> None:
    counted = count_effects([report(), report("orders:2", "l"), report(n=1, key="m")])
    assert (counted.reports, len(counted.seen), counted.retried, counted.repeated) == (3, 3, 0, ())


def test_the_same_key_again_is_a_retry() -> None:
    counted = count_effects([report(), report(), report(), report("orders:2", "l")])
    assert (len(counted.seen), counted.retried, counted.repeated) == (2, 2, ())


@pytest.mark.parametrize("second", [report(key="other"), report(body=B)])
def test_another_key_or_another_body_is_a_repetition(second: EffectReport) -> None:
    assert count_effects([report(), second]).repeated == (SeenEffect("orders:1", 1, "charge", 0),)


def test_the_count_is_read_back_from_the_file(tmp_path: Path) -> None:
    ledger = EffectLedger(tmp_path / "ledger.jsonl")
    ledger.write([report(), report("orders:2", "l")])
    ledger.write([report()])
    assert ledger.effects == 2
    assert ledger.read() == count_effects([report(), report("orders:2", "l"), report()])
    ledger.close()


def test_a_ledger_is_begun_once(tmp_path: Path) -> None:
    EffectLedger(tmp_path / "ledger.jsonl").close()
    with pytest.raises(FileExistsError):
        EffectLedger(tmp_path / "ledger.jsonl")
