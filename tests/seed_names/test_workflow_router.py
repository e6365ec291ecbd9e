"""A key stays with its worker; workers that leave, fail or serve other types cost nobody else anything."""

from __future__ import annotations

from collections import Counter

import pytest

from onex.kernel.action import WorkflowKey
from onex.kernel.errors import InvalidKey, NoAvailableSubreducersError, ValidationError
from onex.kernel.retry import BreakerPolicy, EnumBreakerState
from onex.seed_names.workflow_router import (
    ReducerInstance,
    WorkflowRouter,
    get_circuit_breaker,
    get_metrics_collector,
)

KEYS = [WorkflowKey("orders", f"{n}") for n in range(4000)]


class Wrist:
    """A clock that a test turns by hand."""

    def __init__(self) -> None:
        self.us = 0

    def now_us(self) -> int:
        return self.us

    def monotonic(self) -> float:
        return self.us / 1e6

    async def sleep(self, seconds: float) -> None:
        self.us += int(seconds * 1e6)


def router(
    *workers: ReducerInstance, clock: Wrist | None = None, policy: BreakerPolicy | None = None
) -> WorkflowRouter:
    made = WorkflowRouter(clock or Wrist(), policy)
    for worker in workers:
        made.register(worker)
    return made


def named(*names: str) -> list[ReducerInstance]:
    return [ReducerInstance(name) for name in names]


def places(made: WorkflowRouter) -> dict[WorkflowKey, str]:
    return {key: made.route(key).name for key in KEYS}


def test_two_routers_with_the_same_workers_agree_whatever_the_order() -> None:
    assert places(router(*named("a", "b", "c"))) == places(router(*named("c", "a", "b")))


def test_a_worker_that_leaves_moves_only_its_own_keys() -> None:
    made = router(*named("a", "b", "c", "d"))
    before = places(made)
    made.unregister("c")
    after = places(made)
    assert {before[key] for key in KEYS if before[key] != after[key]} == {"c"}
    assert "c" not in after.values()


def test_a_worker_that_comes_takes_its_share_and_moves_nothing_between_others() -> None:
    made = router(*named("a", "b", "c"))
    before = places(made)
    made.register(ReducerInstance("d"))
    after = places(made)
    moved = [key for key in KEYS if before[key] != after[key]]
    assert {after[key] for key in moved} == {"d"}
    assert 0.15 < len(moved) / len(KEYS) < 0.35


def test_keys_spread_by_weight() -> None:
    shares = Counter(places(router(*named("a", "b"), ReducerInstance("big", 2.0))).values())
    assert 0.42 < shares["big"] / len(KEYS) < 0.58
    assert min(shares["a"], shares["b"]) / len(KEYS) > 0.18


def test_a_worker_gets_only_the_types_it_serves() -> None:
    made = router(ReducerInstance("all"), ReducerInstance("carts", workflow_types=frozenset({"carts"})))
    assert set(places(made).values()) == {"all"}
    assert {made.route_workflow("carts", f"{n}").name for n in range(200)} == {"all", "carts"}


def test_without_a_worker_for_the_type_the_error_says_so() -> None:
    made = router(ReducerInstance("carts", workflow_types=frozenset({"carts"})))
    with pytest.raises(NoAvailableSubreducersError, match="'orders' is registered; 1 serve other types"):
        made.route_workflow("orders", "1")
    made.unregister("carts")
    with pytest.raises(NoAvailableSubreducersError):
        made.route_workflow("carts", "1")


def test_keys_of_a_failing_worker_go_round_it_and_come_back_when_it_answers() -> None:
    clock = Wrist()
    made = router(*named("a", "b"), clock=clock, policy=BreakerPolicy(failures=3, open_s=30.0))
    before = places(made)
    for _ in range(3):
        made.record("a", succeeded=False)
    assert made.breakers["a"].state is EnumBreakerState.OPEN
    assert set(places(made).values()) == {"b"}
    assert made.metrics.rerouted == list(before.values()).count("a")

    clock.us += 30_000_000
    own = next(key for key in KEYS if before[key] == "a")
    assert made.route(own).name == "a"  # the probe
    assert made.route(own).name == "b"  # nobody else before it is answered
    made.record("a", succeeded=True)
    assert places(made) == before


def test_a_probe_that_fails_keeps_the_worker_out_for_another_while() -> None:
    clock = Wrist()
    made = router(*named("a"), clock=clock, policy=BreakerPolicy(failures=1, open_s=5.0))
    made.record("a", succeeded=False)
    clock.us += 5_000_000
    assert made.route(KEYS[0]).name == "a"
    made.record("a", succeeded=False)
    with pytest.raises(NoAvailableSubreducersError, match=r"tried again after 5\.0 s") as refused:
        made.route(KEYS[0])
    assert refused.value.retryable


def test_a_success_between_failures_keeps_the_breaker_closed() -> None:
    made = router(*named("a"), policy=BreakerPolicy(failures=2))
    for succeeded in (False, True, False, True, False):
        made.record("a", succeeded=succeeded)
    assert made.breakers["a"].is_closed


def test_a_worker_registered_again_begins_anew() -> None:
    made = router(*named("a"), policy=BreakerPolicy(failures=1))
    made.record("a", succeeded=False)
    made.register(ReducerInstance("a"))
    assert made.route(KEYS[0]).name == "a"
    made.unregister("a")
    made.record("a", succeeded=False)  # a late answer of one that is gone
    assert made.metrics.failed == {"a": 1}


def test_what_was_routed_is_counted_and_every_sixteenth_timed() -> None:
    made = router(*named("a"))
    places(made)
    metrics = get_metrics_collector(made)
    assert (metrics.routed, metrics.latency.count) == (len(KEYS), len(KEYS) // 16)


def test_the_metrics_have_the_names_of_the_source_documents() -> None:
    made = router(*named("a", "b"), policy=BreakerPolicy(failures=1))
    metrics = get_metrics_collector(made)
    assert metrics.success_rate == 1.0
    for succeeded in (True, True, True, False):
        made.record("a", succeeded=succeeded)
    places(made)
    shown = metrics.as_json(made.breakers)
    assert shown["reducer_pattern.routing.success_rate"] == 0.75
    assert shown["reducer_pattern.routing.circuit_breaker_state"] == {"a": "open", "b": "closed"}
    latency = shown["reducer_pattern.routing.latency_ms"]
    assert isinstance(latency, dict)
    assert (latency["count"], set(latency)) == (len(KEYS) // 16, {"count", "p50", "p99"})
    made.unregister("b")
    with pytest.raises(NoAvailableSubreducersError):
        places(made)
    assert metrics.refused == 1


def test_what_is_recorded_at_a_breaker_routes_the_next_key() -> None:
    made = router(*named("a", "b"), policy=BreakerPolicy(failures=1))
    breaker = get_circuit_breaker(made, "a")
    assert breaker is get_circuit_breaker(made, "a")
    breaker.record(succeeded=False)
    assert set(places(made).values()) == {"b"}
    with pytest.raises(ValidationError, match="no worker 'c' is registered; there is a, b"):
        get_circuit_breaker(made, "c")


@pytest.mark.parametrize("worker", [ReducerInstance(""), ReducerInstance("a", 0.0), ReducerInstance("a", float("nan"))])
def test_a_worker_without_name_or_weight_is_refused(worker: ReducerInstance) -> None:
    with pytest.raises(ValidationError, match="a name and a weight above 0"):
        router(worker)


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidKey):
        router(*named("a")).route_workflow("No Type", "1")


@pytest.mark.parametrize(
    "worker",
    [
        ReducerInstance(""),
        ReducerInstance("a\0"),
        ReducerInstance("\ud800"),
        ReducerInstance(None),  # type: ignore[arg-type]
        ReducerInstance("a", weight=float("nan")),
        ReducerInstance("a", weight=float("inf")),
        ReducerInstance("a", weight=-1),
        ReducerInstance("a", weight=True),
        ReducerInstance("a", weight="2"),  # type: ignore[arg-type]
    ],
)
def test_a_worker_that_is_none_is_refused(worker: ReducerInstance) -> None:
    with pytest.raises(ValidationError):
        router().register(worker)


@pytest.mark.parametrize(
    "key",
    [None, 5, "orders:1", ("orders", "1"), WorkflowKey(["orders"], "1"), WorkflowKey("orders", "\ud800")],  # type: ignore[arg-type]
)
def test_what_is_no_key_is_routed_nowhere(key: WorkflowKey) -> None:
    made = router(ReducerInstance("a"))
    for _ in range(17):
        with pytest.raises(InvalidKey):
            made.route(key)
