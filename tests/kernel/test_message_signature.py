"""Only who has a shared key makes a message that verifies; nobody changes one, or sends it elsewhere."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.kernel.errors import ValidationError
from onex.kernel.message_signature import SIGNATURE_HEADER, InvalidSignature, SharedKeys

OLD, NEW = "an old key of at least 16", "a new key of at least 16"
TOPIC, KEY, VALUE = "orders", b"orders:1", b'{"amount":1}'


def test_a_signed_message_verifies_and_the_keys_do_not_show() -> None:
    keys = SharedKeys.of(NEW)
    keys.check(TOPIC, KEY, VALUE, [("other", b"1"), keys.header(TOPIC, KEY, VALUE)])
    assert NEW not in repr(keys)


@given(st.text(max_size=5), st.binary(max_size=5), st.binary(max_size=5))
def test_no_byte_can_move_from_one_part_to_the_next(topic: str, key: bytes, value: bytes) -> None:
    keys = SharedKeys.of(NEW)
    header = keys.header(topic, key, value)
    keys.check(topic, key, value, [header])
    for other in ((topic + "a", key, value), (topic, key + value[:1], value[1:]), (topic, key, value + b"\0")):
        if other != (topic, key, value):
            with pytest.raises(InvalidSignature):
                keys.check(*other, [header])


def test_of_ten_thousand_forged_and_changed_messages_none_verifies() -> None:
    keys, draw = SharedKeys.of(NEW, OLD), random.Random(1)
    name, signature = keys.header(TOPIC, KEY, VALUE)
    accepted = 0
    for _ in range(10_000):
        value, made = bytearray(VALUE), bytearray(signature)
        kind = draw.randrange(4)
        if kind == 0:
            value[draw.randrange(len(value))] ^= 1 << draw.randrange(8)
        elif kind == 1:
            made[draw.randrange(len(made))] ^= 1 << draw.randrange(8)
        elif kind == 2:
            made = bytearray(b"v1=" + draw.randbytes(32).hex().encode())
        else:
            value += draw.randbytes(1)
        try:
            keys.check(TOPIC, KEY, bytes(value), [(name, bytes(made))])
            accepted += 1
        except InvalidSignature:
            pass
    assert accepted == 0


@pytest.mark.parametrize("headers", [[], [(SIGNATURE_HEADER, b"")], "twice"])
def test_none_an_empty_and_a_second_signature_are_refused(headers: list[tuple[str, bytes]] | str) -> None:
    keys = SharedKeys.of(NEW)
    given = [keys.header(TOPIC, KEY, VALUE)] * 2 if isinstance(headers, str) else headers
    with pytest.raises(InvalidSignature, match=SIGNATURE_HEADER):
        keys.check(TOPIC, KEY, VALUE, given)


def test_a_key_is_changed_in_three_steps_and_no_message_is_refused_between() -> None:
    steps = [SharedKeys.of(OLD), SharedKeys.of(OLD, NEW), SharedKeys.of(NEW, OLD), SharedKeys.of(NEW)]
    for before, after in pairwise(steps):
        for sender, reader in ((before, after), (after, before)):
            reader.check(TOPIC, KEY, VALUE, [sender.header(TOPIC, KEY, VALUE)])
    with pytest.raises(InvalidSignature):
        steps[3].check(TOPIC, KEY, VALUE, [steps[0].header(TOPIC, KEY, VALUE)])


@pytest.mark.parametrize("keys", [("short", ""), (NEW, "short")])
def test_a_short_key_is_refused(keys: tuple[str, str]) -> None:
    with pytest.raises(ValidationError, match="16 bytes"):
        SharedKeys.of(*keys)
