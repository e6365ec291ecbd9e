"""Topics between contracts: those with one end, those that were meant to be one, and those that are said twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from onex.doctor.topics import difference, topic_parts
from tests.doctor.planted import examined, reported


def node(name: str, *lines: str) -> str:
    head = f"name: {name}\nnode_type: EFFECT_GENERIC\ncontract_version: {{major: 1, minor: 0, patch: 0}}\n"
    return head + "\n".join(lines) + "\n"


def publishes(*topics: str) -> str:
    return f"event_bus: {{publish_topics: [{', '.join(topics)}]}}"


def consumes(*topics: str) -> str:
    return f"event_bus: {{subscribe_topics: [{', '.join(topics)}]}}"


ALIKE = [
    ("onex.evt.shop.paid.v1", "onex.evt.shop.paid.v2", "version 2 there, 1 here"),
    ("onex.evt.shop.paid.v1", "onex.evt.shop.paid", "version none there, 1 here"),
    ("onex.evt.shop.paid.v1", "dev.onex.evt.shop.paid.v1", "realm dev there, none here"),
    ("{env}.onex.evt.shop.paid.v1", "prod.onex.evt.shop.paid.v1", "realm prod there, {env} here"),
    ("onex.evt.shop.basket-paid.v1", "onex.evt.shop.basket_paid.v1", "spelt otherwise"),
    ("onex.cmd.shop.paid.v1", "onex.evt.shop.paid.v1", "evt there, cmd here"),
    ("onex.evt.shop.delivered.v1", "onex.evt.shop.deliverd.v1", "nearly the same, perhaps a typing error"),
    ("onex.evt.shop.delivered.v1", "onex.evt.shop.deliveerd.v1", "nearly the same, perhaps a typing error"),
    ("onex.evt.shop.paid.v1", "onex.evt.till.paid.v1", "the producer is till there, shop here"),
    ("shop.paid.v1", "onex.shop.paid.v1", "one of them begins with onex, the other does not"),
    ("onex.evt.shop.paid.v1", "onex.evt.paid.v1", "one of them has a part more"),
]
UNALIKE = [
    ("onex.evt.shop.paid.v1", "onex.evt.shop.sent.v1"),
    ("onex.evt.shop.stage-one-1.v1", "onex.evt.shop.stage-one-2.v1"),
    ("onex.evt.shop.paid.v1", "onex.evt.till.sent.v1"),
    ("onex.evt.shop.delivered.v1", "onex.evt.shop.deliverd.v2"),
]


@pytest.mark.parametrize(("one", "other", "reason"), ALIKE)
def test_two_topics_that_were_meant_to_be_one_are_reported_with_the_reason(one: str, other: str, reason: str) -> None:
    found = difference(one, other)
    assert found is not None
    assert found[1] == reason


@pytest.mark.parametrize(("one", "other"), UNALIKE)
def test_two_topics_of_their_own_are_left_alone(one: str, other: str) -> None:
    assert difference(one, other) is None


def test_a_topic_is_taken_apart() -> None:
    assert topic_parts("dev.shop.paid.v2") == ("dev", "shop.paid", "2")
    assert topic_parts("shop.paid") == ("", "shop.paid", "")
    assert topic_parts("${REALM}.onex.evt.shop.paid.v12") == ("${REALM}", "onex.evt.shop.paid", "12")


def test_a_topic_with_both_ends_is_fine(tmp_path: Path) -> None:
    files = {"a.yaml": node("a", publishes("shop.paid.v1")), "b.yaml": node("b", consumes("shop.paid.v1"))}
    assert reported(examined(tmp_path, files), tmp_path) == []


def test_a_topic_with_one_end_is_reported_at_its_line(tmp_path: Path) -> None:
    files = {"a.yaml": node("a", publishes("shop.paid.v1")), "b.yaml": node("b", consumes("till.opened.v1"))}
    assert reported(examined(tmp_path, files), tmp_path) == ["topic_unsaid b.yaml:4", "topic_unheard a.yaml:4"]


def test_two_ends_that_miss_each_other_are_one_symptom(tmp_path: Path) -> None:
    files = {"a.yaml": node("a", publishes("shop.paid.v1")), "b.yaml": node("b", consumes("shop.paid.v2"))}
    diagnosis = examined(tmp_path, files)
    assert reported(diagnosis, tmp_path) == ["topic_mismatch b.yaml:4"]
    (one,) = diagnosis.findings
    assert one.finding.message == (
        f"b consumes 'shop.paid.v2', which no contract here publishes; a publishes 'shop.paid.v1' "
        f"({tmp_path / 'a.yaml'}:4): version 1 there, 2 here"
    )
    assert one.contracts == (str(tmp_path / "b.yaml"), str(tmp_path / "a.yaml"))


def test_an_old_version_beside_the_new_one_is_reported_as_a_version(tmp_path: Path) -> None:
    files = {
        "a.yaml": node("a", publishes("shop.paid.v2")),
        "b.yaml": node("b", consumes("shop.paid.v2")),
        "c.yaml": node("c", consumes("shop.paid.v1")),
    }
    assert reported(examined(tmp_path, files), tmp_path) == ["topic_mismatch c.yaml:4"]


def test_a_topic_in_two_blocks_is_one(tmp_path: Path) -> None:
    twice = node("a", publishes("shop.paid.v1"), "published_events: [{topic: shop.paid.v1, event_type: Paid}]")
    diagnosis = examined(tmp_path, {"a.yaml": twice})
    assert [(one.topic, one.place.line) for one in diagnosis.traffic.published] == [("shop.paid.v1", 4)]
    assert reported(diagnosis, tmp_path) == ["topic_unheard a.yaml:4"]


def test_an_external_end_is_not_reported(tmp_path: Path) -> None:
    files = {
        "a.yaml": node(
            "a",
            "event_bus:",
            "  subscribe_topics: [shop.paid.v1]",
            "  subscribe_topic_metadata:",
            "    shop.paid.v1: {external_publisher: {repo: till}}",
        )
    }
    diagnosis = examined(tmp_path, files)
    assert reported(diagnosis, tmp_path) == []
    assert [one.external for one in diagnosis.traffic.consumed] == [True]


@pytest.mark.parametrize("line", ["terminal_event: shop.paid.v1", publishes("shop.paid.v1.dlq")])
def test_whoever_waits_for_the_end_or_reads_dead_letters_needs_no_contract(line: str, tmp_path: Path) -> None:
    assert reported(examined(tmp_path, {"a.yaml": node("a", line)}), tmp_path) == []


def test_code_that_names_a_lonely_topic_is_shown(tmp_path: Path) -> None:
    files = {"a.yaml": node("a", publishes("shop.paid.v1")), "src/listen.py": "x = 1\nTOPIC = 'shop.paid.v1'\n"}
    (one,) = examined(tmp_path, files).findings
    assert one.finding.message.endswith(f"; code names it at {tmp_path / 'src' / 'listen.py'}:2")


def test_many_who_say_the_same_are_one_symptom(tmp_path: Path) -> None:
    files = {f"{name}.yaml": node(name, publishes("shop.paid.v1")) for name in "abc"}
    (one,) = examined(tmp_path, files).findings
    assert one.finding.message.startswith("a and 2 more publish 'shop.paid.v1'")
    assert len(one.contracts) == 3
