"""The API beside a real engine: what it tells of instances, what it changes, and how it says no."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.service.service import ITEMS, ORDERS, Service, filled, running

PLACE = {"trigger": "place", "payload": {"items": ITEMS}}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEX_ORDERS_DIR", str(place / "out"))
        store = f"sqlite:///{place}/s.db"
        filled(
            store, ORDERS,
            [("orders:a", "place", {"items": ITEMS}), ("orders:ab", "place", {"items": ITEMS}), ("orders:a", "cancel", None)],
        )  # fmt: skip
        with running(store) as served:
            yield served


def test_an_instance_at_each_version_with_its_reason(service: Service) -> None:
    last = service.get("instance", key="orders:a").body
    assert (last["version"], last["status"], last["terminal"], last["unproven"]) == (3, "shipped", True, "")
    first = service.get("instance", key="orders:a", version=1).body
    assert (first["status_before"], first["status"], first["is_folded"]) == ("basket", "charging", True)
    assert {"path": "total_cents", "old": "0", "new": "900"} in first["changes"]["first"]
    (tried,) = first["tried"]
    assert (tried["taken"], tried["guards"]) == (True, ["payload.items.size() > 0"])
    line = (ORDERS / "contract.yaml").read_text().splitlines()[tried["line"] - 1]
    assert "trigger: place" in line
    assert first["action"]["emitted"] == ["charge", "cancel @basket"]
    assert first["is_app_code"] is True
    assert last["waiting"]["engine_runs"] is True
    heard = service.get("instance", key="orders:a", version=4)
    assert (heard.status, heard.body["code"]) == (404, "missing")


def test_the_log_its_outline_and_its_causes(service: Service) -> None:
    log = service.get("instance/log", key="orders:a", after=0, limit=2).body
    assert [one["version"] for one in log["actions"]] == [1, 2]
    assert log["next"] == 2
    rest = service.get("instance/log", key="orders:a", after=2).body
    assert [one["trigger"] for one in rest["actions"]] == ["packed"]
    assert rest["next"] is None
    outline = service.get("instance/outline", key="orders:a", points=2).body
    assert [(one["first"], one["last"]) for one in outline["ranges"]] == [(1, 2), (3, 3)]
    chain = service.get("instance/causes", key="orders:a", version=3).body["chain"]
    assert [one["trigger"] for one in chain] == ["place", "charged", "packed"]
    stories = service.get("instance/intents", key="orders:a").body["intents"]
    assert [(one["intent"], one["outcome"]) for one in stories] == [("charge", "charged"), ("pack", "packed")]
    assert service.get("instance/proof", key="orders:a").body == {"up_to": 3, "proven": True, "stretches": []}


def test_lists_by_type_status_and_beginning_page_by_page(service: Service) -> None:
    def keys(**query: object) -> list[str]:
        found, after = [], None
        while True:
            page = service.get("instances", limit=1, **query, **({} if after is None else {"after": after})).body
            found += [one["key"] for one in page["instances"]]
            after = page["next"]
            if after is None:
                return found

    assert keys(text="a") == keys(text="orders:a") == ["orders:a", "orders:ab"]
    assert keys(text="ab") == ["orders:ab"]
    assert keys(text="zzz") == keys(status="nowhere") == []
    assert {"orders:a", "orders:ab"} <= set(keys(type="orders", status="shipped"))
    counts = service.get("instances", type="orders").body["counts"]
    assert {"type": "orders", "status": "shipped"} in [{"type": one["type"], "status": one["status"]} for one in counts]


def test_a_command_is_the_action_of_its_idempotency_key(service: Service) -> None:
    key = f"orders:{uuid.uuid4()}"
    first = service.post("submit", {"key": key, **PLACE}, {"Idempotency-Key": "order-1" + key})
    again = service.post("submit", {"key": key, **PLACE}, {"Idempotency-Key": "order-1" + key})
    assert (first.status, first.body["answered"], first.body["version"]) == (200, True, 1)
    assert (again.body["action_id"], again.body["duplicate"]) == (first.body["action_id"], True)
    other = service.post(
        "submit", {"key": key, "trigger": "cancel", "payload": {}}, {"Idempotency-Key": "order-1" + key}
    )
    assert (other.status, other.body["code"]) == (409, "duplicate_action")
    chosen = str(uuid.uuid4())
    named = service.post("submit", {"key": key + "b", **PLACE}, {"Idempotency-Key": chosen})
    assert named.body["action_id"] == chosen
    waited = service.get("instance/wait", key=key, until="shipped")
    assert waited.body == {"reached": True, "status": "shipped", "version": 3}
    assert service.get("instance", key=key, version=1).body["action"]["issuer"] == "api:local"
    assert service.get("instance/wait", key=key, until="basket").status == 409


def test_what_the_engine_refuses_is_a_problem_with_its_code(service: Service) -> None:
    refusals = {
        ("submit", "orders:a", "cancel"): (409, "instance_finished"),
        ("submit", "orders:new", "charged"): (422, "invalid_payload"),
        ("submit", "orders:new", "packed"): (422, "invalid_payload"),
        ("submit", "orders:new", "no_such"): (409, "illegal_transition"),
        ("submit", "nothing:1", "place"): (404, "unknown_workflow"),
    }
    for (what, key, trigger), expected in refusals.items():
        heard = service.post(what, {"key": key, "trigger": trigger})
        assert (heard.status, heard.body["code"]) == expected, heard
        assert heard.headers["content-type"] == "application/problem+json"
        assert set(heard.body) >= {"detail", "place", "cause", "next", "retryable"}
    late = service.post("submit", {"key": "orders:new", **PLACE, "expected_version": 7})
    assert (late.status, late.body["code"]) == (409, "version_conflict")
    assert service.post("signal", {"key": "orders:none", "signal": "cancel"}).status == 404
    assert service.post("redrive", {"pointer": "0:1:0"}).status == 404
    assert service.post("release", {"key": "orders:a"}).body["answered"] is True
    assert any(
        one["code"] == "instance_finished" for one in service.get("rejections", key="orders:a").body["rejections"]
    )


def test_a_misspelt_field_is_an_error(service: Service) -> None:
    heard = service.post("submit", {"key": "orders:x", "triger": "place"})
    assert (heard.status, heard.body["code"], heard.body["place"]) == (422, "bad_request", "body.trigger")
    assert service.get("instance").body["place"] == "query.key"
    assert service.get("nothing").status == 404
    assert service.call("HEAD", "/api/instances").status == 405


def test_a_fork_follows_until_nobody_can_know(service: Service) -> None:
    more = {"items": [{"sku": "tea", "quantity": 3, "cents": 450}]}
    forked = service.post("instance/fork", {"key": "orders:a", "version": 1, "payload": more}).body
    assert (forked["opened"], forked["trigger"], forked["effects_fired"]) == (2, "charged", 0)
    assert "which the fork emits with another payload" in forked["why"]
    assert {one["path"] for one in forked["changes"]["first"]} == {"items[0].quantity", "total_cents"}
    same = service.post("instance/fork", {"key": "orders:a", "version": 1}).body
    assert (same["opened"], same["last"], same["changes"]["total"]) == (None, 3, 0)
    declined = {"code": "no", "message": "no", "attempts": 1}
    other = service.post(
        "instance/fork", {"key": "orders:a", "version": 2, "trigger": "declined", "payload": declined}
    ).body
    assert (other["steps"][0]["status"], other["steps"][0]["recorded_status"], other["opened"]) == ("basket", "paid", 3)
    assert service.post("instance/fork", {"key": "orders:a", "version": 9}).status == 404
    assert service.post("instance/fork", {"key": "orders:a", "version": 1, "trigger": "no_such"}).status == 422
    refused = service.post("instance/fork", {"key": "orders:a", "version": 1, "payload": {"items": []}}).body
    assert refused["steps"][0]["refused"] == "guard_failed"


def test_a_live_stream_goes_on_behind_the_last_event_that_came(service: Service) -> None:
    key = f"orders:{uuid.uuid4()}"
    stream = service.events(f"/api/instance/live?key={key}&after=0")
    service.post("submit", {"key": key, **PLACE})
    name, event_id, told = next(stream)
    assert (name, event_id, told["trigger"]) == ("action", "1", "place")
    stream.close()  # type: ignore[attr-defined]  # a generator
    rest = list(service.events(f"/api/instance/live?key={key}", {"Last-Event-ID": event_id}))
    assert [(name, told.get("trigger")) for name, _, told in rest] == [
        ("action", "charged"), ("action", "packed"), ("ended", None),
    ]  # fmt: skip


def test_the_figures_of_now_and_as_they_change(service: Service) -> None:
    now = service.get("summary").body
    assert now["instances"] >= 2
    assert (now["held"], now["dead"], now["stuck"], now["engine_runs"]) == (0, 0, 0, True)
    stream = service.events("/api/summary/live")
    assert next(stream)[0] == "summary"
    service.post("submit", {"key": f"orders:{uuid.uuid4()}", **PLACE})
    assert any(told["actions"] > now["actions"] for _, _, told in stream)


def test_a_stream_that_somebody_reads_ends_with_the_service(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(f"sqlite:///{tmp_path}/s.db", engine=None) as service:
        stream = service.events("/api/summary/live")
        assert next(stream)[0] == "summary"
    assert [
        name for name, _, _ in stream if name != "summary"
    ] == []  # its end is one in order, not a broken connection
    assert [one.getMessage() for one in caplog.records if one.name.startswith("uvicorn")] == []


def test_what_the_app_is(service: Service) -> None:
    assert service.get("workflows").body["workflows"][0]["name"] == "orders"
    one = service.get("workflow", name="orders").body
    assert {edge["trigger"] for edge in one["edges"]} >= {"place", "charged"}
    assert "charged" in one["internal"]
    assert {box["id"] for box in one["drawing"]["boxes"]} == {"@start", *(status["name"] for status in one["statuses"])}
    assert all(line["path"].startswith("M") for line in one["drawing"]["lines"])
    assert service.get("workflow", name="nothing").status == 404
    assert {"source": "orders", "target": "bank", "kind": "file_operation"} in service.get("system").body["links"]
    assert service.call("GET", "/health").body == {"status": "ready", "why": ""}
    assert service.call("GET", "/metrics").status == 404


def test_an_export_is_a_file_that_replays(service: Service, tmp_path: Path) -> None:
    from onex.cli.main import main

    heard = service.get("instance/export", key="orders:a")
    assert 'filename="orders_a.onexrun"' in heard.headers["content-disposition"]
    file = tmp_path / "a.onexrun"
    file.write_text(heard.body)
    assert main(["replay", str(ORDERS), "--from", str(file)]) == 0


def test_where_the_page_was_not_built_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onex.service.page.page_files", lambda folder: {})
    with running(f"sqlite:///{tmp_path}/s.db", None, engine=None) as alone:
        heard = alone.call("GET", "/")
        assert (heard.status, heard.body["code"]) == (404, "page_missing")
        assert "make page" in heard.body["detail"]


def test_a_service_without_an_engine_takes_the_action_for_the_next_one(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/s.db"
    with running(store, None, engine=None) as alone:
        heard = alone.post("submit", {"key": "orders:1", **PLACE}, wait_s=0)
        assert (heard.status, heard.body["answered"]) == (202, False)
        assert "no engine runs" in heard.body["note"]
        assert alone.get("instance", key="orders:1").status == 404
        assert alone.get("workflow", name="orders").body["code"] == "no_app"
    filled(store, ORDERS, [])
    with running(store, None, engine=None) as alone:
        told = alone.get("instance", key="orders:1").body
        assert (told["status"], told["state_is_known"], told["is_folded"]) == ("shipped", True, False)
        assert alone.get("instance", key="orders:1", version=1).body["state_is_known"] is False


def test_instances_are_found_by_a_condition_and_counted(service: Service) -> None:
    found = service.get("instances", where="total_cents >= 900 and id in ('a', 'ab')", limit=1).body
    assert [one["key"] for one in found["instances"]] == ["orders:a"]
    assert found["counts"] == [{"type": "orders", "status": "shipped", "instances": 2}]
    rest = service.get("instances", where="total_cents >= 900 and id in ('a', 'ab')", after=found["next"]).body
    assert ([one["key"] for one in rest["instances"]], rest["next"]) == (["orders:ab"], None)
    begins = service.get("instances", where="version > 0", text="orders:ab", status="shipped").body
    assert [one["key"] for one in begins["instances"]] == ["orders:ab"]
    for where, code in (
        ("total_cent > 1", "unknown_search_field"),
        ("total_cents >", "invalid_query"),
        ("version = 'x'", "search_type_mismatch"),
    ):
        refused = service.get("instances", where=where)
        assert (refused.status, refused.body["code"]) == (422, code)
