"""The API does what its document says: schemathesis asks every route, with what fits and with what does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.config import SchemathesisConfig

from tests.service.service import ITEMS, ORDERS, Service, filled, running

STREAMS = ("/api/summary/live", "/api/instance/live")
SLOW = ("/api/instance/wait",)
EXAMPLES = 2


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("document")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEX_ORDERS_DIR", str(place / "out"))
        filled(f"sqlite:///{place}/s.db", ORDERS, [("orders:a", "place", {"items": ITEMS})])
        with running(f"sqlite:///{place}/s.db") as served:
            yield served


def checked(service: Service, examples: int) -> int:
    """How many requests were made. Raises what schemathesis finds."""
    document = service.call("GET", "/openapi.json").body
    csrf = service.get("session").body["csrf"]
    config = SchemathesisConfig.from_dict(
        {
            "base-url": service.address,
            "checks": {
                "positive_data_acceptance": {"expected-statuses": ["2xx", "403", "404", "409", "422", "429"]},
                "negative_data_rejection": {"expected-statuses": ["400", "403", "404", "409", "413", "422", "429"]},
                "ignored_auth": {"enabled": False},
                "missing_required_header": {"enabled": False},
            },
        }
    )
    schema = schemathesis.openapi.from_dict(document, config=config)
    made = 0
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # the document is our own, and whole
        if operation.path in (*STREAMS, *SLOW):
            continue

        def ask(case: Any) -> None:
            nonlocal made
            made += 1
            query = {"wait_s": 0} if case.method == "POST" and "wait_s" in str(case.operation.query) else None
            case.call_and_validate(headers={"X-CSRF-Token": csrf}, params=query)

        test = given(case=operation.as_strategy())(ask)
        settings(
            max_examples=examples, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(test)()  # fmt: skip
    return made


def test_every_route_does_what_the_document_says(service: Service) -> None:
    assert checked(service, EXAMPLES) >= 40


@pytest.mark.long
def test_fifty_thousand_requests_find_nothing(service: Service) -> None:
    assert checked(service, 2500) >= 50_000
