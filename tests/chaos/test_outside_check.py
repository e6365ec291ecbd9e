"""The counter finds each kind of wrong that is put before it, and nothing where nothing is wrong."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID, uuid4, uuid5

import pytest

from tests.chaos.far_side import Call
from tests.chaos.outside_check import Acknowledged, Evidence, Left, Refused, Row, check

KEY = "errand:one-1"


def end_of(action_id: str, name: str, word: str = "outcome") -> str:
    return uuid5(uuid5(UUID(hex=action_id), f"{KEY}/{name}/0"), word).hex


def right() -> Evidence:
    """One errand: begun by a client, charged, packed; a note was refused."""
    begin, note = uuid4().hex, uuid4().hex
    charged = end_of(begin, "charge")
    packed = end_of(charged, "pack")
    log = [
        Row(KEY, 1, begin, "begin", "charging", (("charge", 0),)),
        Row(KEY, 2, note, "note", "charging"),
        Row(KEY, 3, charged, "charged", "packing", (("pack", 0), ("alarm", 0))),
        Row(KEY, 4, packed, "packed", "reckoning", (("reckon", 0),)),
    ]
    told = [
        Acknowledged(KEY, begin, 1, "charging", "one", 7, False),
        Acknowledged(KEY, note, 2, "charging", "one", 8, False),
        Acknowledged(KEY, begin, 1, "charging", "one", 9, True),
    ]
    calls = [
        Call("a", KEY, 1, "charge", 0, "{}"),
        Call("a", KEY, 1, "charge", 0, "{}"),
        Call("b", KEY, 3, "pack", 0, "{}"),
    ]
    return Evidence(
        told, [Refused(KEY, uuid4().hex, "instance_finished")], log, calls, [Left(KEY, 4, "reckon", "dead")]
    )


def test_what_is_right_is_found_right() -> None:
    verdict = check(right())
    assert verdict.found == {}
    assert verdict.numbers["acknowledged"] == 3
    assert (verdict.numbers["effects seen"], verdict.numbers["effects retried"]) == (2, 1)


def lost_row(e: Evidence) -> None:
    e.told.append(Acknowledged(KEY, uuid4().hex, 5, "packing", "one", 10, False))


def other_version(e: Evidence) -> None:
    e.told[1] = e.told[1]._replace(version=1)


def other_status(e: Evidence) -> None:
    e.told[0] = e.told[0]._replace(status="packing")


def applied_twice(e: Evidence) -> None:
    e.log.append(e.log[1]._replace(version=5))


def a_gap(e: Evidence) -> None:
    e.log[3] = e.log[3]._replace(version=5)


def a_version_again(e: Evidence) -> None:
    e.log.append(Row(KEY, 4, uuid4().hex, "note", "reckoning"))


def order_lost(e: Evidence) -> None:
    e.told[0], e.told[1] = e.told[0]._replace(ticket=8), e.told[1]._replace(ticket=7)


def refused_though_applied(e: Evidence) -> None:
    e.refused.append(Refused(KEY, e.log[1].action_id, "ended"))


def a_second_key(e: Evidence) -> None:
    e.calls.append(e.calls[0]._replace(key="another"))


def another_body(e: Evidence) -> None:
    e.calls[1] = e.calls[1]._replace(body='{"n": 2}')


def one_key_for_two(e: Evidence) -> None:
    e.calls[2] = e.calls[2]._replace(key="a")


def run_for_nothing(e: Evidence) -> None:
    e.calls.append(Call("c", KEY, 9, "charge", 0, "{}"))


def never_done(e: Evidence) -> None:
    del e.calls[2]


def no_end(e: Evidence) -> None:
    e.left.clear()


def waits_still(e: Evidence) -> None:
    e.left[0] = e.left[0]._replace(state="waiting")


PLANTED: dict[Callable[[Evidence], None], str] = {
    lost_row: "lost",
    other_version: "lost",
    other_status: "lost",
    applied_twice: "twice",
    a_gap: "gaps",
    a_version_again: "gaps",
    order_lost: "order",
    refused_though_applied: "refused and applied",
    a_second_key: "keys and bodies",
    another_body: "keys and bodies",
    one_key_for_two: "keys and bodies",
    run_for_nothing: "calls of nothing",
    never_done: "told done, never seen",
    no_end: "without an end",
    waits_still: "without an end",
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_wrong_is_found_by_its_kind(plant: Callable[[Evidence], None]) -> None:
    evidence = right()
    plant(evidence)
    assert PLANTED[plant] in check(evidence).found
