"""A rollout as a pure workflow: in which order it goes, and what makes it go back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from onex.app import load_app
from onex.kernel.action import NOTHING, Action, WorkflowKey
from onex.kernel.errors import InvalidStateTransitionError
from onex.kernel.intent import Emitted
from onex.kernel.step import State

REDUCER = load_app("onex:canary").workflows["onex_canary"].reducer
PAYLOADS = REDUCER.payloads
OLD, NEW = "a" * 64, "b" * 64
CODES = {"parcel": {"new": "d" * 64}}
BEGIN = datetime(2026, 11, 30, tzinfo=UTC)


class Play:
    """One rollout, action by action."""

    def __init__(self) -> None:
        self.now: State = REDUCER.initial()
        self.intents: tuple[Emitted, ...] = ()
        self._at = BEGIN

    def take(self, trigger: str, **fields: object) -> str:
        self._at += timedelta(seconds=1)
        payload: BaseModel = PAYLOADS[trigger].model_validate(fields) if trigger != "stage_over" else NOTHING
        action = Action(WorkflowKey("onex_canary", "app"), trigger, payload, bytes(16), 0, bytes(16), "", None, b"")
        action = action._replace(issued_us=int(self._at.timestamp() * 1e6), id=UUID(int=1).bytes)
        done = REDUCER.delta(self.now, action)
        self.now, self.intents = done.state, done.intents
        return self.now.status

    def rolling(self, **criteria: object) -> Play:
        self.take("propose", new_app=NEW, codes=CODES, stages=[5, 50, 100], stage_s=60, criteria=criteria)
        self.take("adopt", base_app=OLD, bases={"parcel": "c" * 64})
        self.take("checked")
        assert self.take("shadowed") == "rolling"
        return self

    def sample(
        self, old: Mapping[str, object] | None = None, new: Mapping[str, object] | None = None, **more: object
    ) -> str:
        """``more`` are figures of the new version."""
        counted = {**(new or {}), **more}
        return self.take("sampled", new_app=NEW, stage=self.value("stage"), old=old or {}, new=counted)

    def value(self, name: str) -> object:
        return getattr(self.now, name)


def test_a_good_version_goes_stage_by_stage_to_all() -> None:
    play = Play().rolling(min_actions=10)
    shares = [play.value("share")]
    for _ in range(2):
        play.sample(actions=10)
        assert play.take("stage_over") == "rolling"
        shares.append(play.value("share"))
    assert shares == [5.0, 50.0, 100.0]
    play.sample(actions=10)
    assert play.take("stage_over") == "promoted"
    assert not play.intents  # no timer is left behind


def test_a_stage_with_too_few_actions_lasts_as_long_again() -> None:
    play = Play().rolling(min_actions=10)
    play.sample(actions=9)
    assert play.take("stage_over") == "rolling"
    assert (play.value("stage"), play.value("waited")) == (0, 1)
    assert [one.name for one in play.intents] == ["stage_over"]


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ({"actions": 90, "errors": 10}, "error rate"),
        ({"actions": 100, "slow": 5}, "p99"),
        ({"actions": 100, "held": 1}, "held"),
        ({"actions": 100, "growth": {"note": {"actions": 50, "added": 5000, "sizes": 50_000}}}, "grows"),
    ],
)
def test_what_is_worse_than_the_old_version_takes_it_back_at_once(new: dict[str, object], said: str) -> None:
    play = Play().rolling(min_actions=50)
    old = {"actions": 100, "growth": {"note": {"actions": 50, "added": 100, "sizes": 20_000}}}
    assert play.sample(old, new) == "rolled_back"
    assert said in str(play.value("reason")) and play.value("share") == 0.0


@pytest.mark.parametrize(
    "new", [{"actions": 90, "errors": 10}, {"actions": 100, "slow": 5}, {"actions": 100, "held": 1}]
)
def test_what_the_old_version_does_as_well_is_not_the_new_ones_fault(new: dict[str, object]) -> None:
    assert Play().rolling(min_actions=50).sample(new, new) == "rolling"


def test_one_error_among_few_actions_is_no_rate() -> None:
    play = Play().rolling(min_actions=200)
    assert play.sample(actions=3, errors=1) == "rolling"
    assert play.sample(actions=3, errors=2) == "rolled_back"


def test_a_sample_of_an_earlier_stage_counts_nothing() -> None:
    play = Play().rolling(min_actions=10)
    play.sample(actions=10)
    play.take("stage_over")
    assert play.take("sampled", new_app=NEW, stage=0, new={"actions": 1, "errors": 50}) == "rolling"
    now = play.value("new")
    assert isinstance(now, BaseModel) and now.model_dump()["errors"] == 0


def test_a_fault_in_check_or_shadow_ends_it_before_it_begins() -> None:
    play = Play()
    play.take("propose", new_app=NEW, codes=CODES)
    play.take("adopt", base_app=OLD, bases={"parcel": "c" * 64})
    assert play.take("checked", fault="40 would charge again", counts={"again": 40}) == "rolled_back"
    assert play.value("found") == {"again": 40}
    assert play.take("propose", new_app=NEW, codes=CODES) == "proposed"
    assert (play.value("reason"), play.value("found")) == ("", {})


def test_a_second_one_waits_until_the_first_is_over() -> None:
    with pytest.raises(InvalidStateTransitionError):
        Play().rolling().take("propose", new_app=OLD, codes=CODES)


def test_the_next_one_goes_out_from_what_went_live() -> None:
    play = Play().rolling()
    play.take("promote")
    play.take("propose", new_app="f" * 64, codes={"parcel": {"new": "9" * 64}})
    assert play.value("base_app") == NEW
    codes = play.value("codes")
    assert isinstance(codes, dict) and codes["parcel"].base == "d" * 64


count = st.integers(0, 10_000)
figures = st.fixed_dictionaries({"actions": count, "errors": count, "slow": count, "held": st.integers(0, 20)})


@given(st.lists(st.tuples(figures, figures), max_size=12))
def test_nothing_begins_under_a_version_that_is_not_rolling(
    samples: list[tuple[dict[str, int], dict[str, int]]],
) -> None:
    """And what was taken back stays so, whatever is told later."""
    play = Play().rolling(min_actions=10)
    for old, new in samples:
        if play.now.status != "rolling":
            with pytest.raises(InvalidStateTransitionError):
                play.sample(old, new)
            continue
        play.sample(old, new)
        if play.now.status == "rolling":
            play.take("stage_over")
        share = play.value("share")
        assert isinstance(share, float) and (share > 0) == (play.now.status == "rolling")
