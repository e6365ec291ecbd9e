"""The orders app, as somebody has changed it."""

from __future__ import annotations

from pathlib import Path

ORDERS = Path(__file__).resolve().parents[3] / "examples" / "orders"

NEVER_TWICE = """
from __future__ import annotations

from onex.simulation.app_sim import World


def never_charged_twice(world: World) -> str | None:
    for key in world.states:
        charges = world.effects_of(key, "charge")
        if len(charges) > 1:
            return f"{key} was charged {len(charges)} times"
    return None
"""

CHARGES_TWICE = ("Step(order, Charge(cents=order.total_cents))", "Step(order, *2 * (Charge(cents=order.total_cents),))")
"""Found at once: nothing needs to go wrong."""

ASKS_AGAIN = (
    '@orders.on("declined", "charge_unknown", "not_packed")',
    '@orders.on("charge_unknown")\n'
    "def ask_again(order: Order, action: Action[Failure]) -> Step[Order]:\n"
    "    return Step(order.evolve(trouble=action.payload.message), Charge(cents=order.total_cents))\n\n\n"
    '@orders.on("declined", "not_packed")',
)
"""Found where a charge was made, nobody heard of it, and the bank refused it when it was asked again."""


def shop(folder: Path, simulation: str = NEVER_TWICE, *changes: tuple[str, str]) -> Path:
    """A copy with its simulation.py and these changes, each of which must apply."""
    app = folder / "orders"
    app.mkdir(parents=True)
    texts = {file.name: file.read_text() for file in ORDERS.glob("*.*") if file.stem != "simulation"}
    for old, new in changes:
        assert any(old in text for text in texts.values()), old
        texts = {name: text.replace(old, new) for name, text in texts.items()}
    for name, text in texts.items():
        (app / name).write_text(text)
    if simulation:
        (app / "simulation.py").write_text(simulation)
    return app
