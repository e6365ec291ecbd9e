"""A verdict is sound only when every number says what it must; each fault is a sentence that names what it found."""

from __future__ import annotations

import io
from uuid import UUID

import pytest

from onex.cli.demo.check import DemoCheck, OtherReplay
from onex.cli.demo.ledger import EffectCounts
from onex.cli.demo.progress import DemoProgress
from onex.cli.demo.trial import EngineKill, TrialResult
from onex.cli.demo.verdict import demo_result, faults, rows
from onex.engine.metrics import Latency
from onex.kernel.action import WorkflowKey
from onex.ports import Counts
from onex.replay.audit import Audit, LostIntent, SeenEffect
from onex.replay.verdict import ReplayResult

SEEN = SeenEffect("orders:1", 1, "charge", 0)
COUNTS = Counts(1, 3, {}, 0, {("orders", "shipped"): 1})
TALLY = EffectCounts(3, frozenset({SEEN}), 1, ())


def judged(
    *,
    kills: int = 2,
    tally: EffectCounts = TALLY,
    audit: Audit | None = None,
    here: int = 0,
    there: int = 0,
    unverified: int = 0,
) -> list[str]:
    checked = DemoCheck(
        COUNTS, audit or Audit(), ReplayResult(mismatches=here), OtherReplay(mismatches=there, unverified=unverified)
    )
    witnessed = TrialResult(2.0, (EngineKill(1, False),) * kills, Latency(), 0, ())
    found = demo_result(witnessed, tally, checked, "proof.html")
    assert rows(found, tally, checked)
    return faults(found, tally, checked)


def test_a_sound_run_has_no_fault() -> None:
    assert judged() == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (judged(kills=1), "killed 1 times"),
        (judged(audit=Audit(lost=[LostIntent(SEEN, "gone")])), "lost: orders:1 version 1 charge/0: gone"),
        (judged(audit=Audit(strays=[SEEN])), "without a commit: orders:1 version 1 charge/0"),
        (judged(tally=TALLY._replace(repeated=(SEEN,) * 5)), "charge/0; and 2 more"),
        (judged(tally=TALLY._replace(retried=0)), "no effect was retried"),
        (judged(audit=Audit(forgotten=[(WorkflowKey("orders", "1"), UUID(int=0))])), "acknowledged and not in the log"),
        (judged(audit=Audit(unsettled=4)), "4 outbox rows"),
        (judged(here=1), "1 segments of the log do not replay"),
        (judged(there=2), "2 segments of the log do not replay"),
        (judged(unverified=7), "7 log rows could not be checked"),
    ],
)
def test_each_number_that_is_wrong_is_told(fault: list[str], told: str) -> None:
    assert len(fault) == 1
    assert told in fault[0]


def test_an_effect_outside_whose_commit_is_gone_counts_as_lost() -> None:
    checked = DemoCheck(COUNTS, Audit(strays=[SEEN]), ReplayResult(), OtherReplay(mismatches=0, unverified=0))
    assert (
        demo_result(TrialResult(2.0, (EngineKill(1, False),) * 2, Latency(), 0, ()), TALLY, checked, "").effects_lost
        == 1
    )


def test_the_story_has_a_line_at_each_kill_and_quarter() -> None:
    stream = io.StringIO()
    with DemoProgress(stream, 2000) as story:
        for effects in (100, 499, 500, 812):
            story.seen(effects)
        story.killed(1, 812, withheld=False)
        story.killed(2, 1300, withheld=True)
    assert stream.getvalue().splitlines() == [
        "  25 % - 500 of 2,000 effects seen",
        "killed the engine at 40 % - 812 of 2,000 effects seen; restarting",
        "killed the engine at 65 % - 1,300 of 2,000 effects seen, one of them done but not acknowledged; restarting",
    ]
