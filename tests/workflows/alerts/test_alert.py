"""The workflow of an alert, on a real engine in virtual time. Receivers are functions that arrive, fail, or leave it open."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import JsonValue

from onex.kernel.errors import EffectFailed, EffectUnknown, InvalidPayload, OnexError
from onex.kernel.intent import ModelIntent
from onex.simulation.app_sim.app_under_test import load_app_under_test
from onex.simulation.app_sim.run import run_app
from onex.simulation.app_sim.runner import RunPlan, workspace
from onex.testing.virtual_time import VirtualRun, virtual
from onex.workflows.alerts.onex_alert.payloads import Alert
from onex.workflows.alerts.onex_alert.reducer import FIRST_WAIT_S

APP = "onex:alerts"
KEY = "onex_alert:error_rate"
KINDS = ("chat", "mail", "pagerduty", "webhook")
Told = tuple[str, str, str, str]
"""Receiver, event, incident, idempotency key."""
Reply = Callable[[str], None]


class FarSide:
    """What has arrived. ``reply(kind)`` may raise; ``arrives`` says whether a call that raises EffectUnknown had arrived."""

    def __init__(self) -> None:
        self.arrived: list[Told] = []
        self.reply: Reply = lambda kind: None
        self.arrives = True

    def serve(self, intent: ModelIntent[Any]) -> None:
        told = intent.payload
        line = (told.receiver, told.event, told.incident, intent.idempotency_key)
        try:
            self.reply(intent.name)
        except EffectUnknown:
            if self.arrives:
                self.arrived.append(line)
            raise
        self.arrived.append(line)

    @property
    def events(self) -> list[tuple[str, str]]:
        return [(receiver, event) for receiver, event, _, _ in self.arrived]


@contextmanager
def watched() -> Iterator[tuple[VirtualRun, FarSide]]:
    far = FarSide()
    with virtual(APP, executors={f"onex_alert_{kind}": far.serve for kind in KINDS}) as run:
        yield run, far


def breached(
    value: float = 0.5,
    *,
    for_s: int = 60,
    settle_s: int = 120,
    receivers: Mapping[str, str] | None = None,
    teller: str = "",
) -> dict[str, JsonValue]:
    named = {"team": "chat"} if receivers is None else receivers
    return {
        "value": value,
        "teller": teller,
        "rule": {
            "source": "shop", "metric": "error_rate", "bound": "above 0.01", "severity": "critical",
            "for_s": for_s, "settle_s": settle_s,
            "receivers": [{"name": name, "kind": kind} for name, kind in named.items()],
        },
    }  # fmt: skip


def alert(run: VirtualRun) -> Alert:
    return run.state(KEY, Alert)


def fails(kind: str) -> None:
    raise EffectFailed("not now", retryable=False)


def is_unknown(kind: str) -> None:
    raise EffectUnknown("no answer")


def test_pending_for_its_time_then_firing_then_resolved() -> None:
    with watched() as (run, far):
        run.submit(KEY, "breached", breached())
        run.skip(seconds=59)
        assert (alert(run).status, far.events) == ("pending", [])
        run.skip(seconds=2)
        assert (alert(run).status, far.events) == ("firing", [("team", "firing")])
        run.submit(KEY, "recovered", {"value": 0.0})
        run.skip(seconds=119)
        assert (alert(run).status, len(far.events)) == ("settling", 1)
        run.skip(seconds=2)
        assert (alert(run).status, far.events) == ("resolved", [("team", "firing"), ("team", "resolved")])
        assert far.arrived[0][2] == far.arrived[1][2] == "shop/error_rate/1"


def test_a_breach_shorter_than_for_tells_nobody() -> None:
    with watched() as (run, far):
        for _ in range(5):
            run.submit(KEY, "breached", breached())
            run.skip(seconds=30)
            run.submit(KEY, "recovered", {"value": 0.0})
            run.skip(seconds=90)
        assert (alert(run).status, far.events, alert(run).incident) == ("quiet", [], 0)


def test_a_value_that_goes_to_and_fro_is_one_incident_and_settles_longer_each_time() -> None:
    with watched() as (run, far):
        run.submit(KEY, "breached", breached(for_s=0))
        for relapse in range(1, 7):
            run.submit(KEY, "recovered", {"value": 0.0})
            run.skip(seconds=100)
            run.submit(KEY, "breached", breached(for_s=0))
            assert (alert(run).status, alert(run).relapses) == ("firing", relapse)
        run.submit(KEY, "recovered", {"value": 0.0})
        run.skip(seconds=120 * 16 - 1)
        assert (alert(run).status, far.events) == ("settling", [("team", "firing")])
        run.skip(seconds=2)
        assert (alert(run).status, far.events[1:]) == ("resolved", [("team", "resolved")])


def test_a_second_incident_has_a_key_of_its_own() -> None:
    with watched() as (run, far):
        for _ in range(2):
            run.submit(KEY, "breached", breached(for_s=0, settle_s=0))
            run.submit(KEY, "recovered", {"value": 0.0})
        assert [(event, incident[-1]) for _, event, incident, _ in far.arrived] == [
            ("firing", "1"), ("resolved", "1"), ("firing", "2"), ("resolved", "2"),
        ]  # fmt: skip


def test_resolved_waits_for_the_outcome_of_firing() -> None:
    """Else the two would race, and PagerDuty could keep an incident open for ever."""
    with watched() as (run, far):
        far.reply = fails
        run.submit(KEY, "breached", breached(for_s=0, settle_s=0, receivers={"duty": "pagerduty"}))
        assert (far.events, alert(run).desks["duty"].tries) == ([], 1)
        far.reply = lambda kind: None
        run.submit(KEY, "recovered", {"value": 0.0})
        run.skip(hours=1)
        assert (alert(run).status, far.events) == ("resolved", [])  # never told of it, so not told of its end


def test_what_failed_is_told_again_at_growing_pauses_while_it_is_true() -> None:
    with watched() as (run, far):
        far.reply = fails
        run.submit(KEY, "breached", breached(for_s=0))
        run.skip(seconds=FIRST_WAIT_S + 1)
        assert alert(run).desks["team"].tries == 2
        run.skip(seconds=FIRST_WAIT_S)
        assert alert(run).desks["team"].tries == 2
        far.reply = lambda kind: None
        run.skip(seconds=FIRST_WAIT_S + 1)
        assert (far.events, alert(run).desks["team"].tries) == ([("team", "firing")], 0)


@pytest.mark.parametrize(("kind", "times"), [("chat", 1), ("mail", 1), ("pagerduty", 2), ("webhook", 2)])
def test_in_doubt_is_told_again_only_where_the_far_side_knows_the_key(kind: str, times: int) -> None:
    with watched() as (run, far):
        far.reply = is_unknown
        run.submit(KEY, "breached", breached(for_s=0, receivers={"one": kind}))
        run.skip(seconds=12)  # the tries of the relay end, under one key
        first = len(far.arrived)
        far.reply = lambda kind: None
        run.skip(hours=1)
        assert len(far.arrived) - first == times - 1
        assert len({key for *_, key in far.arrived}) == 1
        assert (alert(run).desks["one"].knows, alert(run).desks["one"].doubts) == ("firing", 1)


def test_an_alert_that_is_taken_up_pages_nobody_and_says_so_to_pagerduty() -> None:
    with watched() as (run, far):
        run.submit(KEY, "breached", breached(for_s=0, settle_s=0, receivers={"team": "chat", "duty": "pagerduty"}))
        run.submit(KEY, "acknowledge", {"by": "ann", "note": "on it"})
        assert far.events[2:] == [("duty", "acknowledged")]
        assert (alert(run).acknowledged_by, alert(run).note) == ("ann", "on it")
        run.submit(KEY, "recovered", {"value": 0.0})
        assert sorted(far.events[3:]) == [("duty", "resolved"), ("team", "resolved")]
        with pytest.raises(OnexError):
            run.submit(KEY, "acknowledge", {"by": "ann"})


def test_a_silence_tells_nobody_and_when_it_is_over_what_still_fires_is_told() -> None:
    with watched() as (run, far):
        run.submit(KEY, "silence", {"for_s": 3600, "by": "ann"})
        run.submit(KEY, "breached", breached(for_s=0))
        run.skip(minutes=59)
        assert (alert(run).status, far.events) == ("firing", [])
        run.skip(minutes=2)
        assert (far.events, alert(run).silenced_until) == ([("team", "firing")], None)


def test_a_silence_can_be_ended() -> None:
    with watched() as (run, far):
        run.submit(KEY, "silence", {"for_s": 3600})
        run.submit(KEY, "breached", breached(for_s=0))
        run.submit(KEY, "silence", {"for_s": 0})
        assert far.events == [("team", "firing")]


def test_an_alert_lasts_while_one_worker_is_beyond_the_bound() -> None:
    with watched() as (run, far):
        run.submit(KEY, "breached", breached(for_s=60, settle_s=0, teller="a"))
        run.submit(KEY, "breached", breached(for_s=60, settle_s=0, teller="b"))
        run.submit(KEY, "recovered", {"value": 0.0, "teller": "a"})
        assert alert(run).status == "pending"
        run.skip(seconds=61)
        assert (alert(run).status, far.events) == ("firing", [("team", "firing")])
        run.submit(KEY, "recovered", {"value": 0.0, "teller": "c"})
        assert (alert(run).status, alert(run).tellers) == ("firing", 1)
        run.submit(KEY, "recovered", {"value": 0.0, "teller": "b"})
        assert (alert(run).status, far.events[1:]) == ("resolved", [("team", "resolved")])


def test_a_worker_that_says_nothing_any_more_keeps_no_alert_open() -> None:
    with watched() as (run, far):
        run.submit(KEY, "breached", breached(for_s=0, settle_s=0, teller="a"))
        run.submit(KEY, "breached", breached(for_s=0, settle_s=0, teller="b"))
        for _ in range(4):
            run.skip(minutes=5)
            run.submit(KEY, "breached", breached(for_s=0, settle_s=0, teller="b"))
        assert (alert(run).status, alert(run).tellers) == ("firing", 2)
        run.submit(KEY, "recovered", {"value": 0.0, "teller": "b"})
        assert alert(run).status == "firing"
        run.skip(minutes=16)
        assert (alert(run).status, far.events) == ("resolved", [("team", "firing"), ("team", "resolved")])


def test_everybody_ends_it_for_all() -> None:
    with watched() as (run, _):
        for teller in "ab":
            run.submit(KEY, "breached", breached(for_s=0, settle_s=0, teller=teller))
        run.submit(KEY, "recovered", {"teller": "*"})
        assert alert(run).status == "resolved"


def test_two_receivers_of_one_name_are_refused() -> None:
    """Found by ``onex simulate onex:alerts``, seed 8: each of them was told again and again."""
    twice = breached()
    rule = twice["rule"]
    assert isinstance(rule, dict)
    rule["receivers"] = [{"name": "one", "kind": "chat"}, {"name": "one", "kind": "mail"}]
    with watched() as (run, far):
        with pytest.raises(InvalidPayload, match="one name"):
            run.submit(KEY, "breached", twice)
        assert far.arrived == []


@pytest.mark.parametrize("seed", [8, 21, 30])
def test_alerts_hold_under_crashes_and_faults(seed: int) -> None:
    under_test = load_app_under_test(APP)
    with workspace() as where:
        result = run_app(under_test, RunPlan(APP).script(seed), where, drawn=True)
    assert [str(one) for one in result.violations] == []


EVENTS = ("breached", "recovered", "acknowledge", "silence", "audible", "wait", "long")
RECEIVERS = {"team": "chat", "post": "mail", "duty": "pagerduty", "hook": "webhook"}


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=st.lists(st.sampled_from(EVENTS), min_size=3, max_size=25), seed=st.integers(0, 2**16))
def test_whatever_happens_each_receiver_hears_of_an_incident_in_order_and_once(events: list[str], seed: int) -> None:
    drawn = random.Random(seed)
    with watched() as (run, far):

        def reply(kind: str) -> None:
            far.arrives = drawn.random() < 0.5
            if drawn.random() < 0.4:
                raise drawn.choice((EffectFailed("no", retryable=False), EffectUnknown("who knows")))

        far.reply = reply
        for event in events:
            if event == "wait":
                run.skip(seconds=drawn.choice((10, 70, 130)))
                continue
            if event == "long":
                run.skip(hours=2)
                continue
            payload: dict[str, JsonValue] = {}
            if event == "breached":
                payload = breached(for_s=drawn.choice((0, 60)), receivers=RECEIVERS)
            if event in ("silence", "audible"):
                payload = {"for_s": 600 if event == "silence" else 0}
            try:
                run.submit(KEY, "silence" if event == "audible" else event, payload)
            except OnexError:
                assert event == "acknowledge"
        far.reply = lambda kind: None
        run.skip(hours=12)
        incidents = alert(run).incident if run.history(KEY) else 0
        for name, kind in RECEIVERS.items():
            heard = [(int(at.rpartition("/")[2]), event) for who, event, at, _ in far.arrived if who == name]
            first = list(dict.fromkeys(heard))
            if kind in ("chat", "mail"):
                assert first == heard, "a far side without a key is told once"
            ranks = [(incident, ("firing", "acknowledged", "resolved").index(event)) for incident, event in first]
            assert ranks == sorted(ranks)
            assert all(incident <= incidents for incident, _ in ranks)
            if run.history(KEY) and alert(run).status == "resolved" and ranks and kind in ("pagerduty", "webhook"):
                assert ranks[-1][1] == 2, "an incident that is over does not stay open"


def test_time_of_a_rule_is_that_of_the_action_not_of_a_machine() -> None:
    with watched() as (run, _):
        run.submit(KEY, "breached", breached(for_s=7 * 24 * 3600))
        run.skip(days=6)
        assert alert(run).status == "pending"
        fired = run.now + timedelta(days=1)
        run.skip(days=1, seconds=1)
        assert alert(run).fired_at is not None
        assert alert(run).fired_at == fired
