"""Fields that an app marks as Secret, for ``onex export`` and ``onex show``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..kernel.secret import secret_fields


def marked_fields(app: Path | None) -> Iterator[str]:
    """Names of those in its states, payloads and intents; none without an app. Raises ContractError when it cannot be loaded."""
    if app is None:
        return
    from ..app import load_app

    for one in load_app(app).workflows.values():
        intents = (spec.payload for spec in one.reducer.intents.by_name.values() if spec.payload is not None)
        for model in (one.reducer.state_type, *one.reducer.payloads.values(), *intents):
            yield from sorted(secret_fields(model))
