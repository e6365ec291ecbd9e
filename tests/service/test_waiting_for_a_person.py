"""What waits for a person, and what a person does: approve, cancel, re-drive, release; and a what-if that fires nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import JOBS
from tests.service.service import ITEMS, ORDERS, ROOT, Service, filled, running

SAGA = ROOT / "examples" / "order_saga"
EXPENSES = ROOT / "examples" / "approval"


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running(f"sqlite:///{tmp_path_factory.mktemp('jobs')}/s.db", None, engine=JOBS) as served:
        yield served


def test_a_dead_intent_is_listed_with_its_reason_and_runs_again(jobs: Service) -> None:
    jobs.post("submit", {"key": "jobs:1", "trigger": "blow"})
    events = jobs.events("/api/summary/live")
    assert any(told["dead"] == 1 for _, _, told in events)
    (stopped,) = jobs.get("stopped").body["intents"]
    assert (stopped["key"], stopped["intent"], stopped["state"]) == ("jobs:1", "blow_horn", "dead")
    (waiting,) = jobs.get("instance", key="jobs:1").body["waiting"]["intents"]
    assert (waiting["pointer"], waiting["state"], waiting["running"]) == (stopped["pointer"], "dead", False)
    assert waiting["error"]
    row = next(one for one in jobs.get("instances", type="jobs").body["instances"] if one["key"] == "jobs:1")
    assert row["dead_intents"] == 1
    heard = jobs.post("redrive", {"pointer": stopped["pointer"]})
    assert (heard.status, heard.body["answered"]) == (200, True)
    (story,) = jobs.get("instance/intents", key="jobs:1").body["intents"]
    assert story["attempts"][0]["outcome"] == "failed"


def test_a_held_instance_is_found_and_released(jobs: Service) -> None:
    jobs.post("submit", {"key": "jobs:2", "trigger": "add", "payload": {"amount": 1}})
    for _ in range(3):
        heard = jobs.post("submit", {"key": "jobs:2", "trigger": "add", "payload": {"amount": 13}})
        assert (heard.status, heard.body["code"]) == (409, "reducer_failed")
    assert [one["key"] for one in jobs.get("held").body["instances"]] == ["jobs:2"]
    assert "thirteen" in jobs.get("instance", key="jobs:2").body["waiting"]["held"]
    refused = jobs.post("submit", {"key": "jobs:2", "trigger": "add", "payload": {"amount": 1}})
    assert refused.body["code"] == "instance_held"
    assert jobs.post("release", {"key": "jobs:2"}).body["answered"] is True
    assert jobs.get("held").body["instances"] == []
    assert jobs.post("submit", {"key": "jobs:2", "trigger": "add", "payload": {"amount": 1}}).body["version"] == 2
    traces = jobs.get("rejections", key="jobs:2").body["rejections"]
    assert any("reducer.py" in line for one in traces for line in one["trace"])


def test_a_person_approves_or_cancels_what_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_SAGA_DIR", str(tmp_path / "out"))

    def order(service: Service, key: str) -> int:
        """The version at which it waits for a person."""
        payload = {"id": key.partition(":")[2], "sku": "tea", "cents": 60_000}
        service.post("submit", {"key": key, "trigger": "start", "payload": payload})
        for name, event_id, told in service.events(f"/api/instance/live?key={key}&after=0"):
            if name == "action" and told["trigger"].startswith("pay."):
                return int(event_id)
        raise AssertionError("it ended before anybody was asked")

    with running(f"sqlite:///{tmp_path}/s.db", SAGA, engine=SAGA) as saga:
        version = order(saga, "order_saga:a")
        told = saga.get("instance", key="order_saga:a").body
        assert {one["task"]: one["state"] for one in told["tasks"]}["review"] == "waiting"
        assert [one["name"] for one in told["waiting"]["timers"]]
        (listed,) = saga.get("waiting").body["approvals"]
        assert (listed["key"], listed["task"], listed["version"]) == ("order_saga:a", "review", version)
        assert listed["due_at"]
        (row,) = saga.get("instances", why=True).body["instances"]
        assert row["why"] == "review waits for an approval"
        approve = {"key": "order_saga:a", "task": "review", "approved": True, "note": "fine"}
        late = saga.post("approve", {**approve, "expected_version": version - 1})
        assert (late.status, late.body["code"]) == (409, "version_conflict")
        assert saga.post("approve", {**approve, "expected_version": version}).status == 200
        assert saga.get("instance/wait", key="order_saga:a").body["status"] == "completed"
        assert saga.get("waiting").body == {"approvals": [], "decisions": [], "complete": True}
        log = saga.get("instance/log", key="order_saga:a").body["actions"]
        (approval,) = [one for one in log if one["trigger"] == "review.approve"]
        assert (approval["payload"]["by"], approval["issuer"]) == ("local", "api:local")
        order(saga, "order_saga:b")
        assert saga.post("cancel", {"key": "order_saga:b"}).status == 200
        assert saga.get("instance/wait", key="order_saga:b").body["status"] == "cancelled"


def test_a_status_that_only_clients_leave_waits_for_a_decision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEX_APPROVAL_DIR", str(tmp_path / "out"))
    with running(f"sqlite:///{tmp_path}/s.db", EXPENSES, engine=EXPENSES) as service:
        for n in range(7):
            payload = {"who": "ada", "cents": 100}
            service.post("submit", {"key": f"approval:{n}", "trigger": "hand_in", "payload": payload})
        for _, _, told in service.events("/api/summary/live"):
            if told["instances"] == 7:
                break
        told = service.get("waiting").body
        (found,) = told["decisions"]
        assert (found["type"], found["status"], found["instances"]) == ("approval", "waiting", 7)
        assert found["triggers"] == ["approve", "refuse"]
        assert [one["key"] for one in found["first"]] == [f"approval:{n}" for n in range(5)]
        assert found["first"][0]["due_at"] > found["first"][0]["since"]
        assert (told["approvals"], told["complete"]) == ([], True)


def two_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of two orders, and beside the code that made it another one, which refuses them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ONEX_ORDERS_DIR", str(tmp_path / "out"))
    for name in ("orders", "changed/orders"):
        shutil.copytree(ORDERS, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "out"))
    contract = tmp_path / "changed" / "orders" / "contract.yaml"
    contract.write_text(contract.read_text().replace("payload.items.size() > 0", "payload.items.size() > 1"))
    store = f"sqlite:///{tmp_path}/s.db"
    filled(
        store, tmp_path / "orders", [("orders:a", "place", {"items": ITEMS}), ("orders:b", "place", {"items": ITEMS})]
    )
    return store


def test_a_what_if_tells_what_differs_and_fires_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = two_codes(tmp_path, monkeypatch)
    with running(store, tmp_path / "orders", engine=None) as served:
        assert served.post("whatif", {"against": "/etc"}).status == 403
        begun = served.post("whatif", {"against": "changed/orders"})
        assert (begun.status, begun.body["state"]) == (202, "running")
        assert served.post("whatif", {"against": "changed/orders"}).headers["retry-after"] == "5"
        number = begun.body["number"]
        told = begun.body
        while told["state"] == "running":
            told = served.get(f"whatif/{number}", wait_s=30).body
        assert (told["state"], told["effects_fired"], told["error"]) == ("done", 0, "")
        assert (told["summary"]["instances"], told["summary"]["same"]) == (2, 0)
        assert {one["key"] for one in told["instances"]} == {"orders:a", "orders:b"}
        assert told["instances"][0]["refused"][0]["version"] == 1
        (listed,) = served.get("whatif").body["runs"]
        assert (listed["number"], listed["summary"]) == (number, None)


@pytest.mark.long
def test_a_what_if_is_cancelled_and_one_that_cannot_run_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = two_codes(tmp_path, monkeypatch)
    with running(store, tmp_path / "orders", engine=None) as served:
        number = served.post("whatif", {"against": "changed/orders"}).body["number"]
        csrf = served.get("session").body["csrf"]
        assert served.call("DELETE", f"/api/whatif/{number}", headers={"X-CSRF-Token": csrf}).status == 204
        assert served.get(f"whatif/{number}").body["state"] in ("cancelled", "done")
        wrong = served.post("whatif", {"against": "no-such-revision"}).body["number"]
        told = served.get(f"whatif/{wrong}", wait_s=30).body
        assert (told["state"], bool(told["error"])) == ("failed", True)
