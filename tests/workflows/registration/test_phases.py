"""The phases A0 to A6 of the registration workflow, without infrastructure: a real engine in virtual time, and fake directories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

import pytest
from pydantic import JsonValue

from onex.kernel.errors import InvalidPayload, Refused
from onex.testing.virtual_time import VirtualRun, virtual
from onex.workflows import registration
from onex.workflows.registration.payloads import Registration
from tests.workflows.registration.directories import Directories, does_not_answer, refuses

APP = Path(registration.__file__).parent
NODE = "registration:node-1"
AT = datetime(2026, 1, 1, tzinfo=UTC)


def event(
    minute: int = 0, *, epoch: int = 1, node_type: str = "effect", version: str = "1.2.0", beat: int = 30
) -> dict[str, JsonValue]:
    """What a node tells; ``minute`` by its clock."""
    return {
        "event_id": str(uuid5(UUID(int=1), f"{minute}/{epoch}/{version}")),
        "node_id": "node-1",
        "node_name": "writer",
        "node_type": node_type,
        "node_version": version,
        "address": "10.0.0.7",
        "port": 8080,
        "epoch": epoch,
        "timestamp": (AT + timedelta(minutes=minute)).isoformat(),
        "heartbeat_s": beat,
    }


@contextmanager
def started(directories: Directories) -> Iterator[VirtualRun]:
    with virtual(APP, executors=directories.executors, start=AT) as run:
        yield run


def triggers(run: VirtualRun) -> list[str]:
    return [entry.row.kind for entry in run.history(NODE)]


# --- A0 to A3 ---------------------------------------------------------------------------------------------------------


def test_a0_the_reducer_calls_nothing_and_the_effect_makes_json_of_the_payload() -> None:
    directories = Directories()
    with started(directories) as run:
        run.run(run.engine.submit(NODE, "introspected", event()))
        intents = run.history(NODE)[0].row.intents
        assert {one["name"] for one in json.loads(intents)} >= {"register_service", "put_key", "upsert_record"}
        run.wait(NODE, "complete")
    assert directories.services["onex-effect-node-1"]["Tags"] == ["onex", "effect", "version-1.2.0"]


@pytest.mark.parametrize("node_type", ["effect", "compute", "reducer", "orchestrator"])
def test_a1_a_node_of_each_type_tells_about_itself_and_keeps_its_id(node_type: str) -> None:
    directories = Directories()
    with started(directories) as run:
        run.submit(NODE, "introspected", event(node_type=node_type))
        assert run.state(NODE).status == "complete"
    assert list(directories.services) == [f"onex-{node_type}-node-1"]
    assert list(directories.keys) == ["nodes/node-1"]
    assert list(directories.records) == ["node-1"]


@pytest.mark.parametrize("missing", ["event_id", "node_id", "node_name", "node_type", "node_version", "timestamp"])
def test_a1_an_event_without_a_required_field_is_refused_and_nothing_begins(missing: str) -> None:
    directories = Directories()
    told = {name: value for name, value in event().items() if name != missing}
    with started(directories) as run, pytest.raises(InvalidPayload, match=missing):
        run.submit(NODE, "introspected", told)
    assert directories.calls == []


def test_a3_typed_intents_lead_to_both_directories_and_the_reducer_comes_first() -> None:
    directories = Directories()
    with started(directories) as run:
        run.submit(NODE, "introspected", event())
        assert triggers(run) == ["introspected", "held", "held", "held"]
        assert [type(one.payload).__name__ for one in run.calls("consul")] == ["ConsulService", "ConsulKey"]
        assert [type(one.payload).__name__ for one in run.calls("directory")] == ["NodeRecord"]
        state = run.state(NODE, Registration)
        assert (state.held, state.waiting, state.places) == (3, 0, dict.fromkeys(["service", "key", "record"], "held"))


# --- A4: what comes twice, late or out of order -----------------------------------------------------------------------


def test_a4_the_same_event_again_changes_nothing_and_calls_nobody() -> None:
    directories = Directories()
    with started(directories) as run:
        run.submit(NODE, "introspected", event())
        before, calls = run.state(NODE, Registration), list(directories.calls)
        run.submit(NODE, "introspected", event())
        assert run.state(NODE, Registration) == before
        assert run.history(NODE)[-1].row.intents == b""
    assert directories.calls == calls


def test_a4_an_old_event_that_is_replayed_later_is_recognised() -> None:
    directories = Directories()
    with started(directories) as run:
        run.submit(NODE, "introspected", event(0, version="1.0.0"))
        run.submit(NODE, "introspected", event(5, version="1.1.0"))
        run.submit(NODE, "introspected", event(0, version="1.0.0"))
        run.submit(NODE, "introspected", event(3, version="1.0.5"))
        assert run.state(NODE).status == "complete"
    assert directories.records["node-1"]["node_version"] == "1.1.0"
    assert len(directories.calls) == 6, "two registrations of three calls"


def test_a4_a_restarted_node_with_a_slow_clock_is_newer_by_its_epoch() -> None:
    directories = Directories()
    with started(directories) as run:
        run.submit(NODE, "introspected", event(60, epoch=1))
        run.submit(NODE, "introspected", event(2, epoch=2, version="2.0.0"))
    assert directories.records["node-1"]["node_version"] == "2.0.0"


def test_a4_a_newer_event_waits_while_calls_run_so_the_older_call_cannot_arrive_last() -> None:
    directories = Directories(takes_s=1)
    with started(directories) as run:
        run.run(run.engine.submit(NODE, "introspected", event(0, version="1.0.0")))
        run.run(run.engine.submit(NODE, "introspected", event(1, version="1.1.0")))
        run.run(run.engine.submit(NODE, "introspected", event(2, version="1.2.0")))
        run.wait(NODE, "complete")
        written = [one.payload.model_dump()["node_version"] for one in run.calls("directory")]
    assert written == ["1.0.0", "1.2.0"], "the last one that came while calls ran"


# --- A5: bytes --------------------------------------------------------------------------------------------------------


def test_a5_two_runs_give_the_same_bytes_with_nothing_left_out() -> None:
    def rows() -> list[tuple[bytes, ...]]:
        directories = Directories(failing={"directory": refuses})
        with started(directories) as run:
            ids = iter(range(1, 100))

            def submit(trigger: str, payload: dict[str, JsonValue]) -> None:
                action_id = UUID(int=next(ids))
                run.run(run.engine.submit(NODE, trigger, payload, action_id=action_id, correlation_id=UUID(int=5)))

            submit("introspected", event())
            run.skip(minutes=1)
            submit("deregister", {"reason": "maintenance"})
            run.skip(minutes=10)
            return [
                (entry.row.action_id, entry.row.payload, entry.row.intents, entry.state_hash)
                for entry in run.history(NODE)
            ]

    assert rows() == rows()


# --- A6: what one can see ---------------------------------------------------------------------------------------------


def test_a6_one_correlation_id_leads_from_the_event_to_every_call() -> None:
    directories = Directories()
    asked = UUID(int=77)
    with started(directories) as run:
        run.run(run.engine.submit(NODE, "introspected", event(), correlation_id=asked))
        run.wait(NODE, "complete")
        assert {one.correlation_id for target in ("consul", "directory") for one in run.calls(target)} == {asked}
        assert {UUID(bytes=entry.row.correlation) for entry in run.history(NODE)} == {asked}


# --- when a directory fails -------------------------------------------------------------------------------------------


def test_one_directory_that_is_away_makes_it_partial_and_it_is_complete_when_it_is_back() -> None:
    directories = Directories(failing={"directory": refuses})
    with started(directories) as run:
        run.submit(NODE, "introspected", event(beat=600))
        state = run.state(NODE, Registration)
        assert (state.status, state.held, state.reason) == ("partial", 2, "upsert_record: permission denied")
        directories.failing.clear()
        run.skip(seconds=10)
        assert run.state(NODE).status == "complete"
    assert directories.calls.count("register_service") == 1, "what stands there is not written again"


def test_what_one_directory_refuses_in_every_round_is_taken_out_of_the_other() -> None:
    directories = Directories(failing={"directory": refuses})
    with started(directories) as run:
        run.submit(NODE, "introspected", event(beat=600))
        run.wait(NODE, "failed", within=timedelta(minutes=10))
        assert "permission denied" in run.state(NODE, Registration).reason
        assert directories.empty
        directories.failing.clear()
        run.submit(NODE, "introspected", event(30))
        assert run.state(NODE).status == "complete", "the next event begins again"


def test_both_directories_away_is_failed_and_tried_again() -> None:
    directories = Directories(failing={"directory": refuses, "consul": refuses})
    with started(directories) as run:
        run.submit(NODE, "introspected", event(beat=600))
        assert run.state(NODE).status == "failed"
        directories.failing.clear()
        run.skip(seconds=10)
        assert run.state(NODE).status == "complete"


def test_a_call_without_an_answer_is_taken_out_with_the_others() -> None:
    directories = Directories()

    def writes_and_does_not_answer(name: str) -> None:
        if name == "upsert_record":
            directories.records["node-1"] = {"written": True}
            does_not_answer(name)

    directories.failing["directory"] = writes_and_does_not_answer
    with started(directories) as run:
        run.submit(NODE, "introspected", event(beat=600))
        state = run.state(NODE, Registration)
        assert (state.status, state.places["record"]) == ("partial", "in_doubt")
        run.submit(NODE, "deregister", {})
        assert run.state(NODE).status == "deregistered"
    assert directories.empty


# --- alive, and gone --------------------------------------------------------------------------------------------------


def test_heartbeats_keep_it_and_silence_takes_it_out() -> None:
    directories = Directories()
    with started(directories) as run:
        run.submit(NODE, "introspected", event())
        for minute in range(1, 20):
            run.skip(seconds=60)
            run.submit(NODE, "heartbeat", {"timestamp": (AT + timedelta(minutes=minute)).isoformat()})
        assert run.state(NODE).status == "complete"
        run.skip(seconds=91)
        state = run.state(NODE, Registration)
        assert (state.status, state.reason) == ("deregistered", "not heard of for 3 heartbeats")
        assert directories.empty
        with pytest.raises(Refused):
            run.submit(NODE, "heartbeat", {"timestamp": AT.isoformat()})
        run.submit(NODE, "introspected", event(60))
        assert run.state(NODE).status == "complete"


def test_a_directory_that_cannot_be_cleared_is_tried_until_it_can() -> None:
    directories = Directories()
    with started(directories) as run:
        run.submit(NODE, "introspected", event())
        directories.failing["consul"] = refuses
        run.submit(NODE, "deregister", {"reason": "moved"})
        run.skip(hours=3)
        assert run.state(NODE).status == "deregistering"
        assert not directories.records
        directories.failing.clear()
        run.skip(minutes=6)
        assert run.state(NODE).status == "deregistered"
    assert directories.empty


def test_a_node_that_comes_back_while_it_is_taken_out_is_registered_again() -> None:
    directories = Directories(takes_s=1)
    with started(directories) as run:
        run.submit(NODE, "introspected", event())
        run.wait(NODE, "complete")
        run.run(run.engine.submit(NODE, "deregister", {}))
        run.run(run.engine.submit(NODE, "introspected", event(1, epoch=2)))
        run.wait(NODE, "complete")
    assert directories.keys["nodes/node-1"]["node"]["epoch"] == 2  # type: ignore[index,call-overload]  # JSON of known shape


def test_a_node_that_leaves_while_it_is_registered_is_taken_out_after_the_round() -> None:
    directories = Directories(takes_s=1)
    with started(directories) as run:
        run.run(run.engine.submit(NODE, "introspected", event()))
        run.run(run.engine.submit(NODE, "deregister", {"reason": "shut down"}))
        run.wait(NODE, "deregistered")
        assert run.state(NODE, Registration).reason == "shut down"
    assert directories.empty
