from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import pytest
from blake3 import blake3

from onex.kernel.action import Blob, Nothing, Payload
from onex.kernel.errors import ContractError, EffectFailed, PayloadTooLarge, StateConsistencyError
from onex.kernel.intent import ModelIntent
from onex.nodes.compute import ComputeIO
from onex.nodes.effect import EffectIO
from onex.nodes.io import (
    Function,
    FunctionShape,
    NewBlobs,
    blobs_in,
    check_blob,
    check_result,
    compute_shape,
    effect_shape,
    place,
)


class Charge(Payload):
    amount: int


class Charged(Payload):
    receipt: str
    note: str = ""


T = TypeVar("T")


class Box(Payload, Generic[T]):
    inside: T


async def charge(intent: ModelIntent[Charge]) -> Charged:
    raise AssertionError(intent)


def store(intent: ModelIntent[Charge], io: EffectIO) -> None:
    raise AssertionError(intent, io)


def measure(task: Charge, io: ComputeIO) -> Charged:
    raise AssertionError(task, io)


def test_a_shape_is_read_from_the_annotations() -> None:
    assert effect_shape(charge, EffectIO) == FunctionShape("charge", Charge, Charged, False)
    assert effect_shape(store, EffectIO) == FunctionShape("store", Charge, Nothing, True)
    assert compute_shape(measure, ComputeIO) == FunctionShape("measure", Charge, Charged, True)


# --- what does not fit is told at its line ----------------------------------------------------------------------------


def bare(intent: ModelIntent) -> Charged:  # type: ignore[type-arg]  # what a user forgets
    raise AssertionError(intent)


def unannotated(intent):  # type: ignore[no-untyped-def]  # what a user forgets
    raise AssertionError(intent)


def plain(intent: Charge) -> Charged:
    raise AssertionError(intent)


def either(intent: ModelIntent[Charge]) -> Charged | None:
    raise AssertionError(intent)


def third(intent: ModelIntent[Charge], io: EffectIO, more: int) -> Charged:
    raise AssertionError(intent, io, more)


def keyword(intent: ModelIntent[Charge], *, io: EffectIO) -> Charged:
    raise AssertionError(intent, io)


def wrong_io(intent: ModelIntent[Charge], io: ComputeIO) -> Charged:
    raise AssertionError(intent, io)


def lost(intent: ModelIntent[Charge]) -> Elsewhere:  # type: ignore[name-defined]  # noqa: F821 - imported for the checker only
    raise AssertionError(intent)


def yields(intent: ModelIntent[Charge]) -> Iterator[Charged]:
    yield Charged(receipt=str(intent))


@pytest.mark.parametrize(
    ("function", "wrong"),
    [
        (bare, "its first parameter is annotated ModelIntent"),
        (unannotated, "its result has no annotation"),
        (plain, "its first parameter is annotated Charge"),
        (either, "its result is annotated"),
        (third, "it takes"),
        (keyword, "it takes"),
        (wrong_io, "its second parameter is annotated ComputeIO"),
        (lost, "an annotation cannot be read: NameError: name 'Elsewhere' is not defined"),
        (yields, "it yields"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_function_of_another_shape_is_refused_with_place_and_fix(function: Function, wrong: str) -> None:
    with pytest.raises(ContractError) as caught:
        effect_shape(function, EffectIO)
    (finding,) = caught.value.findings
    assert wrong in str(finding)
    assert str(finding).startswith(f"{__file__}:{place(function)[1]}:1: error [function_shape]")
    assert "fix: " in str(finding)


def test_compute_waits_for_nothing_so_it_is_never_async() -> None:
    async def wait(task: Charge) -> Charged:
        raise AssertionError(task)

    with pytest.raises(ContractError, match="it is async"):
        compute_shape(wait, ComputeIO)


# --- results ----------------------------------------------------------------------------------------------------------


def test_a_result_of_another_class_is_refused_naming_both() -> None:
    shape = effect_shape(charge, EffectIO)
    assert check_result(Charged(receipt="r"), shape) == b'{"receipt":"r","note":""}'
    with pytest.raises(EffectFailed, match="charge returned Charge; it is annotated to return Charged") as caught:
        check_result(Charge(amount=1), shape)
    assert (caught.value.reason, caught.value.retry) == ("wrong_result", False)
    with pytest.raises(EffectFailed, match="returned NoneType"):
        check_result(None, shape)
    with pytest.raises(EffectFailed, match="store returned Charged; it is annotated to return None"):
        check_result(Charged(receipt="r"), effect_shape(store, EffectIO))
    assert check_result(None, effect_shape(store, EffectIO)) == b"{}"


def test_a_result_over_256_kib_has_failed_for_good_and_is_told_which_field_is_to_be_a_blob() -> None:
    with pytest.raises(PayloadTooLarge, match=r"charge returned too much.*'note'.*Blob.*io.blob") as caught:
        check_result(Charged(receipt="r", note="x" * 300_000), effect_shape(charge, EffectIO))
    assert isinstance(caught.value, EffectFailed)
    assert (caught.value.reason, caught.value.retry) == ("payload_too_large", False)


def test_a_result_that_json_cannot_hold_has_failed() -> None:
    with pytest.raises(EffectFailed, match="cannot be kept"):
        check_result(Charged(receipt="\ud800"), effect_shape(charge, EffectIO))


# --- blobs ------------------------------------------------------------------------------------------------------------


def test_equal_bytes_are_one_blob() -> None:
    io = NewBlobs()
    first, again, other = io.blob(b"one", "text/plain"), io.blob(b"one", "text/plain"), io.blob(b"two")
    assert first == again == Blob(digest=blake3(b"one").hexdigest(), size=3, media_type="text/plain")
    assert other.media_type == "application/octet-stream"
    assert [made.data for made in io.made] == [b"one", b"two"]
    assert io.made[0].digest.hex() == first.digest


def test_blobs_are_found_at_any_depth_in_the_order_of_the_fields() -> None:
    io = NewBlobs()
    one, two, three, four = (io.blob(bytes([n])) for n in range(4))
    nested = Box[dict[str, tuple[Box[Blob], ...]]](inside={"a": (Box(inside=one), Box(inside=two))})
    value = Box[tuple[object, ...]](inside=(nested, [three], {"key": four}, "text", 7, None))
    assert list(blobs_in(value)) == [one, two, three, four]
    assert list(blobs_in(Charge(amount=1))) == []


def test_bytes_that_are_not_what_a_blob_names_are_damage() -> None:
    blob = NewBlobs().blob(b"data")
    assert check_blob(blob, b"data") == b"data"
    with pytest.raises(StateConsistencyError, match="damaged"):
        check_blob(blob, b"Data")
