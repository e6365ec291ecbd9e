"""Whatever finishes first and however partitions come and go: no position passes a message that is not finished."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onex.bus import ReceivedMessage, TopicPartition
from onex.engine.bus.open_messages import OpenMessages

PARTITIONS = [TopicPartition("t", n) for n in range(3)]
STEP = st.one_of(
    st.tuples(st.just("read"), st.sampled_from(PARTITIONS), st.integers(1, 4)),
    st.tuples(st.just("finish"), st.sampled_from(PARTITIONS), st.integers(0, 9)),
    st.tuples(st.just("commit"), st.sampled_from(PARTITIONS), st.integers(0, 1)),
    st.tuples(st.just("lose"), st.sampled_from(PARTITIONS), st.integers(0, 1)),
)


def test_a_message_that_asks_several_things_is_finished_when_all_are_and_one_that_asks_none_at_once() -> None:
    messages, (at, *_) = OpenMessages(), PARTITIONS
    for offset, asks in enumerate((2, 0, 1)):
        assert messages.take(ReceivedMessage(*at, offset, b"k", b""), asks)
    first, _, last = (ReceivedMessage(*at, offset, b"k", b"") for offset in range(3))
    messages.finish(last)
    messages.finish(first)
    assert (messages.positions(), len(messages)) == ({}, 1)
    messages.finish(first)
    messages.finish(first)  # once more than it asked
    assert messages.positions() == {at: 3}


@given(st.lists(STEP, max_size=60))
def test_no_position_passes_a_message_that_is_not_finished(steps: list[tuple[str, TopicPartition, int]]) -> None:
    messages = OpenMessages()
    finished: dict[TopicPartition, set[int]] = {one: set() for one in PARTITIONS}
    position = dict.fromkeys(PARTITIONS, 0)  # where the reader stands
    committed = dict.fromkeys(PARTITIONS, 0)  # what the group remembers
    open_: dict[TopicPartition, list[ReceivedMessage]] = {one: [] for one in PARTITIONS}
    for step, at, number in steps:
        if step == "read":
            for offset in range(position[at], position[at] + number):
                message = ReceivedMessage(*at, offset, b"k", b"")
                if messages.take(message):
                    open_[at].append(message)
            position[at] += number
        elif step == "finish" and open_[at]:
            done = open_[at].pop(number % len(open_[at]))
            assert messages.has(done)
            messages.finish(done)
            finished[at].add(done.offset)
        elif step == "commit":
            for partition, to in messages.positions().items():
                assert to >= committed[partition]
                committed[partition] = to
            messages.committed(messages.positions())
        elif step == "lose":
            messages.keep_only({one for one in PARTITIONS if one != at})
            open_[at].clear()
            position[at] = committed[at]
        assert len(messages) == sum(map(len, open_.values()))
        for partition, to in committed.items():
            assert set(range(to)) <= finished[partition]


def test_a_position_that_the_bus_left_out_is_committed_when_its_messages_come_again() -> None:
    at = PARTITIONS[0]
    messages = OpenMessages()
    message = ReceivedMessage(*at, 0, b"k", b"")
    assert messages.take(message)
    messages.finish(message)
    messages.committed(messages.positions())  # the partition was away just then: the bus left its position out
    assert messages.positions() == {}
    assert not messages.take(message), "it is done"
    assert messages.positions() == {at: 1}
