"""Bugs in the relay: effects and messages run once too often, too early, or never, and timers likewise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count
from uuid import UUID, uuid5

from pydantic import BaseModel

import onex.engine.after_try
import onex.engine.dead_letters
import onex.engine.relay
from onex.engine.after_try import AfterTry
from onex.engine.dead_letters import DeadLetters
from onex.engine.delivery import Delivery
from onex.engine.delivery_queue import DeliveryQueue
from onex.engine.relay import IntentRelay
from onex.engine.takeover import Takeover
from onex.kernel.action import WorkflowKey
from onex.kernel.errors import OnexError
from onex.kernel.intent import EnumIntentType, EnumOutcome, ModelIntent
from onex.ports import Note, OutboxRow, Pointer, Result
from tests.simulation.planting import planted, swapped


@planted
def row_settled_before_its_outcome() -> Iterator[None]:
    right = AfterTry.succeeded

    def wrong(self: AfterTry, delivery: Delivery, result: Result) -> None:
        self.service.settle(delivery.pointer)
        asyncio.get_running_loop().call_later(0.05, right, self, delivery, result)

    with swapped(AfterTry, "succeeded", wrong):
        yield


@planted
def outcome_under_a_new_id_each_time() -> Iterator[None]:
    numbers = count()

    def wrong(intent: UUID) -> UUID:
        return uuid5(intent, f"outcome {next(numbers)}")

    with (
        swapped(onex.engine.relay, "outcome_id", wrong),
        swapped(onex.engine.after_try, "outcome_id", wrong),
        swapped(onex.engine.dead_letters, "outcome_id", wrong),
    ):
        yield


@planted
def message_under_a_new_id_each_time() -> Iterator[None]:
    numbers = count()
    with swapped(onex.engine.relay, "sent_id", lambda intent: uuid5(intent, f"sent {next(numbers)}")):
        yield


@planted
def effect_under_a_new_key_each_time() -> Iterator[None]:
    right, numbers = Delivery.intent, count()

    def wrong(self: Delivery) -> ModelIntent[BaseModel]:
        intent = right(self)
        return intent.model_copy(update={"idempotency_key": str(uuid5(self.id, f"{next(numbers)}"))})

    with swapped(Delivery, "intent", wrong):
        yield


@planted
def start_not_recorded() -> Iterator[None]:
    async def wrong(self: IntentRelay, delivery: Delivery) -> None:
        return None

    with swapped(IntentRelay, "_record_start", wrong):
        yield


@planted
def starts_found_at_takeover_ignored() -> Iterator[None]:
    async def wrong(self: Takeover, row: OutboxRow, delivery: Delivery) -> None:
        return None

    with swapped(Takeover, "_judge", wrong):
        yield


@planted
def failed_though_it_may_have_been_done() -> Iterator[None]:
    right = AfterTry.failed_attempt

    def wrong(self: AfterTry, delivery: Delivery, error: OnexError, *, done: bool, again: bool) -> None:
        delivery.maybe_done = False
        right(self, delivery, error, done=False, again=again)

    with swapped(AfterTry, "failed_attempt", wrong):
        yield


@planted
def ended_intents_run_again_from_an_old_page() -> Iterator[None]:
    with swapped(DeliveryQueue, "__contains__", lambda self, pointer: pointer in self._known):
        yield


@planted
def timers_forgotten_by_a_takeover() -> Iterator[None]:
    async def wrong(self: IntentRelay) -> None:
        return None

    with swapped(IntentRelay, "_load_timers", wrong):
        yield


@planted
def key_changes_with_each_attempt() -> Iterator[None]:
    right = Delivery.intent

    def wrong(self: Delivery) -> ModelIntent[BaseModel]:
        intent = right(self)
        return intent.model_copy(update={"idempotency_key": f"{intent.idempotency_key}/{self.attempt}"})

    with swapped(Delivery, "intent", wrong):
        yield


@planted
def start_recorded_while_it_runs() -> Iterator[None]:
    async def wrong(self: IntentRelay, delivery: Delivery) -> None:
        self.service.note(Note(delivery.pointer, attempt=delivery.attempt, started=True, crashes=delivery.crashes))

    with swapped(IntentRelay, "_record_start", wrong):
        yield


@planted
def attempts_of_earlier_owners_forgotten() -> Iterator[None]:
    """Whoever takes over tells of its own tries only: what may have been done is said to have failed."""
    right = Takeover._judge

    async def wrong(self: Takeover, row: OutboxRow, delivery: Delivery) -> None:
        await right(self, row, delivery)
        delivery.maybe_done = False

    with swapped(Takeover, "_judge", wrong):
        yield


@planted
def timer_half_a_second_early() -> Iterator[None]:
    right = DeliveryQueue.add

    def wrong(self: DeliveryQueue, delivery: Delivery) -> bool:
        if delivery.emitted.spec.kind == EnumIntentType.TIMER:
            delivery.due_us -= 500_000
        return right(self, delivery)

    with swapped(DeliveryQueue, "add", wrong):
        yield


@planted
def effect_before_its_time() -> Iterator[None]:
    right = DeliveryQueue.add

    def wrong(self: DeliveryQueue, delivery: Delivery) -> bool:
        if delivery.emitted.spec.kind != EnumIntentType.TIMER:
            delivery.due_us = 0
        return right(self, delivery)

    with swapped(DeliveryQueue, "add", wrong):
        yield


@planted
def at_most_once_tried_again() -> Iterator[None]:
    right = AfterTry.failed_attempt

    def wrong(self: AfterTry, delivery: Delivery, error: OnexError, *, done: bool, again: bool) -> None:
        delivery.maybe_done = delivery.maybe_done or done
        right(self, delivery, error, done=False, again=again)

    with swapped(AfterTry, "failed_attempt", wrong):
        yield


@planted
def failure_settled_without_an_outcome() -> Iterator[None]:
    """The effect has failed for good, its row is gone, and nobody is told."""
    right = AfterTry.end_failed

    def wrong(
        self: AfterTry, delivery: Delivery, error: OnexError, outcome: EnumOutcome, *, dead: bool = False
    ) -> None:
        if delivery.emitted.spec.outcomes and not dead:
            self.service.settle(delivery.pointer)
        else:
            right(self, delivery, error, outcome, dead=dead)

    with swapped(AfterTry, "end_failed", wrong):
        yield


@planted
def success_not_settled() -> Iterator[None]:
    """Fire and forget, and the row forgotten too."""
    right = AfterTry.succeeded

    def wrong(self: AfterTry, delivery: Delivery, result: Result) -> None:
        if delivery.emitted.spec.outcomes:
            right(self, delivery, result)

    with swapped(AfterTry, "succeeded", wrong):
        yield


@planted
def message_refused_counts_as_arrived() -> Iterator[None]:
    right = AfterTry.failed_attempt

    def wrong(self: AfterTry, delivery: Delivery, error: OnexError, *, done: bool, again: bool) -> None:
        spec = delivery.emitted.spec
        if spec.kind == EnumIntentType.ACTION_SEND and spec.outcomes and not again:
            self.deliver(delivery, EnumOutcome.SUCCEEDED, Result(None))
        else:
            right(self, delivery, error, done=done, again=again)

    with swapped(AfterTry, "failed_attempt", wrong):
        yield


@planted
def held_outcomes_never_delivered_again() -> Iterator[None]:
    async def of_key(self: DeadLetters, key: WorkflowKey) -> None:
        return None

    async def of_other_code(self: DeadLetters) -> None:
        return None

    with swapped(DeadLetters, "deliver", of_key), swapped(DeadLetters, "deliver_of_other_code", of_other_code):
        yield


@planted
def intents_beyond_memory_forgotten() -> Iterator[None]:
    with swapped(IntentRelay, "_make_room", lambda self: None):
        yield


@planted
def timers_of_later_minutes_forgotten() -> Iterator[None]:
    """They are read when an owner starts, and never again."""
    right = IntentRelay._load_timers

    async def wrong(self: IntentRelay) -> None:
        if not self._queue._open:
            await right(self)

    with swapped(IntentRelay, "_load_timers", wrong):
        yield


@planted
def redriven_by_two_operators_at_once() -> Iterator[None]:
    """A bug of ours until seed 136 showed it."""

    async def wrong(self: DeadLetters, pointer: Pointer, in_commit: object = None) -> None:
        await self._drive(pointer)

    with swapped(DeadLetters, "redrive", wrong):
        yield


@planted
def operator_request_answered_in_a_second_commit() -> Iterator[None]:
    """A bug of ours until seed 221 showed it."""
    right = DeadLetters.redrive

    async def wrong(self: DeadLetters, pointer: Pointer, in_commit: object = None) -> None:
        await right(self, pointer)

    with swapped(DeadLetters, "redrive", wrong):
        yield
