"""What must hold under faults: ``onex simulate examples/billing`` checks it after every commit."""

from __future__ import annotations

from collections import Counter

from onex.simulation.app_sim.world import World

from .app import Charge, Receipt, Subscription


def a_month_is_charged_once(world: World) -> str | None:
    """The bank knows its keys, so two keys for one month would be two charges."""
    done = Counter(
        (effect.key, effect.payload.month)
        for effect in world.effects
        if isinstance(effect.payload, Charge) and isinstance(effect.result, Receipt)
    )
    twice = [f"{key}, month {month}" for (key, month), times in done.items() if times > 1]
    return f"charged twice: {', '.join(twice)}" if twice else None


def what_is_paid_was_charged(world: World) -> str | None:
    for key, state in world.states.items():
        charged = [one for one in world.effects_of(key, "charge") if isinstance(one.result, Receipt)]
        if isinstance(state, Subscription) and state.months > len(charged):
            return f"{key} has {state.months} paid months, and the bank knows of {len(charged)} charges"
    return None
