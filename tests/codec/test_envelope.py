"""What is encrypted comes back, and nothing else does: no flipped byte, no other row, no other key."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.adapters.codec.envelope import DataKey, is_sealed, is_sealed_intents, marked_intents
from onex.codec import STORE_OWNER
from onex.kernel.data_key import CodecDamaged, encrypted_mark

KEY, OTHER, STORE = (
    DataKey(owner, bytes([n]) * 32) for n, owner in enumerate(("orders:a", "orders:b", STORE_OWNER), 1)
)
INTENTS = (
    b'[{"name":"charge","payload":{"card":"4711"},"due_us":7},{"name":"tell","payload":{},"to":"parcels:1","key":"k"}]'
)
RESULT = b'{"kind":"charged","payload":{"n":"4711"},"schema":2}'
PLACE = b"payload\0version 3\0" + b"i" * 16

Form = tuple[Callable[[bytes, bytes], bytes], Callable[[bytes, bytes], bytes], bytes]
FORMS: list[Form] = [
    (KEY.seal, KEY.open, b'{"card":"4711"}'),
    (STORE.seal, STORE.open, b'{"card":"4711"}'),
    (KEY.seal_intents, KEY.open_intents, INTENTS),
    (KEY.seal_intents, KEY.open_intents, b"no list"),
    (KEY.seal_result, KEY.open_result, RESULT),
    (KEY.seal_blob, KEY.open_blob, b"\x00\xff4711"),
    (
        lambda plain, place: KEY.seal_text(plain.decode(), place).encode(),
        lambda sealed, place: KEY.open_text(sealed.decode("utf-8", "surrogateescape"), place).encode(),
        "it said 4711 é".encode(),
    ),
]


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_any_value_comes_back(plain: bytes, place: bytes) -> None:
    for key in (KEY, STORE):
        assert key.open(key.seal(plain, place), place) == plain
        assert key.open_blob(key.seal_blob(plain, place), place) == plain
        assert key.open_intents(key.seal_intents(plain, place), place) == plain
        assert key.open_result(key.seal_result(plain, place), place) == plain
    digest = plain[:40]
    assert KEY.keyed(KEY.keyed(digest, b"state", 3), b"state", 3) == digest


@given(st.text(max_size=100))
def test_any_text_comes_back(plain: str) -> None:
    assert KEY.open_text(KEY.seal_text(plain, PLACE), PLACE) == plain


@pytest.mark.parametrize("form", FORMS)
def test_a_flipped_byte_anywhere_is_damage(form: Form) -> None:
    seal, open_, plain = form
    sealed = seal(plain, PLACE)
    assert b"4711" not in sealed
    chance = random.Random(7)
    for at in range(len(sealed)):
        bent = bytearray(sealed)
        bent[at] ^= 1 << chance.randrange(8)
        with pytest.raises(CodecDamaged):
            open_(bytes(bent), PLACE)
    for cut in range(len(sealed)):
        with pytest.raises(CodecDamaged):
            open_(sealed[:cut], PLACE)
    assert open_(sealed, PLACE) == plain


@pytest.mark.parametrize("form", FORMS)
def test_a_value_opens_in_its_own_row_only(form: Form) -> None:
    seal, open_, plain = form
    for elsewhere in (PLACE.replace(b"3", b"4"), PLACE.replace(b"payload", b"intents"), PLACE[:-1] + b"j", b""):
        with pytest.raises(CodecDamaged):
            open_(seal(plain, PLACE), elsewhere)
    with pytest.raises(CodecDamaged):
        OTHER.open(KEY.seal(plain, PLACE), PLACE)


def test_equal_values_never_look_equal() -> None:
    assert len({KEY.seal(b"{}", PLACE) for _ in range(1000)}) == 1000


def test_names_and_times_of_intents_stay_in_clear_and_payloads_do_not() -> None:
    sealed = KEY.seal_intents(INTENTS, PLACE)
    assert is_sealed_intents(sealed)
    assert sealed.startswith(b'[{"name":"charge","due_us":7},{"name":"tell","to":"parcels:1"},')
    mark = encrypted_mark("k1")
    assert marked_intents(sealed, mark) == (
        b'[{"name":"charge","due_us":7,"payload":"encrypted (key k1)"},'
        b'{"name":"tell","to":"parcels:1","payload":"encrypted (key k1)"}]'
    )
    result = KEY.seal_result(RESULT, PLACE)
    assert is_sealed(result)
    assert result.endswith(b',"kind":"charged","schema":2}')


def test_hashes_of_equal_values_differ_between_instances_and_versions() -> None:
    digest = b"d" * 32
    found = {key.keyed(digest, what, n) for key in (KEY, OTHER) for what in (b"state", b"body") for n in range(50)}
    assert len(found) == 200
    assert digest not in found
    assert KEY.keyed(b"", b"state", 1) == b""
