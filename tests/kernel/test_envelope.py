"""An envelope is the same in every spelling, and its bytes are the same each time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onex.kernel.envelope import OnexEnvelopeV1
from onex.kernel.errors import InvalidPayload, PayloadTooLarge

ID = UUID("0190b0a0-0000-7000-8000-000000000001")
AT = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcd", max_size=4), PLAIN, max_size=4), st.none() | st.uuids())
def test_bytes_give_the_envelope_back_and_are_the_same_again(payload: dict[str, object], cause: UUID | None) -> None:
    one = OnexEnvelopeV1(
        envelope_id=ID,
        envelope_timestamp=AT,
        event_type="place",
        causation_id=cause,
        payload=payload,  # type: ignore[arg-type]  # plain JSON, as the strategy draws it
    )
    again = OnexEnvelopeV1.from_bytes(one.to_bytes())
    assert again == one
    assert again.to_bytes() == one.to_bytes()


@pytest.mark.parametrize(
    "other",
    [
        {"envelope_version": "v1", "envelope_id": str(ID), "envelope_timestamp": AT.isoformat()},
        {"envelope_version": "1.0", "event_id": str(ID), "event_timestamp": AT.isoformat()},
        {"event_id": str(ID), "timestamp": AT.isoformat()},
    ],
    ids=["codegen_events", "registry", "event_contracts"],
)
def test_every_form_of_the_bridge_is_read(other: dict[str, str]) -> None:
    raw = json.dumps({**other, "event_type": "place", "source_service": "shop", "payload": {"a": 1}}).encode()
    ours = OnexEnvelopeV1(
        envelope_id=ID, envelope_timestamp=AT, event_type="place", source_service="shop", payload={"a": 1}
    )
    assert OnexEnvelopeV1.from_bytes(raw) == ours


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"{", "JSON"),
        (b"[]", "OnexEnvelopeV1"),
        (b'{"event_type":"place"}', "envelope_id"),
        (b'{"event_type":"","envelope_id":"0190b0a0-0000-7000-8000-000000000001"}', "event_type"),
        (b'{"event_type":"a","envelope_id":"0190b0a0-0000-7000-8000-000000000001","colour":1}', "colour"),
        (b'{"event_type":"a","envelope_id":"0190b0a0-0000-7000-8000-000000000001","event_id":"x"}', "event_id"),
        (b'{"event_type":"a","envelope_id":"0190b0a0-0000-7000-8000-000000000001","envelope_version":"v2"}', "version"),
        (
            b'{"event_type":"a","envelope_id":"0190b0a0-0000-7000-8000-000000000001","timestamp":"2026-01-01T00:00:00"}',
            "zone",
        ),
    ],
)
def test_what_is_no_envelope_is_refused_by_the_name_of_its_fault(raw: bytes, says: str) -> None:
    with pytest.raises(InvalidPayload, match=says):
        OnexEnvelopeV1.from_bytes(raw)


def test_an_envelope_has_a_size() -> None:
    with pytest.raises(PayloadTooLarge):
        OnexEnvelopeV1(envelope_id=ID, event_type="a", payload={"a": "x" * 300_000}).to_bytes()
    with pytest.raises(PayloadTooLarge):
        OnexEnvelopeV1.from_bytes(b" " * 300_000)
