"""What each event does to a registration. Calls run in rounds: all of a round have an outcome before the next one begins.

That is why a newer event waits while calls run (``newer``), and so does a wish to leave: two calls to one place have no order,
and the older one could arrive last. A place whose call has no answer is *in doubt*: it is written again, and when the node
leaves it is taken out, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final, Literal

from onex import Action, Failure, IntentDraft, Nothing, Step, cancel, intent, reducer, timer

from .payloads import (
    PLACES,
    ConsulKey,
    ConsulService,
    DeleteKey,
    DeleteRecord,
    Deregister,
    Heartbeat,
    Introspection,
    IntrospectionRequest,
    NodeRecord,
    Place,
    Registration,
    RemoveService,
)

registrations = reducer(Registration)

ROUNDS: Final = 5
"""After so many rounds in which a place refused, the node is taken out of the others."""
FIRST_WAIT_S: Final = 5
LONGEST_WAIT_S: Final = 300
MISSED_BEATS: Final = 3

AnyAction = Action[Any]
Verdict = Literal["held", "refused", "in_doubt", "gone"]


@registrations.on("introspected")
def introspected(now: Registration, action: Action[Introspection]) -> Step[Registration]:
    """An event that is not newer than the last one is recognised, and changes nothing."""
    event = action.payload
    if not event.is_newer_than(now.newer or now.node):
        return Step(now)
    now = now.evolve(heard_at=action.issued_at)
    if now.waiting:
        return Step(now.evolve(newer=event, asked_to_leave=False), _alive(event, action))
    return _begin(now, event, action)


@registrations.on("held")
def held(now: Registration, action: Action[Nothing]) -> Step[Registration]:
    return _told(now, "held", "", action)


@registrations.on("refused")
def refused(now: Registration, action: Action[Failure]) -> Step[Registration]:
    return _told(now, "refused", action.payload.message, action)


@registrations.on("in_doubt")
def in_doubt(now: Registration, action: Action[Failure]) -> Step[Registration]:
    return _told(now, "in_doubt", action.payload.message, action)


@registrations.on("removed")
def removed(now: Registration, action: Action[Nothing]) -> Step[Registration]:
    return _told(now, "gone", "", action)


@registrations.on("not_removed")
def not_removed(now: Registration, action: Action[Failure]) -> Step[Registration]:
    """What a directory does not know is gone; newer Consuls answer so when a service is not there."""
    failure = action.payload
    return _told(now, "gone" if failure.code == "http_404" else "in_doubt", failure.message, action)


@registrations.on("again")
def again(now: Registration, action: Action[Nothing]) -> Step[Registration]:
    """The next round: what is not there is written, or what is left is taken out."""
    if now.leaving:
        return _remove(now, action)
    return _write(now, [place for place in PLACES if now.places.get(place) != "held"], action)


@registrations.on("heartbeat")
def heartbeat(now: Registration, action: Action[Heartbeat]) -> Step[Registration]:
    return Step(now) if now.node is None else Step(now.evolve(heard_at=action.issued_at), _alive(now.node, action))


@registrations.on("beat")
def beat(now: Registration, action: Action[Heartbeat]) -> Step[Registration]:
    """A heartbeat from a topic. One that comes late changes nothing. A node that is not known here is asked who it is."""
    told = action.payload.timestamp
    if now.node is None or now.status in ("unseen", "deregistering", "deregistered"):
        return Step(now) if now.beat_at is not None and told <= now.beat_at else _ask(now.evolve(beat_at=told), action)
    if told <= (now.beat_at or now.node.timestamp):
        return Step(now)
    return Step(now.evolve(heard_at=action.issued_at, beat_at=told), _alive(now.node, action))


@registrations.on("ask")
def ask(now: Registration, action: Action[Nothing]) -> Step[Registration]:
    """The node is asked who it is. Its answer is an event like any other."""
    return _ask(now, action)


@registrations.on("liveness")
def liveness(now: Registration, action: Action[Nothing]) -> Step[Registration]:
    return _leave(now, f"not heard of for {MISSED_BEATS} heartbeats", action)


@registrations.on("deregister")
def deregister(now: Registration, action: Action[Deregister]) -> Step[Registration]:
    return _leave(now, action.payload.reason, action)


# --- rounds -----------------------------------------------------------------------------------------------------------


def _begin(now: Registration, event: Introspection, action: AnyAction) -> Step[Registration]:
    fresh = now.evolve(node=event, newer=None, rounds=0, reason="", leaving=False, gave_up=False, asked_to_leave=False)
    written = _write(fresh, PLACES, action)
    return Step(written.state, *written.intents, _alive(event, action), cancel("again"))


def _write(now: Registration, places: Iterable[Place], action: AnyAction) -> Step[Registration]:
    if now.node is None:
        return Step(now)
    return _call(now, [_written(place, now.node) for place in places], action)


def _remove(now: Registration, action: AnyAction) -> Step[Registration]:
    """Take it out wherever it stands or may stand."""
    if now.node is None:
        return Step(now)
    left = [place for place in PLACES if now.places.get(place, "refused") != "refused"]
    return _call(now, [_taken_out(place, now.node) for place in left], action)


def _call(now: Registration, calls: list[tuple[Place, str, IntentDraft]], action: AnyAction) -> Step[Registration]:
    open_ids = {place: action.intent_id_of(name) for place, name, _ in calls}
    return Step(_counted(now.evolve(open=open_ids)), *(draft for _, _, draft in calls))


def _told(now: Registration, verdict: Verdict, reason: str, action: AnyAction) -> Step[Registration]:
    """An outcome of the round. One of another round is recognised by the id of its intent, and changes nothing."""
    of = action.outcome_of
    place = next((one for one, open_id in now.open.items() if of is not None and open_id == of.intent_id), None)
    if place is None:
        return Step(now)
    places = {one: known for one, known in now.places.items() if one != place}
    if verdict != "gone":
        places[place] = verdict
    still_open = {one: open_id for one, open_id in now.open.items() if one != place}
    after = _counted(now.evolve(places=places, open=still_open, reason=reason or now.reason))
    if after.waiting:
        return Step(after)
    if after.newer is not None:
        return _begin(after, after.newer, action)
    return _round_of_removals_over(after, action) if after.leaving else _round_over(after, action)


def _round_over(now: Registration, action: AnyAction) -> Step[Registration]:
    if now.asked_to_leave:
        return _remove(now.evolve(leaving=True, rounds=0), action)
    if now.held == len(PLACES):
        return Step(now.evolve(rounds=0, reason=""))
    if now.rounds + 1 >= ROUNDS:
        return _remove(now.evolve(leaving=True, gave_up=True, rounds=0), action)
    return Step(now.evolve(rounds=now.rounds + 1), _next_round(now, action))


def _round_of_removals_over(now: Registration, action: AnyAction) -> Step[Registration]:
    if now.left:
        return Step(now.evolve(rounds=now.rounds + 1), _next_round(now, action))
    return Step(now.evolve(leaving=False, rounds=0), cancel("liveness"))


def _leave(now: Registration, reason: str, action: AnyAction) -> Step[Registration]:
    if now.waiting:
        return Step(now.evolve(asked_to_leave=True, newer=None, reason=reason))
    going = now.evolve(leaving=True, asked_to_leave=True, gave_up=False, rounds=0, reason=reason)
    if not now.left:
        return Step(going.evolve(leaving=False), cancel("again"), cancel("liveness"))
    called = _remove(going, action)
    return Step(called.state, *called.intents, cancel("again"), cancel("liveness"))


def _ask(now: Registration, action: AnyAction) -> Step[Registration]:
    request = IntrospectionRequest(node_id=action.key.instance_id, asked_at=action.issued_at)
    return Step(now, intent("registry_request_introspection", request))


def _next_round(now: Registration, action: AnyAction) -> IntentDraft:
    return timer("again", action.issued_at + timedelta(seconds=min(FIRST_WAIT_S << now.rounds, LONGEST_WAIT_S)))


def _alive(node: Introspection, action: AnyAction) -> IntentDraft:
    return timer("liveness", action.issued_at + timedelta(seconds=MISSED_BEATS * node.heartbeat_s))


def _counted(now: Registration) -> Registration:
    verdicts = list(now.places.values())
    return now.evolve(
        waiting=len(now.open), held=verdicts.count("held"), left=len(verdicts) - verdicts.count("refused")
    )


# --- calls ------------------------------------------------------------------------------------------------------------


def service_id(node: Introspection) -> str:
    return f"onex-{node.node_type}-{node.node_id}"


def _written(place: Place, node: Introspection) -> tuple[Place, str, IntentDraft]:
    if place == "service":
        service = ConsulService(
            ID=service_id(node),
            Name=node.node_name,
            Tags=("onex", node.node_type, f"version-{node.node_version}"),
            Address=node.address,
            Port=node.port,
            Meta={"node_id": node.node_id, "epoch": str(node.epoch)},
        )
        return place, "register_service", intent("register_service", service)
    if place == "key":
        return place, "put_key", intent("put_key", ConsulKey(node_id=node.node_id, node=node))
    record = NodeRecord(
        node_id=node.node_id,
        node_name=node.node_name,
        node_type=node.node_type,
        node_version=node.node_version,
        epoch=node.epoch,
        event_id=node.event_id,
        record=node,
    )
    return place, "upsert_record", intent("upsert_record", record)


def _taken_out(place: Place, node: Introspection) -> tuple[Place, str, IntentDraft]:
    if place == "service":
        return place, "remove_service", intent("remove_service", RemoveService(ID=service_id(node)))
    if place == "key":
        return place, "delete_key", intent("delete_key", DeleteKey(node_id=node.node_id))
    return place, "delete_record", intent("delete_record", DeleteRecord(node_id=node.node_id))
